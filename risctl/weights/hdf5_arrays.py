"""Reads numbers of HDF5 files: nothing outside the file, and no more than its size allows.

An HDF5 file can describe terabytes in a few hundred bytes (datasets never written, compressed or repeated chunks), and
can name other files (external links, external or virtual datasets). Keras writes plain datasets.
"""

from __future__ import annotations

import math
import mmap
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from risctl.errors import CheckpointError
from risctl.weights.budget import Budget, check_regular

_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32"}
_TEXT_BLOCK = b"GCOL\x01\x00\x00\x00"
_LARGEST_CHUNK = 2**32


class HDF5Arrays:
    """An open HDF5 file of numbers."""

    def __init__(self, file: h5py.File, path: Path) -> None:
        """Wraps an open file; `opened` is how to get one."""
        self.root = file
        self._path = path
        self._budget = Budget(path)
        self._longest_text: int | None = None

    def find(self, group: h5py.Group, name: str) -> Any:
        """Returns what lies at `name` below `group`, through no link to elsewhere. Raises `KeyError` without one."""
        found: Any = group
        for part in name.split("/"):
            if not part:
                continue
            if not isinstance(found, h5py.Group) or found.get(part, getlink=True) is None:
                raise KeyError(f"there is no {name!r} in {group.name}")
            if not isinstance(found.get(part, getlink=True), h5py.HardLink):
                raise ValueError(f"{name!r} in {group.name} is a link; weights lie in the file itself")
            found = found[part]
        return found

    def numbers(self, dataset: Any, *, dtype: type[np.generic] | None = None) -> np.ndarray:
        """Returns the numbers of a dataset, as `dtype` if one is given.

        Raises:
            ValueError: It is no dataset of numbers, or stored in another way than Keras and numpy's users store them.
            CheckpointError: The datasets read are larger than the file can hold.
        """
        if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "fiu" or dataset.shape is None:
            raise ValueError(f"{getattr(dataset, 'name', dataset)} holds no numbers")
        if dataset.is_virtual or dataset.external:
            raise ValueError(f"the numbers of {dataset.name} lie in other files")
        wanted = np.dtype(dtype or dataset.dtype)
        self._budget.spend(math.prod(dataset.shape) * max(dataset.dtype.itemsize, wanted.itemsize))
        if dataset.chunks is not None:
            self._check_chunks(dataset)
        return np.asarray(dataset[()], dtype=wanted)

    def names(self, group: h5py.Group, key: str) -> list[str] | None:
        """Returns the list of names in the attribute `key`, None if there is none.

        Raises:
            ValueError: It is no list of names.
            CheckpointError: It is larger than the file can hold.
        """
        if key not in group.attrs:
            return None
        attribute = group.attrs.get_id(key)
        text = h5py.check_string_dtype(attribute.dtype)
        if attribute.shape == (0,):
            return []
        if len(attribute.shape or ()) != 1 or (text is None and attribute.dtype.kind != "S"):
            raise ValueError(f"the attribute {key!r} of {group.name} is no list of names")
        fixed = text is None or text.length is not None
        if not fixed and self._longest_text is None:
            self._longest_text = _longest_text(self._path)
        longest = attribute.dtype.itemsize if fixed else self._longest_text or 0
        if attribute.shape[0] * longest > self._budget.limit:
            raise ValueError(f"the names in the attribute {key!r} of {group.name} are too long")
        names = group.attrs[key]
        return [name.decode() if isinstance(name, bytes) else str(name) for name in names]

    def _check_chunks(self, dataset: h5py.Dataset) -> None:
        """Refuses chunks that would unpack to more than their size: the library would do it."""
        chunk = math.prod(dataset.chunks) * dataset.dtype.itemsize
        if chunk > min(_LARGEST_CHUNK, self._budget.limit):
            raise ValueError(f"{dataset.name} is stored in chunks of {chunk:,} bytes")
        plan = dataset.id.get_create_plist()
        filters = [plan.get_filter(number)[0] for number in range(plan.get_nfilters())]
        other = [str(number) for number in filters if number not in _FILTERS]
        if other or filters.count(1) > 1:
            raise ValueError(f"{dataset.name} is stored with a filter that is not read ({', '.join(other) or 'gzip'})")
        if 1 not in filters:
            return
        chunks: list[Any] = []
        # The callback stops the iteration by returning anything but None.
        dataset.id.chunk_iter(chunks.append)
        packed = [(one.byte_offset, one.size) for one in chunks if not one.filter_mask >> filters.index(1) & 1]
        with self._path.open("rb") as file:
            for place, size in packed:
                file.seek(place)
                unpacker = zlib.decompressobj()
                unpacker.decompress(file.read(size), chunk + 4)
                if unpacker.unconsumed_tail:
                    raise ValueError(f"a chunk of {dataset.name} unpacks to more than its {chunk:,} bytes")


def _longest_text(path: Path) -> int:
    """Returns how long a text of variable length can be: such texts lie in blocks, and many may name one block."""
    longest, place = 0, 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        while (place := data.find(_TEXT_BLOCK, place)) >= 0:
            size = int.from_bytes(data[place + 8 : place + 16], "little")
            longest = max(longest, min(size, len(data)))
            place += len(_TEXT_BLOCK)
    return longest


@contextmanager
def opened(path: Path, *, what: str) -> Iterator[HDF5Arrays]:
    """Opens a file of numbers.

    Args:
        path: The file.
        what: What it is to be, for messages.

    Raises:
        CheckpointError: The file is missing or damaged, or the block asks for something that is not in it.
    """
    check_regular(path, what=what)
    try:
        with h5py.File(path, "r") as file:
            yield HDF5Arrays(file, path)
    except CheckpointError:
        raise
    except Exception as error:  # on damaged bytes h5py raises nearly anything
        raise CheckpointError(f"{path} cannot be read as {what}: {str(error) or type(error).__name__}") from None
