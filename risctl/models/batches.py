"""Runs a network over several images at once where its processor gives them one size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def encoded_images(encoder: Any, images: Sequence[np.ndarray]) -> list[Any]:
    """Returns what `encoder.encode` makes of each RGB image, together where the encoder takes several at once."""
    together = getattr(encoder, "encode_images", None)
    return [encoder.encode(pixels) for pixels in images] if together is None else list(together(images))


def batched(inputs: Sequence[Mapping[str, Tensor]], run: Callable[[dict[str, Tensor]], Mapping[str, Any]]) -> list[Any]:
    """Runs a network on the inputs of several images, those of one size together.

    Args:
        inputs: The tensors of each image, (1, ...) each.
        run: Takes tensors (B, ...) by name and returns tensors (B, ...) by name, or tuples of such.

    Returns:
        What `run` would have returned for each image alone.
    """
    groups: dict[tuple[Any, ...], list[int]] = {}
    for row, one in enumerate(inputs):
        groups.setdefault(tuple((name, tuple(value.shape)) for name, value in one.items()), []).append(row)
    found: dict[int, dict[str, Any]] = {}
    for rows in groups.values():
        output = run({name: torch.cat([inputs[row][name] for row in rows]) for name in inputs[rows[0]]})
        for place, row in enumerate(rows):
            found[row] = {name: _row(value, place, count=len(rows)) for name, value in output.items()}
    return [found[row] for row in range(len(inputs))]


def _row(value: Any, place: int, *, count: int) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_row(one, place, count=count) for one in value)
    # What is the same for all images, such as the encoding of positions, may come once.
    return value[place : place + 1] if isinstance(value, Tensor) and value.shape[0] == count else value
