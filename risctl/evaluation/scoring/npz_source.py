"""Reads predictions from numpy's `.npz`: one array (H, W) an expression."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from risctl.errors import DataError
from risctl.evaluation.scoring.source import (
    BrokenEntry,
    Entry,
    FoundMask,
    UnreadableMaskError,
    check_size,
    named_entry,
)

_HEADER = 4096


class NpzSource:
    """An archive of arrays called `SENTID` or `REFID_INDEX`: bools, whole numbers (0: background), or probabilities."""

    kind = "a .npz of arrays"

    def __init__(self, path: Path) -> None:
        """Opens an archive. Raises `DataError` if it cannot be read."""
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
            raise DataError(f"{path} cannot be read as a .npz: {error}") from error
        self._sizes = {one.filename: one.file_size for one in self._zip.infolist()}
        if len(self._sizes) < len(self._zip.infolist()):
            raise DataError(f"{path} holds an array of the same name twice")

    def entries(self) -> Iterator[Entry | BrokenEntry]:
        """Yields all arrays in order; see `PredictionSource.entries`."""
        for name in self._sizes:
            entry = named_entry(name.removesuffix(".npy"), name) if name.endswith(".npy") else None
            yield entry or BrokenEntry(
                where=self.where(name), problem="expected the name SENTID or REFID_INDEX, in decimal digits"
            )

    def mask(self, position: str, *, height: int, width: int) -> FoundMask:
        """Returns an array, bool or float32 (H, W); see `PredictionSource.mask`."""
        try:
            with self._zip.open(position) as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, by_columns, dtype = read(file, max_header_size=_HEADER)
                if dtype.kind not in "biuf":
                    raise ValueError(f"it holds no numbers, but {dtype}")
                if len(shape) != 2:
                    raise ValueError(f"expected one array (H, W), got the shape {shape}")
                check_size(shape, height=height, width=width)
                # Read before it is laid out: what is there decides, not what the header says.
                if math.prod(shape) * dtype.itemsize > self._sizes[position]:
                    raise ValueError(f"it ends before its shape {shape} is filled")
                data = file.read(math.prod(shape) * dtype.itemsize + 1)
        except Exception as error:  # on damaged bytes zipfile and numpy raise nearly anything
            raise UnreadableMaskError(str(error) or type(error).__name__) from error
        if len(data) != math.prod(shape) * dtype.itemsize:
            raise UnreadableMaskError(f"its shape {shape} does not fit its bytes of numbers")
        array = np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if by_columns else "C")
        if dtype.kind != "f":
            return array != 0
        if not np.isfinite(array).all() or array.min(initial=0) < 0 or array.max(initial=0) > 1:
            raise UnreadableMaskError("its numbers are no probabilities from 0 to 1")
        return array.astype(np.float32)

    def where(self, position: str) -> str:
        """Returns the name of the array."""
        return position.removesuffix(".npy")

    def close(self) -> None:
        """Closes the archive."""
        self._zip.close()
