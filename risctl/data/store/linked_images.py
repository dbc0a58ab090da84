"""Opens the image files that a linked store names: regular files below folders that the user named, and no other.

A linked store holds paths, and it may come from a stranger. So a path is followed only where its file, symbolic links
resolved, lies below a root: the store's own folder, a folder of `$RISCTL_IMAGE_ROOTS`, a folder given to `Store`, or
one that an earlier `risctl prepare --link` of this user linked to. The last are kept, one a line, in `image_roots` in
the user's configuration folder, where they can be read and removed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from risctl.errors import DataError, RisctlError
from risctl.files import replacing

VARIABLE = "RISCTL_IMAGE_ROOTS"
_MOST_FOLDERS = 8  # images of more folders are remembered by the folder that holds them all
_NAMED = 3  # roots that a message names


class UnnamedFolderError(DataError):
    """A linked store names a file outside of all folders that were named."""


def remembered_file() -> Path:
    """Returns the file of the folders that were linked to: `risctl/image_roots` in the user's configuration folder."""
    folder = os.environ.get("XDG_CONFIG_HOME")
    return Path(folder or os.path.join(os.path.expanduser("~"), ".config")) / "risctl" / "image_roots"  # noqa: PTH111, PTH118


def roots_of(store: Path, *, named: Iterable[Path | str] = ()) -> tuple[str, ...]:
    """Returns the folders, symbolic links resolved, whose images a linked store may read.

    Args:
        store: The store.
        named: Further folders.
    """
    listed = [folder for folder in os.environ.get(VARIABLE, "").split(os.pathsep) if folder]
    own = {store.absolute().parent, Path(os.path.realpath(store)).parent}
    folders = [*sorted(map(str, own)), *map(str, named), *listed, *_remembered()]
    return tuple(dict.fromkeys(os.path.realpath(os.path.expanduser(folder)) for folder in folders))  # noqa: PTH111


def remember(images: Iterable[Path]) -> bool:
    """Remembers the folders of `images`, which a store of this user links to; returns whether that was possible."""
    known = _remembered()
    new = [folder for folder in _folders(images) if not _lies_below(folder, known)]
    try:
        if new:
            with replacing(remembered_file()) as part:
                lines = "".join(f"{folder}\n" for folder in [*known, *new])
                part.write_text(lines, encoding="utf-8", errors="surrogateescape")
    except (RisctlError, OSError):
        return False
    return True


def check_linkable(image: Path, *, roots: Sequence[str]) -> None:
    """Raises `DataError` if the file `image` is a symbolic link out of its folder, and out of all `roots`."""
    real = os.path.realpath(image)
    if not _lies_below(real, [os.path.realpath(image.parent), *roots]):
        raise DataError(
            f"{image} is a symbolic link out of its folder, to {real}; a store links to files below folders that are "
            f"named: set {VARIABLE} to that folder, or prepare the store without --link"
        )


def read(link: str, *, length: int, roots: Sequence[str], store: Path) -> bytes:
    """Returns the content of an image file.

    Args:
        link: The path in the store.
        length: Its length in bytes.
        roots: Folders below which it must lie.
        store: The store, for messages.

    Raises:
        UnnamedFolderError: It lies elsewhere.
        DataError: It is missing, is no regular file, or has another length.
    """
    try:
        real = os.path.realpath(link, strict=True)
        if not os.path.isabs(link):  # noqa: PTH117 (a Path is made of what is known to be one)
            raise DataError(f"{store} links to {link}, which is no absolute path; prepare the store again")
        if not _lies_below(real, roots):
            shown = ", ".join(roots[:_NAMED]) + (", …" if len(roots) > _NAMED else "")
            raise UnnamedFolderError(
                f"{store} links to {real}, which is in none of the folders that it may read ({shown}); if you trust "
                f"this store, name the folder of its pictures: {VARIABLE}={os.path.dirname(real)}"  # noqa: PTH120
            )
        # Without waiting for the other end of a pipe, and without touching a device.
        if not stat.S_ISREG(os.stat(real).st_mode):  # noqa: PTH116
            raise DataError(f"{store} links to {link}, which is no regular file; prepare the store again")
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        with open(os.open(real, flags), "rb") as file:  # noqa: PTH123
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size != length:
                raise DataError(f"{link}, to which {store} links, has changed; prepare the store again")
            return file.read(length)
    except (OSError, ValueError) as error:  # ValueError: a zero byte, or characters that no file name has
        reason = error.strerror if isinstance(error, OSError) else None
        raise DataError(
            f"{store} links to {link}, which cannot be read ({reason or error}); "
            f"prepare the store again, or without --link"
        ) from error


def _folders(images: Iterable[Path]) -> list[str]:
    """Returns the few folders that hold `images`; a file that is a symbolic link counts where the link lies."""
    parents = dict.fromkeys(image.absolute().parent for image in images)
    found = list(dict.fromkeys(os.path.realpath(folder) for folder in parents))
    if len(found) > _MOST_FOLDERS:
        common = os.path.commonpath(found)
        # A home or a whole disk is no folder of images.
        if not _lies_below(os.path.realpath(os.path.expanduser("~")), [common]):  # noqa: PTH111
            return [common]
    return [folder for folder in found if "\n" not in folder]


def _remembered() -> list[str]:
    try:
        lines = remembered_file().read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []
    return [line for line in lines if os.path.isabs(line)]  # noqa: PTH117


def _lies_below(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(os.path.join(folder, "")) for folder in folders)  # noqa: PTH118
