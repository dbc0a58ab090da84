"""Counts the images that a run goes on past because they cannot be read, and names them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from risctl.data.batch import SkippedImage
from risctl.distributed import gather
from risctl.errors import DataError
from risctl.training.state import TrainingState

_SHOWN = 5


def note_skipped(state: TrainingState, images: Iterable[SkippedImage], *, step: int, max_count: int) -> list[str]:
    """Adds the images that could not be read and that are not known yet.

    Args:
        state: The state of the run.
        images: The images.
        step: The step that lacks them, or after which an evaluation does.
        max_count: How many images a run may lack.

    Returns:
        A line for the log for each of them.

    Raises:
        DataError: There are more than `max_count` by now; `state` is unchanged.
    """
    known = {entry["image"] for entry in state.skipped}
    new = {one.image: one for one in images if one.image not in known}
    entries = [{"image": one.image, "problem": one.problem, "step": step} for one in new.values()]
    _check([*state.skipped, *entries], max_count=max_count)
    state.skipped = [*state.skipped, *entries]
    return _lines(entries, before=len(known), max_count=max_count)


def gather_skipped(state: TrainingState, *, max_count: int) -> list[str]:
    """Joins what all processes could not read. All processes must call it.

    Returns:
        A line for the log for each image that this process learns of.

    Raises:
        DataError: There are more than `max_count` images.
    """
    known = {entry["image"]: entry for entry in state.skipped}
    found = [entry for entries in gather(state.skipped) for entry in entries]
    joined: dict[str, dict[str, Any]] = {}
    for entry in sorted(found, key=lambda entry: (entry["step"], entry["image"])):
        joined.setdefault(entry["image"], entry)
    _check(list(joined.values()), max_count=max_count)
    state.skipped = list(joined.values())
    return _lines([one for one in state.skipped if one["image"] not in known], before=len(known), max_count=max_count)


def describe_skipped(skipped: Sequence[Mapping[str, Any]]) -> str | None:
    """Returns how many images were skipped and which; None if none were."""
    if not skipped:
        return None
    return f"{_images(len(skipped))} that could not be read skipped: {_names(skipped)}"


def _check(skipped: Sequence[Mapping[str, Any]], *, max_count: int) -> None:
    if len(skipped) > max_count:
        raise DataError(
            f"{_images(len(skipped))} cannot be read, more than train.skip_corrupt={max_count}: {_names(skipped)}; "
            f"{skipped[-1]['problem']}"
        )


def _lines(entries: Sequence[Mapping[str, Any]], *, before: int, max_count: int) -> list[str]:
    return [
        f"step {entry['step']}: skipped {entry['image']}, {number} of at most {max_count} "
        f"(train.skip_corrupt={max_count}): {entry['problem']}"
        for number, entry in enumerate(entries, start=before + 1)
    ]


def _images(count: int) -> str:
    return f"{count} image{'s' if count > 1 else ''}"


def _names(skipped: Sequence[Mapping[str, Any]]) -> str:
    more = f" and {len(skipped) - _SHOWN} more" if len(skipped) > _SHOWN else ""
    return ", ".join(str(entry["image"]) for entry in skipped[:_SHOWN]) + more
