"""One attempt at fetching the rest of a file over HTTP, and the state that lets the next one go on from there.

The bytes go to `FILE.part`, what is known of them (address, validator, whole length) to `FILE.part.json`.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from risctl import __version__
from risctl.errors import MachineError
from risctl.files import replacing

Progress = Callable[[int, int | None], None]
"""Called with (bytes so far, bytes in all or None)."""

_BLOCK = 1 << 20
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 522, 524})


class GiveUpError(Exception):
    """This address cannot serve the file; another one may."""


class AgainError(Exception):
    """This attempt failed; the same address may serve the rest, after `wait` seconds if it says so."""

    def __init__(self, message: str, *, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Part:
    """The unfinished download of the file `to`."""

    to: Path

    @property
    def path(self) -> Path:
        """Where its bytes lie."""
        return self.to.with_name(self.to.name + ".part")

    @property
    def state_path(self) -> Path:
        """Where it lies what they belong to."""
        return self.to.with_name(self.to.name + ".part.json")

    def length(self) -> int:
        """Returns how many bytes there are."""
        return self.path.stat().st_size if self.path.exists() else 0

    def state(self) -> dict[str, Any]:
        """Returns the address, validator and whole length of what the bytes belong to; empty if unknown."""
        return load_json(self.state_path)

    def forget(self) -> None:
        """Removes it all."""
        self.path.unlink(missing_ok=True)
        self.state_path.unlink(missing_ok=True)


def attempt(
    url: str, part: Part, *, size: int | None, sha256: str | None, silence: float, progress: Progress | None
) -> None:
    """Brings `part` to its whole length from `url`, going on from what is there if it is of this very file.

    `size` and `sha256` are what is known of the file, `silence` the seconds to wait for a byte. Raises `AgainError` or
    `GiveUpError`, `MachineError` if the disk is too small, `OSError` if it cannot be written.
    """
    state = part.state()
    # Without a validator, nothing but the sha256 would tell that the file has changed between two requests.
    start = part.length() if state.get("url") == url and (state.get("validator") or sha256) else 0
    headers = {"User-Agent": f"risctl/{__version__}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if state.get("validator"):
            headers["If-Range"] = state["validator"]
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=silence)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416:
                _beyond_end(error, part, start=start)
                return
            message = f"HTTP {error.code} {error.reason}".rstrip()
            if error.code in _RETRIED:
                raise AgainError(message, wait=_retry_after(error)) from error
            raise GiveUpError(message) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise AgainError(_reason(error)) from error
    with response:
        start, total = _begin(response, url=url, part=part, start=start)
        if size is not None and total is not None and total != size:
            raise GiveUpError(f"it offers {total:,} bytes, expected {size:,}")
        _check_space((total or 0) - start, part)
        _receive(response, part.path, start=start, end=total if total is not None else size, progress=progress)


def _begin(response: Any, *, url: str, part: Part, start: int) -> tuple[int, int | None]:
    """Returns where the body begins and the whole file's length, if told; remember what the bytes belong to."""
    total = _length(response)
    if response.status == 206:
        first, total = _content_range(response)
        before = part.state().get("total")
        if first != start or (before is not None and total is not None and before != total):
            part.forget()
            raise AgainError("it answered with another piece of the file than was asked for")
    elif response.status == 200:
        start = 0
    else:
        raise GiveUpError(f"HTTP {response.status} without a file")
    validator = response.headers.get("ETag") or ""
    # A weak tag is no promise that the bytes are the same.
    if not validator or validator.startswith("W/"):
        validator = response.headers.get("Last-Modified") or ""
    with replacing(part.state_path) as beside:
        beside.write_text(json.dumps({"url": url, "validator": validator, "total": total}))
    return start, total


def _receive(response: Any, path: Path, *, start: int, end: int | None, progress: Progress | None) -> None:
    """Writes the body to `path` from `start` on. Raises `AgainError` if it stops before `end`, `GiveUpError` beyond."""
    with path.open("rb+" if path.exists() else "wb") as handle:
        handle.truncate(start)
        handle.seek(start)
        length = start
        try:
            for block in _blocks(response):
                length += len(block)
                if end is not None and length > end:
                    raise GiveUpError(f"it sent more than the {end:,} bytes expected")
                handle.write(block)
                if progress:
                    progress(length, end)
        finally:
            handle.flush()
            os.fsync(handle.fileno())
    if end is not None and length < end:
        raise AgainError(f"the connection ended after {length:,} of {end:,} bytes")


def _blocks(response: Any) -> Iterator[bytes]:
    while True:
        try:
            # read1 gives what has come: a slow connection shows progress, and what came before a break is kept.
            block = response.read1(_BLOCK)
        except http.client.IncompleteRead as error:
            yield error.partial
            raise AgainError("the connection ended early") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise AgainError(_reason(error)) from error
        if not block:
            return
        yield block


def _beyond_end(error: urllib.error.HTTPError, part: Part, *, start: int) -> None:
    """Treats "range not satisfiable": the part is whole already, or it belongs to another file."""
    match = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
    if match and int(match[1]) == start and start > 0:
        return
    part.forget()
    raise AgainError("it has not the rest of the file")


def _check_space(needed: int, part: Part) -> None:
    free = shutil.disk_usage(part.to.parent).free
    if needed > free:
        raise MachineError(
            f"{part.to} needs {needed / 1e9:.1f} GB more and {part.to.parent} has {free / 1e9:.1f} GB free"
        )


def _length(response: Any) -> int | None:
    value = response.headers.get("Content-Length", "")
    return int(value) if value.isdecimal() else None


def _content_range(response: Any) -> tuple[int, int | None]:
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    if not match:
        return -1, None
    return int(match[1]), None if match[2] == "*" else int(match[2])


def _retry_after(error: urllib.error.HTTPError) -> float | None:
    value = error.headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else None


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return str(reason) or type(error).__name__


def load_json(path: Path) -> dict[str, Any]:
    """Returns the JSON object in the file `path`; empty if there is none."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
