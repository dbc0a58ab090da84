"""Reads numpy's `.npz` archives of numbers; what they unpack to is bounded by their size."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path

import numpy as np

from risctl.errors import CheckpointError
from risctl.weights.budget import Budget, check_regular

_HEADER = 4096
"""Bytes within which an array's header ends: it names a type and a shape."""


def read_npz(path: Path, *, what: str, kinds: str = "fiu") -> dict[str, np.ndarray]:
    """Returns the arrays of an archive by name.

    Args:
        path: The file.
        what: What it is to be, with its article, for messages.
        kinds: The kinds of numbers that are read, by numpy's letters.

    Raises:
        CheckpointError: The file is missing or damaged, holds anything but numbers, or more than its size allows.
    """
    check_regular(path, what=what)
    budget = Budget(path)
    arrays: dict[str, np.ndarray] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if not member.filename.endswith(".npy"):
                    raise ValueError(f"{member.filename!r} in it is no array")
                budget.spend(member.file_size)
                data = archive.read(member)
                arrays[member.filename.removesuffix(".npy")] = _array(data, member.filename, kinds)
    except CheckpointError:
        raise
    except Exception as error:  # on damaged bytes zipfile raises nearly anything
        raise CheckpointError(f"{path} cannot be read as {what}: {str(error) or type(error).__name__}") from None
    return arrays


def _array(data: bytes, name: str, kinds: str) -> np.ndarray:
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read(file, max_header_size=_HEADER)
    if dtype.kind not in kinds:
        raise ValueError(f"{name} holds no numbers, but {dtype}")
    start = file.tell()
    if math.prod(shape) * dtype.itemsize != len(data) - start:
        raise ValueError(f"{name} has {len(data) - start:,} bytes of numbers, which its shape {shape} does not fit")
    flat = np.frombuffer(data, dtype=dtype, offset=start)
    return flat.reshape(shape, order="F" if by_columns else "C")
