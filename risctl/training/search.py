"""Trains the trials of a search: Optuna proposes their values from what the trials before came to.

Everything that Optuna knows is in `search.journal` in the sweep's folder, line by line, so that a search that was
killed goes on. Each proposal has a seed of its own, made of the recipe's and the trial's number: with one training at a
time a search is the same however often it was stopped.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from risctl.errors import DataError, MachineError
from risctl.training.run_record import read_result, read_run_record
from risctl.training.search_space import range_of
from risctl.training.sweep import FAILED, PRUNED, AskedTrial, Sweep, Trial, note_asked
from risctl.training.sweep_runner import SweepRunner, TrialEnd, environments_of, wait_for

_JOURNAL = "search.journal"
_FIRST_TRIALS = 5
_MOST_FAILURES = 3  # trials that fail before any has a value end the search
_SEED_STEP = 10_007  # trials of neighbouring seeds of the recipe share no seed of a proposal


class SearchRunner(SweepRunner):
    """Trains what is left of a search.

    Args:
        sweep: The sweep, begun, with its `search`.
        figure: The figure to raise, `train.best` of the recipe.
        prune: Whether a trial whose evaluations stay below the median of the others is stopped.
        **options: Those of `SweepRunner`.
    """

    def __init__(self, sweep: Sweep, *, figure: str, prune: bool, **options: Any) -> None:
        super().__init__(sweep, **options)
        self.figure = figure
        self.prune = prune
        with _quietly():
            self._study = _study(sweep)

    def run(self) -> list[TrialEnd]:
        """Trains until there are as many trials as the search has. See `SweepRunner.run`."""
        environments = environments_of(self.jobs, device=self.device)
        (self.sweep.path / "logs").mkdir(exist_ok=True)
        ends: list[TrialEnd] = []
        with _quietly():
            self._note()
            for number, asked in enumerate(self.sweep.asked, start=1):
                if asked.state or read_result(self.sweep.trial(number).run) is not None:
                    ends += self._had_ended(number)
            begun = [frozen.number + 1 for frozen in self._study.get_trials(deepcopy=False) if not _has_ended(frozen)]
            with ThreadPoolExecutor(self.jobs) as pool:
                futures = [pool.submit(self._work, begun, ends, environment) for environment in environments]
                wait_for(futures, stop=self._stop)
                for future in futures:
                    future.result()
        return sorted(ends, key=lambda end: end.trial.number)

    def _had_ended(self, number: int) -> list[TrialEnd]:
        """Tells Optuna, and whoever watches, of a trial that ended in an earlier start."""
        trial = self.sweep.trial(number)
        frozen = self._study.get_trials(deepcopy=False)[number - 1]
        if not _has_ended(frozen):  # the sweep was killed before it could tell
            self._tell(number, read_result(trial.run), code=0, pruned=False)
        state = self.sweep.asked[number - 1].state
        if state == FAILED:
            return []
        end = TrialEnd(trial=trial, code=0, before=True, pruned=state == PRUNED)
        self._ended(end)
        return [end]

    def _work(self, begun: list[int], ends: list[TrialEnd], environment: Mapping[str, str]) -> None:
        """Trains one trial after another, first those that were begun."""
        from optuna.trial import TrialState

        while not self._stopping.is_set():
            with self._guard:
                if begun:
                    number = begun.pop(0)
                elif len(self.sweep.asked) < self.sweep.trial_count:
                    number = self._ask()
                else:
                    return
                trial = self.sweep.trial(number)
            end = self._searched(trial, environment)
            if end is None:
                return
            with self._guard:
                ends.append(end)
                self._ended(end)
                states = [one.state for one in self._study.get_trials(deepcopy=False)]
                if states.count(TrialState.FAIL) >= _MOST_FAILURES and TrialState.COMPLETE not in states:
                    self._stopping.set()  # nothing is learnt from what fails

    def _searched(self, trial: Trial, environment: Mapping[str, str]) -> TrialEnd | None:
        """Trains one trial, or stops it where it is not worth going on; None if the search was stopped."""
        if self._wait(trial):
            end = TrialEnd(trial=trial, code=0, before=True)
        elif self._stopping.is_set():
            return None
        else:
            end = self._trained(trial, environment, is_lost=self._watch(trial) if self.prune else None)
        if self._stopping.is_set() and end.code:
            return None  # it goes on with the next start
        with self._guard:
            problem = self._tell(trial.number, read_result(trial.run), code=end.code, pruned=end.pruned)
        return TrialEnd(trial=trial, code=1, message=problem) if problem else end

    def _watch(self, trial: Trial) -> Callable[[], bool]:
        """Returns what tells whether the training of a trial is to be stopped, by its evaluations so far."""
        import optuna

        with self._guard:
            watched = optuna.trial.Trial(
                self._study, self._study.get_trials(deepcopy=False)[trial.number - 1]._trial_id
            )
        told = 0

        def is_lost() -> bool:
            nonlocal told
            try:
                curve = read_run_record(trial.run).curves.get(self.figure, ())
            except DataError:
                return False  # nothing is recorded yet
            with self._guard:
                for place, (_, value) in enumerate(curve[told:], start=told + 1):
                    watched.report(value, place)
                # By the number of evaluations, not of steps, which differ with the batch.
                lost, told = len(curve) > told and watched.should_prune(), len(curve)
            return bool(lost)

        return is_lost

    def _ask(self) -> int:
        """Lets Optuna propose a trial, and returns its number."""
        import optuna

        number = len(self.sweep.asked) + 1
        seed = (self.sweep.seeds[0] * _SEED_STEP + number) % 2**32
        if self.sweep.search == "tpe":
            # A trial that is still being trained counts as a bad one, so that two at a time do not try the same.
            self._study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=self.jobs > 1)
        else:
            self._study.sampler = optuna.samplers.RandomSampler(seed=seed)
        self._study.ask(_distributions(self.sweep))
        self._note()
        return number

    def _tell(self, number: int, result: Mapping[str, Any] | None, *, code: int, pruned: bool) -> str:
        """Tells Optuna what a trial came to; returns what is wrong with a trial that has no value."""
        from optuna.trial import TrialState

        best = None if result is None else result.get("best")
        problem = ""
        if code == 0 and best is not None:
            self._study.tell(number - 1, float(best["value"]))
        elif pruned:
            self._study.tell(number - 1, state=TrialState.PRUNED)
        else:
            self._study.tell(number - 1, state=TrialState.FAIL)
            problem = "it ended without an evaluation" if code == 0 else ""
        self._note()
        return problem

    def _note(self) -> None:
        """Writes down what was asked for so far, so that a report needs no Optuna."""
        from optuna.trial import TrialState

        states = {TrialState.PRUNED: PRUNED, TrialState.FAIL: FAILED}
        ranges = {key: range_of(key, values) for key, values in self.sweep.grid}
        asked = []
        for frozen in self._study.get_trials(deepcopy=False):
            values = {}
            for key, span in ranges.items():
                if key not in frozen.params:
                    raise DataError(f"{self.sweep.path / _JOURNAL} is of another search: it has no {key}")
                value = frozen.params[key]
                values[key] = str(value) if span is None else span.text(value)
            asked.append(AskedTrial(values=values, state=states.get(frozen.state, "")))
        self.sweep = note_asked(self.sweep, asked)


def check_optuna() -> None:
    """Checks that Optuna is there.

    Raises:
        MachineError: It is not.
    """
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise MachineError("--search needs Optuna: pip install 'risctl[search]'") from error


def _study(sweep: Sweep) -> Any:
    """Opens, or begins, what Optuna knows of a search.

    Raises:
        DataError: It cannot be read.
    """
    check_optuna()
    import optuna
    from optuna.storages.journal import JournalFileBackend

    file = sweep.path / _JOURNAL
    try:
        return optuna.create_study(
            study_name="risctl",
            storage=optuna.storages.JournalStorage(JournalFileBackend(str(file))),
            direction="maximize",
            # The first trials are never stopped, nor is any by its first evaluation.
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_FIRST_TRIALS, n_warmup_steps=1),
            load_if_exists=True,
        )
    except Exception as error:  # whatever a damaged file makes of it
        raise DataError(
            f"{file} cannot be read: {str(error) or type(error).__name__:.200}; begin a new search with another --out"
        ) from error


def _distributions(sweep: Sweep) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, Any] = {}
    for key, values in sweep.grid:
        span = range_of(key, values)
        if span is None:
            found[key] = CategoricalDistribution(values)
        elif span.whole:
            found[key] = IntDistribution(int(span.low), int(span.high), log=span.logarithmic)
        else:
            found[key] = FloatDistribution(span.low, span.high, log=span.logarithmic)
    return found


def _has_ended(frozen: Any) -> bool:
    return bool(frozen.state.is_finished())


@contextmanager
def _quietly() -> Iterator[None]:
    """Keeps Optuna's own log from stderr, which is the command's."""
    check_optuna()
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)
