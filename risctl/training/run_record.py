"""Reads what a run left behind: its loss, learning rate and figures over the steps, and what it came to.

Nothing here trains or imports torch, so that a report of many runs is quick.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from risctl.errors import DataError
from risctl.json_text import parse_json, parse_object

_MAX_RESULT = 1 << 24
_MAX_METRICS = 1 << 30

WATCHED = ("grad_norm", "samples_per_second", "data_share", "memory_mib")
"""What is recorded of the training beside its loss and rate: the mean norm of the gradient before clipping, samples per
second, the share of the time in which batches were waited for, and the most memory of the first process in MiB."""

Curve = tuple[tuple[int, float], ...]
"""Values over the steps: (step, value), steps in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run as its folder tells it.

    Attributes:
        path: The run folder.
        curves: By name: `loss`, each term of it as `loss: TERM` where there are several, `rate`, those of
            `WATCHED`, and the figures of the evaluations, in percent.
        evaluated: The names of those curves that are figures of evaluations.
        result: What the run came to, as `risctl train --json` prints it; None as long as it has not ended.
        unreadable: How many lines of metrics.jsonl could not be read.
    """

    path: Path
    curves: Mapping[str, Curve]
    evaluated: tuple[str, ...]
    result: Mapping[str, Any] | None
    unreadable: int = 0

    @property
    def step(self) -> int:
        """The last step that was recorded."""
        return max((curve[-1][0] for curve in self.curves.values() if curve), default=0)

    @property
    def best(self) -> tuple[str, float, int] | None:
        """The best evaluation of a run that has ended: the figure, its value in percent, and the step."""
        best = (self.result or {}).get("best")
        return None if best is None else (best["figure"], best["value"], best["step"])


def read_run_record(path: Path) -> RunRecord:
    """Reads the folder of a run, finished or not.

    Raises:
        DataError: The folder has no metrics.jsonl, or it or result.json cannot be read.
    """
    curves: dict[str, dict[int, float]] = {}
    evaluated: dict[str, None] = {}
    unreadable = 0
    for entry in _entries(path / "metrics.jsonl"):
        if entry is None:
            unreadable += 1
            continue
        step: int = entry["step"]
        values = _values(entry)
        for name, value in values.items():
            curves.setdefault(name, {})[step] = value
        if entry["kind"] == "eval":
            evaluated.update(dict.fromkeys(values))
    return RunRecord(
        path=path,
        curves={name: tuple(sorted(curve.items())) for name, curve in curves.items()},
        evaluated=tuple(evaluated),
        result=read_result(path),
        unreadable=unreadable,
    )


def read_result(path: Path) -> Mapping[str, Any] | None:
    """Returns what the run in the folder `path` came to; None if it has not ended.

    Raises:
        DataError: result.json cannot be read.
    """
    file = path / "result.json"
    try:
        result = parse_object(file.read_bytes(), max_bytes=_MAX_RESULT)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}; `risctl train --resume {path}` writes it anew") from error
    best = result.get("best")
    figures = result.get("figures")
    sound = isinstance(figures, dict) and all(_is_number(value) for value in figures.values())
    if best is not None:
        sound = sound and isinstance(best, dict) and isinstance(best.get("figure"), str)
        sound = sound and _is_number(best.get("value")) and type(best.get("step")) is int
    if not sound:
        raise DataError(f"{file} is not what a run writes; `risctl train --resume {path}` writes it anew")
    return result


def _entries(file: Path) -> Iterator[dict[str, Any] | None]:
    """Yields the entries of metrics.jsonl; None for a line that cannot be read, as the last of a killed run."""
    try:
        if file.stat().st_size > _MAX_METRICS:
            raise DataError(f"{file} has more than {_MAX_METRICS >> 30} GiB; that is no file of metrics")
        with file.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                try:
                    entry = parse_json(line, max_depth=8)
                except ValueError:
                    entry = None
                is_sound = (
                    isinstance(entry, dict)
                    and entry.get("kind") in ("train", "eval")
                    and type(entry.get("step")) is int
                    and 0 <= entry["step"] < 1 << 53
                )
                yield entry if is_sound else None
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"{file.parent} holds no metrics.jsonl; name a run folder, as `risctl train` writes them"
        ) from None
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error


def _values(entry: Mapping[str, Any]) -> dict[str, float]:
    """Returns the numbers of an entry by the name of their curve."""
    if entry["kind"] == "eval":
        found = entry.get("figures")
    else:
        terms = entry.get("terms")
        found = {name: entry.get(name) for name in ("loss", "rate", *WATCHED)}
        if isinstance(terms, dict) and len(terms) > 1:
            found |= {f"loss: {name}": value for name, value in terms.items()}
    if not isinstance(found, dict):
        return {}
    return {name: float(value) for name, value in found.items() if _is_number(value)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300 and isfinite(value)
