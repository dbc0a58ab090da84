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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from risctl.errors import DataError, UsageError
from risctl.files import replacing
from risctl.json_text import parse_object
from risctl.recipe.load import load_recipe
from risctl.training.run_record import read_result

MAX_TRIALS = 10_000
_PLAN = "sweep.json"
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
class Sweep:
    """The plan of a sweep.

    Attributes:
        path: Its folder.
        recipe: The recipe's file or shipped name.
        overrides: Changes that all trials share.
        grid: The swept keys with their values, as they were given.
        seeds: The seeds with which each combination is trained.
    """

    path: Path
    recipe: str
    overrides: tuple[str, ...]
    grid: tuple[tuple[str, tuple[str, ...]], ...]
    seeds: tuple[int, ...]

    @property
    def points(self) -> list[dict[str, str]]:
        """The combinations of the swept keys' values, the last key's values running fastest."""
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

    def command(self, trial: Trial, *, device: str) -> list[str]:
        """Returns the arguments of `risctl` that train a trial, or go on with it."""
        chosen = [] if device == "auto" else ["--device", device]
        return ["train", self.recipe, *trial.overrides, "--out", str(trial.run), "--resume", *chosen]


def plan_sweep(recipe: str, *, overrides: Sequence[str], grid: Sequence[str], seeds: int, out: Path | None) -> Sweep:
    """Returns the plan of a sweep, each of its recipes validated.

    Args:
        recipe: The recipe's file or shipped name.
        overrides: Changes that all trials share.
        grid: `KEY=VALUE,VALUE` each; commas within brackets and quotes separate nothing.
        seeds: How many seeds each combination is trained with, counted from the recipe's own.
        out: The folder of the sweep; None: the first free `sweeps/<recipe>-<n>`.

    Raises:
        UsageError: A part of the grid is no such text, names a key twice, or there are too many trials.
        RecipeError: A combination is no valid recipe; of many, the first is named.
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
    count = seeds * math.prod(map(len, axes.values()))
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
    )
    for trial in sweep.trials()[: len(sweep.points)]:  # one seed of each combination
        load_recipe(recipe, trial.overrides)
    return sweep


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
        differing = [name for name in ("recipe", "overrides", "grid", "seeds") if _of(there, name) != _of(sweep, name)]
        if differing:
            raise UsageError(
                f"{sweep.path} holds another sweep: {', '.join(differing)} differ. It goes on with the same arguments; "
                "another sweep takes another --out"
            )
        return
    if sweep.path.exists() and (not sweep.path.is_dir() or any(sweep.path.iterdir())):
        raise UsageError(f"{sweep.path} is there and holds no sweep; name another --out")
    values = {name: _of(sweep, name) for name in ("recipe", "overrides", "grid", "seeds")}
    with replacing(sweep.path / _PLAN) as file:
        file.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


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
        )
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}; name the folder of a sweep") from error
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{file} is not the plan of a sweep: {error}") from error
    if not 0 < len(sweep.seeds) * math.prod(len(each) for _, each in sweep.grid) <= MAX_TRIALS:
        raise DataError(f"{file} plans no trial, or more than {MAX_TRIALS:,}")
    return sweep


def job_lines(sweep: Sweep, *, device: str) -> list[str]:
    """Returns the command line of each trial; a trial that was begun goes on with the same line."""
    return [shlex.join(["risctl", *sweep.command(trial, device=device)]) for trial in sweep.trials()]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPoint:
    """A combination of values over its seeds.

    Attributes:
        values: The values of the swept keys.
        figure: The figure by which the recipe keeps its best checkpoint; "" as long as no trial has ended with one.
        seeds: What each seed's trial came to: `seed`, `run`, `ended`, and `value` and `step` of its best evaluation.
        mean: The mean of the values, in percent; None without one.
        low: The lower bound of the mean's 95% interval over seeds (Student's t); None with fewer than two values.
        high: The upper bound.
    """

    values: Mapping[str, str]
    figure: str
    seeds: tuple[Mapping[str, Any], ...]
    mean: float | None
    low: float | None
    high: float | None

    def to_json(self) -> dict[str, Any]:
        """Returns the point as JSON values."""
        return asdict(self)


def sweep_points(sweep: Sweep) -> list[SweepPoint]:
    """Returns what each combination came to so far, in the order of the grid.

    Raises:
        DataError: A trial's result.json cannot be read.
    """
    trials = sweep.trials()
    results = {trial.number: read_result(trial.run) for trial in trials}
    points = []
    for values in sweep.points:
        figure, seeds, known = "", [], []
        for trial in trials:
            if trial.values != values:
                continue
            result = results[trial.number]
            best = (result or {}).get("best")
            seeds.append(
                {
                    "seed": trial.seed,
                    "run": str(trial.run),
                    "ended": result is not None,
                    "value": None if best is None else best["value"],
                    "step": None if best is None else best["step"],
                }
            )
            if best is not None:
                figure = best["figure"]
                known.append(float(best["value"]))
        mean = math.fsum(known) / len(known) if known else None
        low, high = _interval(known)
        points.append(SweepPoint(values=values, figure=figure, seeds=tuple(seeds), mean=mean, low=low, high=high))
    return points


def best_point(points: Sequence[SweepPoint]) -> SweepPoint | None:
    """Returns the point with the best mean; None as long as no trial has ended with an evaluation."""
    measured = [point for point in points if point.mean is not None]
    return max(measured, key=lambda point: point.mean or 0.0, default=None)


def _interval(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Returns the 95% interval of the mean of independent values, by Student's t with n - 1 degrees of freedom."""
    if len(values) < 2:
        return None, None
    from scipy.stats import t

    mean = math.fsum(values) / len(values)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    half = float(t.ppf(0.975, len(values) - 1)) * deviation / math.sqrt(len(values))
    return mean - half, mean + half


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
