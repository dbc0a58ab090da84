"""Unpacks untrusted zips: nothing outside the folder, no links, no more than was expected."""

from __future__ import annotations

import secrets
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from risctl.data.free_space import require_space
from risctl.errors import DataError
from risctl.files import as_error

Progress = Callable[[int, int], None]
"""Called with (bytes unpacked, bytes in all)."""

# COCO train2014, the largest, holds 82,783 files of 13.5 GB in all.
MAX_FILES = 500_000
MAX_BYTES = 200 * 10**9

_BLOCK = 1 << 20

# LZMA's own header asks for up to 4 GB of memory, whatever the file holds.
_METHODS = {zipfile.ZIP_STORED: "stored", zipfile.ZIP_DEFLATED: "deflated", zipfile.ZIP_BZIP2: "bzip2"}

# What zipfile and the decompressors raise on damaged files, beside OSError; RuntimeError: a password is needed.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    IndexError,
    OverflowError,
)


def check_zip(path: Path) -> None:
    """Raises `DataError` unless the file `path` is a zip with its table of contents, which lies at the very end."""
    try:
        with zipfile.ZipFile(path) as archive:
            archive.infolist()
    except (*_DAMAGED, OSError) as error:
        raise DataError(f"it is not a complete zip archive ({_first_line(error)})") from error


def unpack(
    path: Path,
    folder: Path,
    *,
    max_files: int = MAX_FILES,
    max_bytes: int = MAX_BYTES,
    progress: Progress | None = None,
) -> list[Path]:
    """Unpacks a zip; all of it is unpacked aside first and moved into place when it is complete.

    Args:
        path: The zip.
        folder: Where it is unpacked.
        max_files: How many files it may hold.
        max_bytes: How large it may be unpacked.
        progress: Called with (bytes unpacked, bytes in all).

    Returns:
        The files that were written.

    Raises:
        DataError: A name leads out of the folder, an entry is a link, encrypted or damaged, or the limits are
            exceeded. Nothing is written then.
        MachineError: The disk is too small.
    """
    aside = folder / f".unpacking-{secrets.token_hex(4)}"
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _checked(archive, path, max_files=max_files, max_bytes=max_bytes)
            folder.mkdir(parents=True, exist_ok=True)
            _remove_leftovers(folder)
            total = sum(info.file_size for info in entries.values())
            require_space(folder, total, what=f"unpacking {path}")
            aside.mkdir()
            _extract(archive, entries, aside, path, progress)
        return [_move(aside / name, folder / name) for name in entries]
    except _DAMAGED as error:
        raise DataError(f"{path} is damaged ({_first_line(error)}); download it again") from error
    except OSError as error:
        raise as_error(error, folder) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _checked(
    archive: zipfile.ZipFile, path: Path, *, max_files: int, max_bytes: int
) -> dict[PurePosixPath, zipfile.ZipInfo]:
    infos = archive.infolist()
    if len(infos) > max_files:
        raise DataError(f"{path} holds {len(infos):,} files; at most {max_files:,} were expected")
    total = sum(info.file_size for info in infos)
    if total > max_bytes:
        raise DataError(f"{path} unpacks to {total:,} bytes; at most {max_bytes:,} were expected")
    entries: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for info in infos:
        name = safe_name(info.filename, path)
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DataError(f"{path} holds {info.filename!r}, a link or device; only files are unpacked")
        if info.flag_bits & 0x1:
            raise DataError(f"{path} holds {info.filename!r} encrypted")
        if info.compress_type not in _METHODS:
            raise DataError(
                f"{path} holds {info.filename!r}, packed by another method than {', '.join(_METHODS.values())}"
            )
        if info.is_dir() or name.parts[0] == "__MACOSX":
            continue
        if name in entries:
            raise DataError(f"{path} holds {info.filename!r} twice")
        entries[name] = info
    return entries


def safe_name(name: str, path: Path) -> PurePosixPath:
    """Returns the name of a file in an archive. Raises `DataError` if it leads out of the folder to unpack in."""
    windows = PureWindowsPath(name)
    parts = PurePosixPath(name).parts
    bad = not parts or name.startswith("/") or windows.drive or windows.root or ".." in windows.parts
    if bad or "\\" in name or ".." in parts or any(ord(character) < 32 for character in name):
        raise DataError(f"{path} holds {name!r}, which leads out of the folder to unpack in")
    return PurePosixPath(*parts)


def _remove_leftovers(folder: Path) -> None:
    """Removes what a killed run left; nobody else unpacks into the same folder at the same time."""
    for left in folder.glob(".unpacking-*"):
        shutil.rmtree(left, ignore_errors=True)


def _extract(
    archive: zipfile.ZipFile,
    entries: dict[PurePosixPath, zipfile.ZipInfo],
    aside: Path,
    path: Path,
    progress: Progress | None,
) -> None:
    total = sum(info.file_size for info in entries.values())
    done = 0
    for name, info in entries.items():
        target = aside / name
        target.parent.mkdir(parents=True, exist_ok=True)
        written = 0
        with archive.open(info) as packed, target.open("xb") as handle:
            while block := _read(packed):
                written += len(block)
                # The table of contents is the archive's own claim.
                if written > info.file_size:
                    raise DataError(f"{path} holds {info.filename!r}, which is longer than it says")
                handle.write(block)
        done += written
        if progress:
            progress(done, total)


def _read(packed: IO[bytes]) -> bytes:
    try:
        return packed.read(_BLOCK)
    except OSError as error:
        # bzip2 raises it on damaged data; what is raised by writing is another matter.
        raise zipfile.BadZipFile(_first_line(error)) from error


def _first_line(error: Exception) -> str:
    shown = "".join(character if character.isprintable() else "?" for character in str(error).partition("\n")[0])
    return shown[:200] or type(error).__name__


def _move(source: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    return source.replace(target)
