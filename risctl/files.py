"""Writes files atomically: a kill at any moment leaves the old file or none.

A file is written next to its destination under a name that identifies the writer, synced, and renamed. Remains of a
killed writer are removed by the next one.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from risctl.errors import DataError, MachineError

# A writer that has not touched its file for this long counts as dead; on this machine its process id is checked.
STALE_SECONDS = 24 * 3600.0

_PART = ".part"
_MANY = 1000  # files of a folder from which on its listing is kept
_FOLDERS = 64  # whose listings are kept
_listed: dict[str, tuple[int, list[str]]] = {}
"""By folder: for how many calls its listing holds, and the unfinished files in it."""

# In bytes. File systems stop at 255, of which the temporary name needs its part for the writer.
_LONGEST_NAME = 120


@contextlib.contextmanager
def replacing(path: Path, *, keep_existing: bool = False, old: Path | None = None) -> Iterator[Path]:
    """Yields a temporary path to write to; on leaving, it is synced and renamed to `path`.

    If the block raises, the temporary file is removed and `path` is unchanged. Of two writers of one path the last to
    finish wins. A symlink at `path` is replaced, not followed. Files that a user asks for are written through
    `output_files.OutputFiles`, which calls this.

    Args:
        path: The file to write.
        keep_existing: Whether a file that is at `path` at the end, by whomever it was written, is kept: an error.
        old: What the old file is called afterwards, if there is one; a file of that name is replaced.

    Raises:
        MachineError: The disk is full.
        DataError: The folder cannot be written, or a file is to be kept.
    """
    path = path.absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot create the folder {path.parent}: {error.strerror or error}") from error
    if path.is_dir():
        raise DataError(f"{path} is a folder; name a file to write")
    remove_stale(path)
    part = _beside(path)
    try:
        mode = _usual_mode(part)
        yield part
        # Some writers (safetensors) keep their files from everybody else; shared run folders would be unreadable.
        part.chmod(mode)
        with part.open("rb+") as handle:
            os.fsync(handle.fileno())
        if old is not None and path.is_file():
            _keep_as(path, old.absolute(), beside=_beside(path))
        if keep_existing:
            _rename_to_new(part, path)
        else:
            part.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise as_error(error, path) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yields an empty folder beside `path` that takes its place after the block, whole or not at all.

    Args:
        path: The folder to make.
        replace: Whether a folder that is there goes; otherwise one that is not empty is an error.

    Raises:
        DataError: As `as_error` says.
        MachineError: As `as_error` says.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise as_error(error, path) from error
    try:
        yield made
        made.chmod(0o755)
        if replace and path.exists():
            shutil.rmtree(path)
        made.rename(path)
    except OSError as error:
        raise as_error(error, path) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


def cache_folder() -> Path:
    """Returns the folder of converted files: `$RISCTL_CACHE`, else `risctl` in the user's cache folder."""
    named = os.environ.get("RISCTL_CACHE")
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "risctl"


def link_or_copy(source: Path, path: Path) -> None:
    """Makes `path` another name of the file `source`, or a copy where the file system has no second names.

    Args:
        source: A file.
        path: Its other name; a file of that name is replaced.

    Raises:
        OSError: Neither is possible.
    """
    path.unlink(missing_ok=True)
    try:
        path.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, path)


def _rename_to_new(part: Path, path: Path) -> None:
    """Renames `part` to `path`. Raises `DataError` if something is there by now."""
    try:
        os.link(part, path)
        return
    except OSError as error:
        if os.path.lexists(path):
            raise DataError(
                f"{path} was written by another program meanwhile and is kept; name another file"
            ) from error
    part.replace(path)  # a file system without hard links


def _prefix(path: Path) -> str:
    """Returns how the temporary files of `path` begin; a long name is shortened, so that they fit the file system."""
    name = path.name
    encoded = os.fsencode(name)
    if len(encoded) > _LONGEST_NAME:
        name = f"{name[: _LONGEST_NAME // 4]}-{hashlib.sha256(encoded).hexdigest()[:16]}"
    return f".{name}."


def _beside(path: Path) -> Path:
    return path.with_name(f"{_prefix(path)}{_host()}-{os.getpid()}-{secrets.token_hex(4)}.part")


def _keep_as(path: Path, old: Path, *, beside: Path) -> None:
    """Gives a file a second name, so that a kill finds it under the first until that is taken by another."""
    try:
        os.link(path, beside)
        beside.replace(old)
    except OSError:
        # Some file systems know no second names; a kill before `path` is written anew then finds the old one only.
        path.replace(old)
    finally:
        # A rename onto another name of the same file, which a kill may have left, does nothing.
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def _usual_mode(part: Path) -> int:
    """Returns the permissions of a new file in this folder; the umask cannot be read without setting it."""
    part.touch(exist_ok=False)
    mode = part.stat().st_mode & 0o777
    part.unlink()
    return mode


def as_error(error: OSError, path: Path) -> DataError | MachineError:
    """Returns the error to show for an `OSError` raised while writing `path`."""
    # HDF5 gives its own text and not always the number.
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or "no space left" in str(error).lower()
    if full or "file too large" in str(error).lower():
        return MachineError(f"no space left to write {path}; free some space, or write to another disk")
    return DataError(f"cannot write {path}: {error.strerror or error}")


def remove_stale(path: Path) -> list[Path]:
    """Removes the unfinished files that dead writers of `path` left next to it, and returns them."""
    removed = []
    prefix = _prefix(path)
    for name in _unfinished(path.parent):
        if not name.startswith(prefix):
            continue
        left = path.parent / name
        owner = name[len(prefix) : -len(_PART)]
        with contextlib.suppress(OSError):
            if _is_stale(left, owner):
                left.unlink()
                removed.append(left)
    return removed


def _unfinished(folder: Path) -> list[str]:
    """Returns the names of unfinished files in a folder.

    One of many files is listed again only after as many calls as it has files: a folder of results gets a file after
    the other, and to list it for each would take time that grows with the square of their number.
    """
    key = str(folder)
    known = _listed.get(key)
    if known is not None and known[0] > 0:
        _listed[key] = (known[0] - 1, known[1])
        return known[1]
    names = os.listdir(folder)  # noqa: PTH208  strings are enough
    found = [name for name in names if name.startswith(".") and name.endswith(_PART)]
    _listed.pop(key, None)
    if len(names) >= _MANY:
        if len(_listed) >= _FOLDERS:
            _listed.clear()
        _listed[key] = (len(names), found)
    return found


def is_leftover(file: Path) -> bool:
    """Returns whether `file` was left unfinished by a dead writer of any file."""
    if not (file.name.startswith(".") and file.name.endswith(".part")):
        return False
    owner = file.name.removesuffix(".part").rpartition(".")[2]
    if owner.count("-") != 2:
        return False
    return _is_stale(file, owner)


def _is_stale(file: Path, owner: str) -> bool:
    dead = _is_dead(owner)
    return time.time() - file.stat().st_mtime > STALE_SECONDS if dead is None else dead


def _is_dead(owner: str) -> bool | None:
    """Returns whether the process of a writer is gone; None if it was on another machine, so that only age tells.

    Age never decides on this machine: a clock that is set forward would make every writer an old one.
    """
    host, _, process = owner.rpartition("-")[0].rpartition("-")
    if os.name != "posix" or host != _host() or not process.isdigit():
        return None
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _host() -> str:
    return "".join(character for character in socket.gethostname() if character.isalnum())[:40] or "host"


def _sync_folder(folder: Path) -> None:
    """Makes the rename itself survive a power cut, where the system can sync a folder."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)
