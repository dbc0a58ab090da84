"""Unpacks untrusted tars: files and folders alone, nothing outside the folder, no more than was expected."""

from __future__ import annotations

import secrets
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from risctl.data.download.archives import MAX_BYTES, MAX_FILES, safe_name
from risctl.data.free_space import require_space
from risctl.errors import DataError
from risctl.files import as_error

Progress = Callable[[int, int], None]
"""Called with (bytes unpacked, bytes in all)."""

SUFFIXES = (".tar", ".tar.gz", ".tgz")
_BLOCK = 1 << 20


def unpack_tar(path: Path, folder: Path, *, progress: Progress | None = None) -> None:
    """Unpacks a tar aside first, and moves it into place when it is complete; files that are there are replaced.

    Args:
        path: The tar, also a gzipped one.
        folder: Where it is unpacked.
        progress: Called with (bytes unpacked, bytes in all).

    Raises:
        DataError: A name leads out of the folder, an entry is no file, it is damaged, or beyond `MAX_FILES` or
            `MAX_BYTES`. Nothing is written then.
        MachineError: The disk is too small.
    """
    aside = folder / f".unpacking-{secrets.token_hex(4)}"
    names: list[PurePosixPath] = []
    try:
        with tarfile.open(path) as archive:
            total = _checked_total(archive, path)
        folder.mkdir(parents=True, exist_ok=True)
        require_space(folder, total, what=f"unpacking {path}")
        aside.mkdir()
        done = 0
        with tarfile.open(path) as archive:
            for entry in archive:
                if not entry.isfile():
                    continue
                name = safe_name(entry.name, path)
                target = aside / name
                target.parent.mkdir(parents=True, exist_ok=True)
                packed = archive.extractfile(entry)
                if packed is None:
                    raise DataError(f"{path} holds {entry.name!r}, which cannot be read")
                with packed, target.open("xb") as handle:
                    shutil.copyfileobj(packed, handle, _BLOCK)
                names.append(name)
                done += entry.size
                if progress:
                    progress(done, total)
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (aside / name).replace(folder / name)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error!s:.100}); download it again") from error
    except FileExistsError as error:
        raise DataError(f"{path} holds a file twice ({error.filename})") from error
    except OSError as error:
        if error.errno is None:  # gzip raises such on damaged data
            raise DataError(f"{path} is damaged ({error!s:.100}); download it again") from error
        raise as_error(error, folder) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def holds_its_own_folder(path: Path, name: str) -> bool:
    """Returns whether all files of a tar lie in a folder `name`. Raises `DataError` if it is damaged."""
    try:
        with tarfile.open(path) as archive:
            return all(safe_name(entry.name, path).parts[0] == name for entry in archive if entry.isfile())
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise DataError(f"{path} is no complete tar ({error!s:.100}); download it again") from error


def _checked_total(archive: tarfile.TarFile, path: Path) -> int:
    count = total = 0
    for entry in archive:
        if not entry.isfile() and not entry.isdir():
            raise DataError(f"{path} holds {entry.name!r}, a link or device; only files are unpacked")
        if entry.isfile():
            safe_name(entry.name, path)
        count, total = count + 1, total + entry.size
        if count > MAX_FILES or total > MAX_BYTES:
            raise DataError(f"{path} holds more than {MAX_FILES:,} files or {MAX_BYTES:,} bytes")
    return total
