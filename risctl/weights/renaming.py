"""Gives the tensors of a published checkpoint our names, and says all that does not fit at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from torch import Tensor

from risctl.errors import CheckpointError


def renamed_state(
    published: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    *,
    rename: Callable[[str], str | None],
    source: Path,
    ignored: re.Pattern[str] | None = None,
    reshape: Callable[[str, Tensor], Tensor] | None = None,
    kept: tuple[str, ...] = (),
) -> dict[str, Tensor]:
    """Returns the published tensors by our names.

    Args:
        published: The tensors of a published checkpoint.
        expected: The state of the model that they are for.
        rename: Returns our name of a published one, None if it has none.
        source: The checkpoint's file, for messages.
        ignored: What the names of tensors match that are left out.
        reshape: Returns the value of a tensor, by our name, in our layout.
        kept: Prefixes of our names whose tensors stay as `expected` has them. The norms' counters always do.

    Raises:
        CheckpointError: Tensors are unknown or of another shape (listed by their published names), or missing (listed
            by ours).
    """
    state: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    unknown = []
    for name, value in published.items():
        if ignored is not None and ignored.match(name):
            continue
        ours = rename(name)
        if ours is None or ours not in expected:
            unknown.append(name)
            continue
        state[ours], origin[ours] = value if reshape is None else reshape(ours, value), name
    for name, value in expected.items():
        if name.endswith("num_batches_tracked") or (kept and name.startswith(kept)):
            state[name] = value
    missing = [name for name in expected if name not in state]
    shapes = [
        f"{origin.get(name, name)} {tuple(value.shape)} instead of {tuple(expected[name].shape)}"
        for name, value in state.items()
        if value.shape != expected[name].shape
    ]
    if missing or unknown or shapes:
        kinds = (("missing", missing), ("unknown", unknown), ("of another shape", shapes))
        listed = "; ".join(f"{len(names)} {kind}: {', '.join(names)}" for kind, names in kinds if names)
        raise CheckpointError(f"{source} is of another model: {listed}")
    return state


def count_numbered(names: Iterable[str], pattern: str) -> int:
    """Returns how many numbered parts a checkpoint has: one more than the highest number that `pattern` captures.

    Args:
        names: The names of its tensors.
        pattern: Matches the beginning of a name; its first group is the number.
    """
    matches = [re.match(pattern, name) for name in names]
    return max((int(match[1]) for match in matches if match), default=-1) + 1
