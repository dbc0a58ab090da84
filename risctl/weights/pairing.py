"""Moves published arrays to our names: each is taken once, and whatever is left over or missing is an error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from risctl.errors import CheckpointError, nearest

_SHOWN = 3


class WeightReader:
    """Published arrays by name, taken one by one.

    Args:
        arrays: The arrays by their published names.
        source: The file, for messages.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], *, source: Path) -> None:
        self._left = dict(arrays)
        self._missing: list[str] = []
        self._source = source

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def take(self, name: str) -> np.ndarray:
        """Returns the array `name`; an empty one if there is none, which `finish` reports."""
        if name not in self._left:
            self._missing.append(name)
            return np.zeros((), dtype=np.float32)
        return self._left.pop(name)

    def finish(self) -> None:
        """Checks that every array was taken once.

        Raises:
            CheckpointError: An array was missing or never taken; the message has all at once.
        """
        problems = []
        if self._missing:
            close = nearest(self._missing[0], self._left)
            hint = f"; nearest to the first: {close}" if close else ""
            problems.append(f"{len(self._missing)} missing ({_some(self._missing)}{hint})")
        if self._left:
            problems.append(f"{len(self._left)} unknown ({_some(list(self._left))})")
        if problems:
            raise CheckpointError(f"{self._source} is not the model it should be: " + ", ".join(problems))


def kernel(array: np.ndarray) -> Tensor:
    """Returns a Keras convolution kernel (h, w, in, out) in torch's layout (out, in, h, w)."""
    return tensor(array.transpose(3, 2, 0, 1) if array.ndim == 4 else array)


def matrix(array: np.ndarray) -> Tensor:
    """Returns a Keras matrix (in, out) in torch's layout (out, in)."""
    return tensor(array.T)


def tensor(array: np.ndarray) -> Tensor:
    """Returns a copy of `array` as a float32 tensor."""
    return torch.from_numpy(np.array(array, dtype=np.float32, order="C"))


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
