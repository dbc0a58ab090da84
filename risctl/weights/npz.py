"""Reads numpy's `.npz` archives of numbers; what they unpack to is bounded before it is unpacked."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

from risctl.errors import CheckpointError
from risctl.weights.budget import Budget, check_regular

_HEADER = 4096
"""Bytes within which an array's header ends: it names a type and a shape."""


Check = Callable[[str, tuple[int, ...], int], bool]
"""Called with the name, the shape and the size in bytes of an array before it is unpacked; returns whether to read it,
or raises `ValueError`."""


def read_npz(path: Path, *, what: str, kinds: str = "fiu", check: Check | None = None) -> dict[str, np.ndarray]:
    """Returns the arrays of an archive by name.

    Args:
        path: The file.
        what: What it is to be, with its article, for messages.
        kinds: The kinds of numbers that are read, by numpy's letters.
        check: Bounds the arrays in place of `Budget`, which is for weights: masks compress a thousandfold.

    Raises:
        CheckpointError: The file is missing or damaged, holds anything but numbers, or more than is allowed.
    """
    check_regular(path, what=what)
    budget = Budget(path)

    def within_budget(name: str, shape: tuple[int, ...], size: int) -> bool:
        budget.spend(size)
        return True

    wanted = check or within_budget
    arrays: dict[str, np.ndarray] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if not member.filename.endswith(".npy"):
                    raise ValueError(f"{member.filename!r} in it is no array")
                name = member.filename.removesuffix(".npy")
                with archive.open(member) as file:
                    array = _array(file, name, size=member.file_size, kinds=kinds, wanted=wanted)
                if array is not None:
                    arrays[name] = array
    except CheckpointError:
        raise
    except Exception as error:  # on damaged bytes zipfile raises nearly anything
        raise CheckpointError(f"{path} cannot be read as {what}: {str(error) or type(error).__name__}") from None
    return arrays


def _array(file: IO[bytes], name: str, *, size: int, kinds: str, wanted: Check) -> np.ndarray | None:
    """Returns the array of a member of `size` bytes, None if it is not wanted."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read(file, max_header_size=_HEADER)
    if dtype.kind not in kinds:
        raise ValueError(f"{name} holds no numbers, but {dtype}")
    size -= file.tell()
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"{name} has {size:,} bytes of numbers, which its shape {shape} does not fit")
    if not wanted(name, shape, size):
        return None
    data = file.read()
    if len(data) != size:
        raise ValueError(f"{name} ends early")
    flat = np.frombuffer(data, dtype=dtype)
    return flat.reshape(shape, order="F" if by_columns else "C")
