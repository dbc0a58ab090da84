"""Trains a system, evaluates it and saves checkpoints, whatever the system is.

A run is a function of its recipe and its stores. Order, augmentation and dropout follow from (seed, epoch, index) and
(seed, step, batch), so weights, optimizer and the step are all that a resume needs to go on exactly, wherever it was
killed.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from risctl.data.batch import Batch, SkippedImage
from risctl.data.loading.loader import SkippingDataset, batches, make_loader
from risctl.devices import memory_mib
from risctl.distributed import failing_together, gather, raise_together
from risctl.errors import DataError, RisctlError, UnreadableImageError, WorkerKilledError
from risctl.interrupts import Interrupts
from risctl.recipe.schema import Recipe
from risctl.systems.base import System
from risctl.training.agreement import agreed
from risctl.training.components import TrainerComponents
from risctl.training.early_stop import described, is_over, note_evaluation
from risctl.training.logger import duration
from risctl.training.lost_device import lost_device
from risctl.training.lr_schedule import LRSchedule
from risctl.training.optimizer import set_rate
from risctl.training.run_record import WATCHED
from risctl.training.run_saver import RunSaver
from risctl.training.seeding import seed_batch
from risctl.training.skipped_images import gather_skipped, note_skipped
from risctl.training.state import BestEvaluation, TrainingState

# How long a signal may take to reach the main process after it has reached a loader process.
_SIGNAL_SECONDS = 1.0


class _Stopped(Exception):  # noqa: N818 - no error: leaves an evaluation that Ctrl-C ended
    pass


class Trainer:
    """Trains from where the state stands to the end of the run."""

    def __init__(self, parts: TrainerComponents, state: TrainingState, *, has_saved: bool = False) -> None:
        """Creates the trainer.

        Args:
            parts: What it works with.
            state: Where the run stands.
            has_saved: Whether there is a save of this state already.
        """
        self.parts = parts
        self.state = state
        self.recipe = parts.recipe
        self.steps_per_epoch = len(parts.sampler) // parts.batching.accumulate
        self.total = total_steps(self.recipe, self.steps_per_epoch)
        self.schedule = LRSchedule.of(self.recipe.optim, steps_per_epoch=self.steps_per_epoch, total=self.total)
        max_count = self.recipe.train.skip_corrupt
        self._loader = make_loader(
            SkippingDataset(parts.dataset, max_count=max_count) if max_count else parts.dataset,
            parts.sampler,
            workers=self.recipe.data.workers,
            pin=parts.accelerator.device.type == "cuda",
        )
        self._has_saved = has_saved
        self._saver = RunSaver(parts, steps_per_epoch=self.steps_per_epoch)
        self._keep: Path | None = parts.run.previous
        self._saved = state.step
        self._first = state.step
        # Start times of this session, of what `state.seconds` lacks, and of the current line of the log.
        self._began = self._counted = self._window_start = time.monotonic()
        self._waited = 0.0  # seconds of the window in which the next batch was waited for

    def keep_previous(self) -> None:
        """Lets the next save leave the save before last as it is, and take the place of a damaged `last`."""
        self._keep = None

    def run(self) -> TrainingState:
        """Trains to the end.

        Returns:
            The final state.

        Raises:
            TrainingError: The loss or the weights are no longer finite.
            DataError: An image cannot be read, and is one more than `train.skip_corrupt`. The run was saved.
            WorkerKilledError: A loader process was killed. The run was saved.
            MachineError: The device is gone, or another process of the run. The last save stays.
            KeyboardInterrupt: After Ctrl-C, or `Terminated` after SIGTERM, with the step finished and `last` saved.
        """
        with Interrupts() as interrupts:
            if not self._has_saved:
                # A run that has begun has a save: one without can then be told from one that lost its saves.
                self._save_resumable(self.parts.run.previous)
            try:
                self._run(interrupts)
            except _Stopped:
                pass
            except RuntimeError as error:
                saved = f"the save of step {self._saved} stays; go on with: risctl train --resume {self.parts.run.path}"
                lost = lost_device(error, saved=saved)
                if lost is None:
                    raise
                raise lost from error
            except (DataError, WorkerKilledError) as error:
                self._leave(error, interrupts)
            stopping, _ = agreed(interrupts, self.parts.accelerator)
            if stopping:
                self._save_last()
                how = "terminated" if interrupts.terminated else "interrupted"
                self.parts.logger.line(
                    f"{how} after step {self.state.step} of {self.total} and saved; "
                    f"go on with: risctl train --resume {self.parts.run.path}"
                )
                interrupts.raise_if_requested()
        return self.state

    def _leave(self, error: RisctlError, interrupts: Interrupts) -> None:
        """Saves a run whose data ended; returns if that is because the processes were told to stop.

        Raises:
            RisctlError: `error`, with what was saved.
        """
        if isinstance(error, WorkerKilledError):
            # A signal to all processes of a job reaches its loaders, too, perhaps before this one has seen its own.
            deadline = time.monotonic() + _SIGNAL_SECONDS
            while not interrupts.requested and "SIGTERM" in str(error) and time.monotonic() < deadline:
                time.sleep(0.01)
            if agreed(interrupts, self.parts.accelerator)[0]:
                return
        if self.state.step > self._saved:
            self._save_last()
        step, run = self.state.step, self.parts.run.path
        raise type(error)(f"{error}; saved after step {step}; go on with: risctl train --resume {run}") from error

    def _run(self, interrupts: Interrupts) -> None:
        state, stream = self.state, self._stream()
        while True:
            if self._evaluation_is_due():
                self._evaluate(interrupts)
                self._save_last()
            elif state.step > self._saved and self._saving_is_due():
                self._save_last()
            if state.step >= self.total:
                return
            if is_over(state, self.recipe.train.early_stop):
                self.parts.logger.line(described(state, self.recipe.train))
                return
            self._step(self._taken(stream, interrupts))

    def _taken(self, stream: Iterator[Batch], interrupts: Interrupts) -> list[Batch]:
        """Returns the batches of the next step.

        All of them are there before the first is used: where one cannot be had, the run stands between two steps. All
        processes leave before the same step, whichever of them was told to stop or lacks a batch.

        Raises:
            _Stopped: A process was told to stop.
            RisctlError: A process cannot have its batches.
        """
        alone = self.parts.accelerator.num_processes == 1
        if alone and interrupts.requested:
            raise _Stopped
        taken, error, asked = [], None, time.monotonic()
        try:
            taken = [next(stream) for _ in range(self.parts.batching.accumulate)]
            self._note_skipped([one for batch in taken for one in batch.skipped], step=self.state.step + 1)
        except Exception as caught:
            if alone:
                raise
            error = caught
        self._waited += time.monotonic() - asked
        if not alone:
            stopping, failed = agreed(interrupts, self.parts.accelerator, failed=error is not None)
            if stopping:
                raise _Stopped
            if failed:
                raise_together(error)
        return taken

    def _step(self, taken: list[Batch]) -> None:
        state, parts = self.state, self.parts
        rate = self.recipe.optim.lr * self.schedule(state.step)
        epoch = state.step // self.steps_per_epoch + 1
        set_rate(parts.train_step.optimizer, rate, multiplied=epoch >= self.recipe.optim.multipliers_from)
        terms = parts.train_step.step(
            iter(taken), number=state.step + 1, begin=partial(_seed, self.recipe.train.seed, state.step)
        )
        state.step += 1
        if parts.ema is not None:
            parts.ema.update(parts.system, updates=state.step)
        for name, value in terms.items():
            state.window[name] = state.window.get(name, 0.0) + value
        state.window_steps += 1
        state.window_norm += parts.train_step.norm if math.isfinite(parts.train_step.norm) else 0.0
        parts.logger.step(state.step, self.total, loss=sum(terms.values()), seconds_left=self._seconds_left())
        if state.step % self.recipe.train.log_every == 0 or state.step == self.total:
            with failing_together():
                self._log(rate)

    def _stream(self) -> Iterator[Batch]:
        """Yields the batches of the rest of the run, beginning with the one that the next step needs."""
        epoch, done = divmod(self.state.step, self.steps_per_epoch)
        while True:
            self.parts.sampler.set_epoch(epoch)
            self.parts.sampler.skip(done * self.parts.batching.accumulate)
            yield from batches(self._loader)
            epoch, done = epoch + 1, 0

    def _evaluation_is_due(self) -> bool:
        step = self.state.step
        if self.recipe.train.eval_every is None or self.parts.validation is None:
            return False
        every = self.recipe.train.eval_every * self.steps_per_epoch
        return step > self.state.evaluated and (step == self.total or step % every == 0)

    def _saving_is_due(self) -> bool:
        every = self.recipe.train.save_every or self.steps_per_epoch
        return self.state.step % every == 0 or self.state.step == self.total

    def _evaluate(self, interrupts: Interrupts) -> None:
        """Evaluates the system, all processes together, and saves it if it is the best."""
        parts, state, validation = self.parts, self.state, self.parts.validation
        assert validation is not None

        def progress(done: int, total: int) -> None:
            if interrupts.requested:
                raise _Stopped
            parts.logger.evaluating(done, total)

        left_out: set[str] = set()

        def skip(error: UnreadableImageError) -> None:
            left_out.add(error.image)
            self._note_skipped([SkippedImage(image=error.image, problem=str(error))], step=state.step)

        started = time.monotonic()
        with contextlib.ExitStack() as averaged:
            if parts.ema is not None:
                averaged.enter_context(parts.ema.applied(parts.system))
            system = parts.system if parts.sharded is None else averaged.enter_context(parts.sharded.whole())
            state.figures = validation.figures(
                system, progress=progress, unreadable=skip if self.recipe.train.skip_corrupt else None
            )
            self._gather_skipped()
            left_out = set().union(*gather(left_out))
            note_evaluation(state, state.figures, self.recipe.train)
            with failing_together():
                self._keep_if_best(state.figures, system)
        state.evaluated = state.step
        seconds = time.monotonic() - started
        self._window_start += seconds
        values = {"epoch": self._epoch(), "figures": state.figures, "evaluation_seconds": round(seconds, 3)}
        if left_out:
            values["left_out"] = sorted(left_out)
        is_best = state.best is not None and state.best.step == state.step
        shown = ", ".join(f"{figure} {value:.2f}" for figure, value in state.figures.items())
        mark = f"; the best {self.recipe.train.best} so far" if is_best else ""
        with failing_together():
            parts.logger.record("eval", state.step, values, scalars=state.figures)
            parts.logger.line(f"step {state.step}: {validation.describe(left_out=len(left_out))}: {shown}{mark}")

    def _keep_if_best(self, figures: dict[str, float], system: System) -> None:
        name, state = self.recipe.train.best, self.state
        value = figures.get(name)
        if value is not None and (state.best is None or value > state.best.value):
            state.best = BestEvaluation(figure=name, value=value, step=state.step)
            if self.parts.accelerator.is_main_process:
                self._saver.save_best(state, system)

    def _save_last(self) -> None:
        self._save_resumable(self.parts.run.last, keep=self._keep)
        self._keep = self.parts.run.previous
        self._saved = self.state.step

    def _save_resumable(self, path: Path, *, keep: Path | None = None) -> None:
        """Saves the run; all processes wait for the one that writes, so that none ends before there is a save."""
        self._gather_skipped()
        with failing_together():
            if self.parts.accelerator.is_main_process:
                now = time.monotonic()
                self.state.seconds += now - self._counted
                self._counted = now
                scaler = self.parts.accelerator.scaler
                self.state.scaler = None if scaler is None else scaler.state_dict()
        self._saver.save_resumable(path, self.state, keep=keep)

    def _note_skipped(self, images: Sequence[SkippedImage], *, step: int) -> None:
        for line in note_skipped(self.state, images, step=step, max_count=self.recipe.train.skip_corrupt):
            self.parts.logger.line(line)

    def _gather_skipped(self) -> None:
        """Joins what the processes could not read. All processes must call it."""
        if self.recipe.train.skip_corrupt and self.parts.accelerator.num_processes > 1:
            lines = gather_skipped(self.state, max_count=self.recipe.train.skip_corrupt)
            with failing_together():
                for line in lines:
                    self.parts.logger.line(line)

    def _log(self, rate: float) -> None:
        state = self.state
        terms = {name: value / state.window_steps for name, value in state.window.items()}
        loss = sum(terms.values())
        now = time.monotonic()
        speed = self.parts.batching.samples * state.window_steps / max(now - self._window_start, 1e-9)
        values: dict[str, Any] = {
            "epoch": self._epoch(),
            "loss": loss,
            "terms": terms,
            "rate": rate,
            "grad_norm": state.window_norm / state.window_steps,
            "samples_per_second": round(speed, 3),
            "data_share": round(min(1.0, self._waited / max(now - self._window_start, 1e-9)), 4),
            "memory_mib": memory_mib(self.parts.accelerator.device),
        }
        watched = {name: values[name] for name in WATCHED if values[name] is not None}
        self.parts.logger.record("train", state.step, values, scalars={"loss": loss, **terms, "rate": rate, **watched})
        left = self._seconds_left()
        shown = ", ".join(f"{name} {value:.5g}" for name, value in terms.items())
        self.parts.logger.line(
            f"step {state.step}/{self.total}, epoch {self._epoch():.2f}/{self.recipe.train.epochs}: loss {loss:.5g} "
            f"({shown}), rate {rate:.3g}, {speed:.3g} samples/s" + ("" if left is None else f", {duration(left)} left"),
            routine=True,
        )
        state.window, state.window_steps, state.window_norm = {}, 0, 0.0
        self._window_start, self._waited = now, 0.0

    def _epoch(self) -> float:
        return round(self.state.step / self.steps_per_epoch, 4)

    def _seconds_left(self) -> float | None:
        done = self.state.step - self._first
        return (time.monotonic() - self._began) / done * (self.total - self.state.step) if done else None


def _seed(seed: int, step: int, place: int) -> None:
    seed_batch(seed, step, place=place)


def total_steps(recipe: Recipe, steps_per_epoch: int) -> int:
    """Returns the number of updates of a whole run."""
    total = recipe.train.epochs * steps_per_epoch
    return total if recipe.train.max_steps is None else min(total, recipe.train.max_steps)
