"""Reads files of a user's own data by address: http, and cloud storage through fsspec, within a bound of bytes.

A file is kept in a folder under a name made of its address, so that checking, preparing and preparing again read it
from the network once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, urlsplit

from risctl.errors import DataError, MachineError
from risctl.files import replacing
from risctl.network.http_client import Bounds, BrokenError, RefusedError, open_url, printable
from risctl.output_files import digest, safe_stem

MAX_IMAGE_BYTES = 200_000_000
"""Bytes of a picture or a mask at most."""

_BLOCK = 2**20
_WEB = ("http", "https")
_PACKAGES = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "hf": "huggingface_hub",
    "memory": "fsspec",
}
"""The schemes that are read, by the package that fsspec needs for each. Local files have paths, not addresses."""
_EXTRAS = {"s3fs": "s3", "gcsfs": "gcs"}


def is_address(name: Any) -> bool:
    """Returns whether a name of a file is an address such as "s3://bucket/a.jpg" rather than a path."""
    return isinstance(name, str) and "://" in name[:16]


def joined(base: str, name: str) -> str:
    """Returns the address of the file `name` below the address `base`. Raises `DataError` if it leads out of it."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if ".." in parts or name.startswith("/") or not parts:
        raise DataError(f"{name!r:.80} leads out of {printable(base)}; give a path from there")
    inner = "/".join(parts)
    return f"{base.rstrip('/')}/{quote(inner) if _scheme(base) in _WEB else inner}"


def parent_of(address: str) -> str:
    """Returns the address of the folder that a file lies in."""
    return address.partition("?")[0].rpartition("/")[0]


def shown_name(address: str) -> str:
    """Returns what records call the file of an address: host or bucket, and path."""
    parts = urlsplit(address)
    return "/".join(part for part in (parts.netloc.rpartition("@")[2], parts.path.strip("/")) if part)


class AddressedFiles:
    """The files of addresses, each fetched once into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def local(self, address: str, *, max_bytes: int = MAX_IMAGE_BYTES) -> Path:
        """Returns the local copy of the file of an address, fetched if it is not there.

        Raises:
            DataError: The scheme is none of those that are read, or the file cannot be read or is too large.
            MachineError: The package of the scheme is not installed.
        """
        path = PurePosixPath(urlsplit(address).path)
        copy = self.folder / f"{digest(address, length=20)}{safe_stem(path.suffix)[:12]}"
        if not copy.is_file():
            shown = printable(address)
            with replacing(copy) as part, part.open("wb") as file:
                length = 0
                try:
                    for block in _blocks(address):
                        length += len(block)
                        if length > max_bytes:
                            raise RefusedError(f"it has more than {max_bytes:,} bytes")
                        file.write(block)
                except (RefusedError, BrokenError) as error:
                    raise DataError(f"{shown} cannot be read: {error}") from error
        return copy


def read_bytes(address: str, *, max_bytes: int = MAX_IMAGE_BYTES) -> bytes:
    """Returns the bytes of the file of an address, of which nothing is kept here.

    Raises:
        BrokenError: It cannot be read now; another try may succeed.
        DataError: There is no such file, it is too large, or the scheme is none of those that are read.
        MachineError: The package of the scheme is not installed.
    """
    blocks, length = [], 0
    try:
        for block in _blocks(address):
            length += len(block)
            if length > max_bytes:
                raise RefusedError(f"it has more than {max_bytes:,} bytes")
            blocks.append(block)
    except RefusedError as error:
        raise DataError(f"{printable(address)} cannot be read: {error}") from error
    return b"".join(blocks)


def file_system(address: str) -> tuple[Any, str]:
    """Returns the file system of fsspec that an address of cloud storage names, and the path in it.

    Raises:
        DataError: It names none.
        MachineError: The package of the scheme is not installed.
    """
    try:
        return _file_system(address)
    except (RefusedError, BrokenError) as error:
        raise DataError(f"{printable(address)} cannot be read: {error}") from error


def _blocks(address: str) -> Iterator[bytes]:
    scheme = _scheme(address)
    if scheme in _WEB:
        with open_url(address, bounds=Bounds()) as answer:
            if answer.status != 200:
                raise RefusedError(f"the server answers {answer.status} {answer.reason}".rstrip())
            yield from answer.blocks()
        return
    system, path = _file_system(address)
    try:
        with closing(system.open(path, "rb")) as file:
            while block := file.read(_BLOCK):
                yield block
    except FileNotFoundError as error:
        raise RefusedError("there is no such file") from error
    except Exception as error:  # the systems of clouds raise errors of their own
        raise BrokenError(_told(error)) from error


def _file_system(address: str) -> tuple[Any, str]:
    scheme = _scheme(address)
    if scheme not in _PACKAGES or "::" in address:
        known = ", ".join(f"{one}://" for one in (*_WEB, *_PACKAGES) if one != "memory")
        raise RefusedError(f"expected an address of {known}; a file of this machine is named by its path")
    try:
        import fsspec

        system, path = fsspec.core.url_to_fs(address)
    except ImportError as error:
        package = _PACKAGES[scheme]
        wanted = f"'risctl[{_EXTRAS[package]}]'" if package in _EXTRAS else package
        raise MachineError(f"{scheme}:// needs the package {package}: pip install {wanted}") from error
    except Exception as error:  # the systems of clouds raise errors of their own
        raise BrokenError(_told(error)) from error
    return system, path


def _scheme(address: str) -> str:
    return urlsplit(address).scheme.lower()


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {printable(' '.join(str(error).split()))}"
