"""Plans a sweep: one recipe trained with each combination of some keys' values, and with several seeds.

A sweep is a folder: `sweep.json`, the plan, and `runs/`, a run folder a trial. A trial is an ordinary run of
`risctl train`, whoever starts it, so that a job array can do the work; whether it has ended is told by its result.json.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from risctl.errors import DataError, UsageError
from risctl.files import replacing
from risctl.json_text import parse_object
from risctl.recipe.load import load_recipe
from risctl.training.search_space import trial_values

MAX_TRIALS = 10_000
SEARCHES = ("tpe", "random")
PRUNED, FAILED = "pruned", "failed"
_PLAN, _ASKED = "sweep.json", "trials.json"
_FIELDS = ("recipe", "overrides", "grid", "seeds", "search", "trial_count")
_MAX_PLAN = 1 << 22
_UNSAFE = re.compile(r"[^A-Za-z0-9._+=-]+")
_OPENING, _CLOSING = "[{(", "]})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One training of a sweep.

    Attributes:
        number: Its number, from 1.
        values: The values of the swept keys, as they were given.
        seed: Its `train.seed`.
        run: Its run folder.
        overrides: All changes to the recipe.
    """

    number: int
    values: Mapping[str, str]
    seed: int
    run: Path
    overrides: tuple[str, ...]

    @property
    def label(self) -> str:
        """The values and the seed, for a person."""
        return ", ".join([*(f"{key}={value}" for key, value in self.values.items()), f"seed {self.seed}"])


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedTrial:
    """A trial that a search has asked for.

    Attributes:
        values: The values of the swept keys.
        state: `PRUNED` or `FAILED`; "" as long as it is neither.
    """

    values: Mapping[str, str]
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """The plan of a sweep.

    Attributes:
        path: Its folder.
        recipe: The recipe's file or shipped name.
        overrides: Changes that all trials share.
        grid: The swept keys with their values, as they were given.
        seeds: The seeds with which each combination is trained.
        search: How values are searched, one of `SEARCHES`; "" for a grid, of which every combination is trained.
        trial_count: How many trials a search has.
        asked: The trials that a search has asked for so far, in their order.
    """

    path: Path
    recipe: str
    overrides: tuple[str, ...]
    grid: tuple[tuple[str, tuple[str, ...]], ...]
    seeds: tuple[int, ...]
    search: str = ""
    trial_count: int = 0
    asked: tuple[AskedTrial, ...] = ()

    @property
    def points(self) -> list[dict[str, str]]:
        """The combinations of the swept keys' values, the last key's values running fastest; those asked for."""
        if self.search:
            return [dict(one.values) for one in self.asked]
        keys = [key for key, _ in self.grid]
        return [dict(zip(keys, chosen, strict=True)) for chosen in itertools.product(*(each for _, each in self.grid))]

    def trials(self) -> list[Trial]:
        """Returns the trials: all combinations with the first seed, then all with the second, and so on.

        In this order a sweep that is stopped early has tried every combination.
        """
        trials: list[Trial] = []
        for seed, values in itertools.product(self.seeds, self.points):
            number = len(trials) + 1
            short = [f"{key.rpartition('.')[2]}={value}" for key, value in values.items()]
            name = _UNSAFE.sub("_", "-".join([f"{number:03}", *short, f"seed={seed}"]))[:120]
            overrides = (*self.overrides, *(f"{key}={value}" for key, value in values.items()), f"train.seed={seed}")
            trials.append(
                Trial(number=number, values=values, seed=seed, run=self.path / "runs" / name, overrides=overrides)
            )
        return trials

    def trial(self, number: int) -> Trial:
        """Returns the trial of a number."""
        return self.trials()[number - 1]

    def command(self, trial: Trial, *, device: str) -> list[str]:
        """Returns the arguments of `risctl` that train a trial, or go on with it."""
        chosen = [] if device == "auto" else ["--device", device]
        return ["train", self.recipe, *trial.overrides, "--out", str(trial.run), "--resume", *chosen]


def plan_sweep(
    recipe: str,
    *,
    overrides: Sequence[str],
    grid: Sequence[str],
    seeds: int,
    out: Path | None,
    search: str = "",
    trials: int = 0,
) -> Sweep:
    """Returns the plan of a sweep, each of its recipes validated.

    Args:
        recipe: The recipe's file or shipped name.
        overrides: Changes that all trials share.
        grid: `KEY=VALUE,VALUE` each; commas within brackets and quotes separate nothing.
        seeds: How many seeds each combination is trained with, counted from the recipe's own.
        out: The folder of the sweep; None: the first free `sweeps/<recipe>-<n>`.
        search: One of `SEARCHES`, whose `grid` may have ranges, `KEY=LOW..HIGH` and `KEY=LOW..HIGH:log`.
        trials: How many trials the search has.

    Raises:
        UsageError: A part of the grid is no such text, names a key twice, or there are too many trials.
        RecipeError: A combination is no valid recipe; of many, the first is named.
    """
    axes = _axes(grid)
    if search and (not axes or seeds > 1):
        raise UsageError(
            "--search takes the keys to search with --grid, and one seed; train the best of what it finds again with "
            "--grid and --seeds"
        )
    tried = {key: trial_values(key, values) for key, values in axes.items()}
    for key, values in axes.items():
        if not search and tried[key] != values:
            raise UsageError(f"--grid {key}: {values[0]} is a range, which --search tries; a grid names each value")
    count = trials if search else seeds * math.prod(map(len, axes.values()))
    if count > MAX_TRIALS:
        raise UsageError(f"{count:,} trials are too many; a sweep has at most {MAX_TRIALS:,}")
    base = load_recipe(recipe, overrides)
    first = base.train.seed
    sweep = Sweep(
        path=out or _next_free(base.name),
        recipe=recipe,
        overrides=tuple(overrides),
        grid=tuple(axes.items()),
        seeds=tuple(range(first, first + seeds)),
        search=search,
        trial_count=trials if search else 0,
    )
    if search:
        if base.train.eval_every is None:
            raise UsageError("--search goes by evaluations, and train.eval_every is null; set it to epochs")
        for place in range(max(map(len, tried.values()))):  # each value once, and both ends of ranges
            load_recipe(recipe, [*overrides, *(f"{key}={each[place % len(each)]}" for key, each in tried.items())])
    for trial in sweep.trials()[: len(sweep.points)]:  # one seed of each combination
        load_recipe(recipe, trial.overrides)
    return sweep


def _axes(grid: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Returns the values of each key as they were given.

    Raises:
        UsageError: A part of the grid is no such text, or names a key twice.
    """
    axes = dict[str, tuple[str, ...]]()
    for text in grid:
        key, equals, values = text.partition("=")
        parts = tuple(_values(values))
        if not equals or not key or not all(parts):
            raise UsageError(f"--grid takes KEY=VALUE,VALUE,… such as optim.lr=1e-4,3e-4; got {text!r}")
        if key in axes:
            raise UsageError(f"--grid names {key} twice; give all its values at once: {key}=VALUE,VALUE")
        if key == "train.seed":
            raise UsageError("--grid takes no train.seed; --seeds N trains each combination with N seeds")
        if len(set(parts)) < len(parts):
            raise UsageError(f"--grid names a value of {key} twice: {values}")
        axes[key] = parts
    return axes


def _next_free(name: str) -> Path:
    number = 1
    while (Path("sweeps") / f"{name}-{number}").exists():
        number += 1
    return Path("sweeps") / f"{name}-{number}"


def begin_sweep(sweep: Sweep) -> None:
    """Writes the plan into the sweep's folder, or finds there that it is this one's.

    Raises:
        UsageError: The folder holds another sweep, or something else.
        DataError: The plan that is there cannot be read.
        MachineError: The disk refuses.
    """
    if (sweep.path / _PLAN).exists():
        there = read_sweep(sweep.path)
        # A search may be given more trials than it had.
        differing = [name for name in _FIELDS[:-1] if _of(there, name) != _of(sweep, name)]
        if differing:
            raise UsageError(
                f"{sweep.path} holds another sweep: {', '.join(differing)} differ. It goes on with the same arguments; "
                "another sweep takes another --out"
            )
        if there.trial_count == sweep.trial_count:
            return
    elif sweep.path.exists() and (not sweep.path.is_dir() or any(sweep.path.iterdir())):
        raise UsageError(f"{sweep.path} is there and holds no sweep; name another --out")
    values = {name: _of(sweep, name) for name in (_FIELDS if sweep.search else _FIELDS[:4])}
    with replacing(sweep.path / _PLAN) as file:
        file.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def note_asked(sweep: Sweep, asked: Sequence[AskedTrial]) -> Sweep:
    """Writes down the trials that a search has asked for, and returns the sweep with them.

    Raises:
        MachineError: The disk refuses.
    """
    with replacing(sweep.path / _ASKED) as file:
        file.write_text(json.dumps({"trials": [asdict(one) for one in asked]}, indent=1) + "\n", encoding="utf-8")
    return replace(sweep, asked=tuple(asked))


def _with_asked(sweep: Sweep) -> Sweep:
    """Returns a search with the trials that it has asked for.

    Raises:
        DataError: They cannot be read.
    """
    file = sweep.path / _ASKED
    try:
        entries = parse_object(file.read_bytes(), max_bytes=_MAX_PLAN)["trials"]
        asked = [
            AskedTrial(values={key: _text(one["values"][key]) for key, _ in sweep.grid}, state=_text(one["state"]))
            for one in entries
        ]
    except FileNotFoundError:
        return sweep
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{file} cannot be read: {error}; the same `risctl sweep` writes it anew") from error
    return replace(sweep, asked=tuple(asked))


def read_sweep(path: Path) -> Sweep:
    """Returns the plan of the sweep in a folder.

    Raises:
        DataError: There is none, or it cannot be read.
    """
    file = path / _PLAN
    try:
        values = parse_object(file.read_bytes(), max_bytes=_MAX_PLAN)
        sweep = Sweep(
            path=path,
            recipe=_text(values["recipe"]),
            overrides=tuple(map(_text, values["overrides"])),
            grid=tuple((_text(key), tuple(map(_text, each))) for key, each in values["grid"]),
            seeds=tuple(map(_seed, values["seeds"])),
            search=_text(values.get("search", "")),
            trial_count=_seed(values.get("trial_count", 0)),
        )
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}; name the folder of a sweep") from error
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{file} is not the plan of a sweep: {error}") from error
    count = sweep.trial_count if sweep.search else math.prod(len(each) for _, each in sweep.grid)
    if not 0 < count * len(sweep.seeds) <= MAX_TRIALS:
        raise DataError(f"{file} plans no trial, or more than {MAX_TRIALS:,}")
    return _with_asked(sweep) if sweep.search else sweep


def job_lines(sweep: Sweep, *, device: str) -> list[str]:
    """Returns the command line of each trial; a trial that was begun goes on with the same line."""
    return [shlex.join(["risctl", *sweep.command(trial, device=device)]) for trial in sweep.trials()]


def _values(text: str) -> Iterator[str]:
    """Yields the parts of `text` between commas that stand in no bracket and no quotes."""
    depth, quote, begin = 0, "", 0
    for index, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in _OPENING:
            depth += 1
        elif char in _CLOSING:
            depth -= 1
        elif char == "," and depth == 0:
            yield text[begin:index].strip()
            begin = index + 1
    yield text[begin:].strip()


def _of(sweep: Sweep, name: str) -> Any:
    """Returns a field as JSON has it."""
    return json.loads(json.dumps(getattr(sweep, name)))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _seed(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"{value!r} is no seed")
    return value
