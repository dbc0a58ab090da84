"""Reads predictions from a folder or a zip of PNG files, one mask a file, named after the expression."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from risctl.errors import DataError
from risctl.evaluation.scoring.source import (
    BrokenEntry,
    Entry,
    FoundMask,
    UnreadableMaskError,
    check_size,
    named_entry,
)

MAX_PNG_BYTES = 2**26
"""Bytes of a PNG at most: more than a mask of a hundred megapixels takes."""
_SINGLE = ("1", "L", "P", "I;16", "I")


class PngSource:
    """A folder or zip of masks: `SENTID.png`, or `REFID_INDEX.png` with the place of the sentence in its ref, from 0.

    A pixel belongs to the mask if its value is not 0; palette files count by index.
    """

    def __init__(self, path: Path) -> None:
        """Opens a folder or a zip. Raises `DataError` if it cannot be read, or holds no PNG file."""
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        self._sizes: dict[str, int] = {}
        if path.is_dir():
            self._names = sorted(file.name for file in path.iterdir() if file.suffix.lower() == ".png")
            self.kind = "a folder of PNG files"
        else:
            self._names = self._open_zip()
            self.kind = "a zip of PNG files"
        if not self._names:
            raise DataError(f"{path} holds no PNG file; masks are called SENTID.png or REFID_INDEX.png")

    def _open_zip(self) -> list[str]:
        try:
            self._zip = zipfile.ZipFile(self.path)
        except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
            raise DataError(f"{self.path} cannot be read as a zip: {error}") from error
        members = [one for one in self._zip.infolist() if one.filename.lower().endswith(".png")]
        self._sizes = {one.filename: one.file_size for one in members}
        if len(self._sizes) < len(members):
            raise DataError(f"{self.path} holds a file of the same name twice")
        return sorted(self._sizes)

    def entries(self) -> Iterator[Entry | BrokenEntry]:
        """Yields all files in order of their names; see `PredictionSource.entries`."""
        for name in self._names:
            entry = named_entry(PurePosixPath(name).stem, name)
            yield entry or BrokenEntry(where=name, problem="expected the name SENTID.png or REFID_INDEX.png")

    def mask(self, position: str, *, height: int, width: int) -> FoundMask:
        """Returns the mask of a file; see `PredictionSource.mask`."""
        return read_png(self._bytes(position), height=height, width=width)

    def _bytes(self, name: str) -> bytes:
        try:
            if self._zip is None:
                path = self.path / name
                if path.stat().st_size > MAX_PNG_BYTES:
                    raise UnreadableMaskError(f"it is larger than {MAX_PNG_BYTES:,} bytes")
                return path.read_bytes()
            if self._sizes[name] > MAX_PNG_BYTES:
                raise UnreadableMaskError(f"it is larger than {MAX_PNG_BYTES:,} bytes")
            return self._zip.read(name)
        except OSError as error:
            raise UnreadableMaskError(str(error.strerror or error)) from error
        except UnreadableMaskError:
            raise
        except Exception as error:  # on damaged bytes zipfile raises nearly anything
            raise UnreadableMaskError(f"it cannot be unpacked ({error})") from error

    def where(self, position: str) -> str:
        """Returns the name of the file."""
        return position

    def close(self) -> None:
        """Closes the zip."""
        if self._zip is not None:
            self._zip.close()


def read_png(data: bytes, *, height: int, width: int) -> np.ndarray:
    """Returns the mask of a PNG file, bool (H, W), set where the value, or the index of a palette, is not 0.

    Args:
        data: The file.
        height: Height in pixels of the image that it is of.
        width: Its width.

    Raises:
        UnreadableMaskError: It is no PNG, has several channels, is far larger than its image, or is damaged.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.mode not in _SINGLE:
                raise UnreadableMaskError(f"expected one channel (or a palette), got a PNG of mode {image.mode}")
            check_size((image.height, image.width), height=height, width=width)
            return np.asarray(image) != 0
    except UnreadableMaskError:
        raise
    except Exception as error:  # on damaged bytes Pillow raises nearly anything
        raise UnreadableMaskError(f"it cannot be read as a PNG ({error})") from error
