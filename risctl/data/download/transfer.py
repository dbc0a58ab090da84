"""Makes one attempt at downloading the rest of a file over HTTP, and keeps the state that lets the next one resume.

The bytes go to `FILE.part`, what is known of them (address, validator, total length) to `FILE.part.json`.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from risctl import __version__
from risctl.data.free_space import require_space
from risctl.files import replacing

Progress = Callable[[int, int | None], None]
"""Called with (bytes so far, bytes in all or None)."""

_BLOCK = 1 << 20
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 522, 524})


class MirrorError(Exception):
    """This address cannot serve the file; another one may."""


class TransientError(Exception):
    """This attempt failed; the same address may serve the rest, after `wait` seconds if it says so."""

    def __init__(self, message: str, *, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


@dataclass(frozen=True, slots=True)
class PartialFile:
    """The unfinished download of the file `to`."""

    to: Path

    @property
    def path(self) -> Path:
        """Where its bytes lie."""
        return self.to.with_name(self.to.name + ".part")

    @property
    def state_path(self) -> Path:
        """Where the state of the download lies."""
        return self.to.with_name(self.to.name + ".part.json")

    def length(self) -> int:
        """Returns how many bytes there are."""
        return self.path.stat().st_size if self.path.exists() else 0

    def state(self) -> dict[str, Any]:
        """Returns the address, validator and whole length of what the bytes belong to; empty if unknown."""
        return load_json(self.state_path)

    def forget(self) -> None:
        """Removes the bytes and their state."""
        self.path.unlink(missing_ok=True)
        self.state_path.unlink(missing_ok=True)


def attempt(
    url: str, partial: PartialFile, *, size: int | None, sha256: str | None, timeout: float, progress: Progress | None
) -> None:
    """Downloads the rest of `partial` from `url`, resuming if its bytes are of this very file.

    Args:
        url: The address.
        partial: The unfinished download.
        size: The file's length in bytes, if known.
        sha256: The file's SHA-256, if known.
        timeout: Seconds to wait for a byte.
        progress: Called with (bytes so far, bytes in all or None).

    Raises:
        TransientError: The same address may serve the rest later.
        MirrorError: This address cannot serve the file.
        MachineError: The disk is too small.
        OSError: The file cannot be written.
    """
    state = partial.state()
    # Without a validator, nothing but the sha256 would tell that the file has changed between two requests.
    start = partial.length() if state.get("url") == url and (state.get("validator") or sha256) else 0
    headers = {"User-Agent": f"risctl/{__version__}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if state.get("validator"):
            headers["If-Range"] = state["validator"]
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416:
                _beyond_end(error, partial, start=start)
                return
            message = f"HTTP {error.code} {error.reason}".rstrip()
            if error.code in _RETRIED:
                raise TransientError(message, wait=_retry_after(error)) from error
            raise MirrorError(message) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise TransientError(_reason(error)) from error
    with response:
        start, total = _begin(response, url=url, partial=partial, start=start)
        if size is not None and total is not None and total != size:
            raise MirrorError(f"it offers {total:,} bytes, expected {size:,}")
        require_space(partial.to.parent, (total or 0) - start, what=f"the rest of {partial.to}")
        _receive(response, partial.path, start=start, end=total if total is not None else size, progress=progress)


def _begin(response: Any, *, url: str, partial: PartialFile, start: int) -> tuple[int, int | None]:
    """Returns where the body begins and the file's length, if known, and records what the bytes belong to."""
    total = _length(response)
    if response.status == 206:
        first, total = _content_range(response)
        before = partial.state().get("total")
        if first != start or (before is not None and total is not None and before != total):
            partial.forget()
            raise TransientError("it answered with another piece of the file than was asked for")
    elif response.status == 200:
        start = 0
    else:
        raise MirrorError(f"HTTP {response.status} without a file")
    validator = response.headers.get("ETag") or ""
    # A weak tag is no promise that the bytes are the same.
    if not validator or validator.startswith("W/"):
        validator = response.headers.get("Last-Modified") or ""
    with replacing(partial.state_path) as beside:
        beside.write_text(json.dumps({"url": url, "validator": validator, "total": total}))
    return start, total


def _receive(response: Any, path: Path, *, start: int, end: int | None, progress: Progress | None) -> None:
    """Writes the body from `start` on. Raises `TransientError` if it stops before `end`, `MirrorError` beyond."""
    with path.open("rb+" if path.exists() else "wb") as handle:
        handle.truncate(start)
        handle.seek(start)
        length = start
        try:
            for block in _blocks(response):
                length += len(block)
                if end is not None and length > end:
                    raise MirrorError(f"it sent more than the {end:,} bytes expected")
                handle.write(block)
                if progress:
                    progress(length, end)
        finally:
            handle.flush()
            os.fsync(handle.fileno())
    if end is not None and length < end:
        raise TransientError(f"the connection ended after {length:,} of {end:,} bytes")


def _blocks(response: Any) -> Iterator[bytes]:
    while True:
        try:
            # read1 gives what has come: a slow connection shows progress, and what came before a break is kept.
            block = response.read1(_BLOCK)
        except http.client.IncompleteRead as error:
            yield error.partial
            raise TransientError("the connection ended early") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise TransientError(_reason(error)) from error
        if not block:
            return
        yield block


def _beyond_end(error: urllib.error.HTTPError, partial: PartialFile, *, start: int) -> None:
    """Treats "range not satisfiable": the part is whole already, or it belongs to another file."""
    match = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
    if match and int(match[1]) == start and start > 0:
        return
    partial.forget()
    raise TransientError("it has not the rest of the file")


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
