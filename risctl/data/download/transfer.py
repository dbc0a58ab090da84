"""Makes one attempt at downloading the rest of a file over HTTP, and keeps the state that lets the next one resume.

The bytes go to `FILE.part`, what is known of them (address, validator, total length) to `FILE.part.json`.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from risctl.data.free_space import require_space
from risctl.errors import DataError
from risctl.files import replacing
from risctl.network.http_client import Answer, Bounds, BrokenError, RefusedError, number, open_url, printable

Progress = Callable[[int, int | None], None]
"""Called with (bytes so far, bytes in all or None)."""

_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 522, 524})


class MirrorError(Exception):
    """This address cannot serve the file; another one may."""


class TransientError(Exception):
    """This attempt failed; the same address may serve the rest, after `wait` seconds if it says so."""

    def __init__(self, message: str, *, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class AnotherVersionError(TransientError):
    """The file changed since its download was begun, which begins anew."""


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
        state = load_json(self.state_path)
        kinds = {"url": str, "validator": str, "total": int}
        return {key: state[key] for key, kind in kinds.items() if isinstance(state.get(key), kind)}

    def open(self) -> IO[bytes]:
        """Opens the bytes for writing. Raises `DataError` if a link or anything but a file lies there."""
        return open_unlinked(self.path)

    def forget(self) -> None:
        """Removes the bytes and their state."""
        self.path.unlink(missing_ok=True)
        self.state_path.unlink(missing_ok=True)


def open_unlinked(path: Path) -> IO[bytes]:
    """Opens the file `path` for reading and writing, made if need be.

    Raises:
        DataError: It is a link, or no regular file.
        OSError: It cannot be opened.
    """
    require_unlinked(path)
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, 0o666), "rb+")


def require_unlinked(*paths: Path) -> None:
    """Raises `DataError` if one of the paths is a link, or neither a regular file nor absent."""
    for path in paths:
        try:
            kind = path.lstat().st_mode
        except OSError:
            continue
        if stat.S_ISLNK(kind):
            raise DataError(f"{path} is a symbolic link, and a download would write elsewhere; remove the link")
        if not stat.S_ISREG(kind):
            raise DataError(f"{path} is no regular file; remove it to download the file")


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What is known of a file before it is downloaded, and how long it may take.

    Attributes:
        size: Its length in bytes, if known.
        sha256: Its SHA-256 in hex, if known.
        checked: Whether something else tells whether it is whole.
        max_bytes: The length beyond which a file of unknown length is refused.
        max_seconds: Seconds that a file of unknown length may take.
        bounds: How long a server may take.
    """

    size: int | None = None
    sha256: str | None = None
    checked: bool = False
    max_bytes: int
    max_seconds: float
    bounds: Bounds


def attempt(url: str, partial: PartialFile, expected: Expectation, *, progress: Progress | None) -> None:
    """Downloads the rest of `partial` from `url`, resuming if its bytes are of this very version of the file.

    Args:
        url: The address.
        partial: The unfinished download.
        expected: What is known of the file.
        progress: Called with (bytes so far, bytes in all or None).

    Raises:
        TransientError: The same address may serve the rest later.
        MirrorError: This address cannot serve the file.
        MachineError: The disk is too small.
        DataError: A link lies where the bytes belong.
        OSError: The file cannot be written.
    """
    require_unlinked(partial.path, partial.state_path)
    state = partial.state()
    # Without a validator, nothing but the sha256 would tell that the file has changed between two requests.
    start = partial.length() if state.get("url") == url and (state.get("validator") or expected.sha256) else 0
    headers = {}
    if start:
        headers["Range"] = f"bytes={start}-"
        if state.get("validator"):
            headers["If-Range"] = state["validator"]
    try:
        with open_url(url, headers=headers, bounds=expected.bounds) as answer:
            if answer.status == 416 and start:
                _beyond_end(answer, partial, start=start)
                return
            _require_success(answer)
            start, total = _begin(answer, url=url, partial=partial, start=start, expected=expected)
            if expected.size is not None and total is not None and total != expected.size:
                raise MirrorError(f"it offers {total:,} bytes, expected {expected.size:,}")
            end = total if total is not None else expected.size
            if end is not None and end > expected.max_bytes:
                raise MirrorError(f"it offers {end:,} bytes; at most {expected.max_bytes:,} are downloaded")
            if end is None and not (answer.ends_itself or expected.sha256 or expected.checked):
                raise MirrorError("it does not say how long the file is, so that nothing tells whether it is whole")
            require_space(partial.to.parent, (total or 0) - start, what=f"the rest of {partial.to}")
            try:
                _receive(answer, partial, start=start, end=end, expected=expected, progress=progress)
            except RefusedError:
                # What came is not the file; nothing goes on from it, and it may be large.
                partial.forget()
                raise
    except BrokenError as error:
        raise TransientError(str(error)) from error
    except RefusedError as error:
        raise MirrorError(str(error)) from error


def _require_success(answer: Answer) -> None:
    if answer.status in (200, 206):
        return
    message = f"HTTP {answer.status} {answer.reason}".rstrip()
    if answer.status in _RETRIED:
        raise TransientError(message, wait=_retry_after(answer))
    raise MirrorError(message)


def _begin(
    answer: Answer, *, url: str, partial: PartialFile, start: int, expected: Expectation
) -> tuple[int, int | None]:
    """Returns where the body begins and the file's length, if known, and records what the bytes belong to."""
    state = partial.state()
    total = answer.length
    validator = _validator(answer)
    if answer.status == 206:
        total = _total_of_part(answer, start=start)
        before = state.get("total")
        known = state.get("validator")
        # What tells that the part is of the version begun: its validator, or in the end the sha256.
        same = validator == known if known and (validator or not expected.sha256) else bool(expected.sha256)
        if not start or not same or total is None or (before is not None and before != total):
            partial.forget()
            raise AnotherVersionError("it answered with a piece of another version of the file than was begun")
        validator = known or validator
    else:
        start = 0
    with replacing(partial.state_path) as beside:
        beside.write_text(json.dumps({"url": url, "validator": validator, "total": total}))
    return start, total


def _validator(answer: Answer) -> str:
    tag = (answer.headers.get("ETag") or "").strip()
    # A weak tag is no promise that the bytes are the same.
    if re.fullmatch(r'"[\x21\x23-\x7e\x80-\xff]*"', tag):
        return tag
    date = (answer.headers.get("Last-Modified") or "").strip()
    return date if printable(date) == date else ""


def _total_of_part(answer: Answer, *, start: int) -> int | None:
    """Returns the file's length, if the body is its rest from `start` on; else None."""
    match = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", answer.headers.get("Content-Range", "").strip())
    if not match:
        return None
    first, last, total = map(int, match.groups())
    whole = first == start <= last and last == total - 1 and answer.length in (None, total - first)
    return total if whole else None


def _receive(
    answer: Answer,
    partial: PartialFile,
    *,
    start: int,
    end: int | None,
    expected: Expectation,
    progress: Progress | None,
) -> None:
    """Writes the body from `start` on. Raises `BrokenError` if it stops before `end`, `RefusedError` beyond."""
    with partial.open() as handle:
        handle.truncate(start)
        handle.seek(start)
        length = start
        try:
            for block in answer.blocks(first=start, max_seconds=expected.max_seconds if end is None else None):
                length += len(block)
                if end is not None and length > end:
                    raise RefusedError(f"it sent more than the {end:,} bytes expected")
                if length > expected.max_bytes:
                    raise RefusedError(f"it sent more than {expected.max_bytes:,} bytes without stating a length")
                handle.write(block)
                if progress:
                    progress(length, end)
        finally:
            handle.flush()
            os.fsync(handle.fileno())
    if end is not None and length < end:
        raise BrokenError(f"the connection ended after {length:,} of {end:,} bytes")


def _beyond_end(answer: Answer, partial: PartialFile, *, start: int) -> None:
    """Treats "range not satisfiable": the part is whole already, or it belongs to another file."""
    match = re.fullmatch(r"bytes \*/(\d{1,18})", answer.headers.get("Content-Range", "").strip())
    state = partial.state()
    # The length that was stated when the file was begun counts, not what is said now.
    if match and int(match[1]) == start == state.get("total") and _validator(answer) in ("", state.get("validator")):
        return
    partial.forget()
    raise AnotherVersionError("it does not have the rest of the file")


def _retry_after(answer: Answer) -> float | None:
    value = number(answer.headers.get("Retry-After", "").strip())
    return None if value is None else float(value)


def load_json(path: Path) -> dict[str, Any]:
    """Returns the JSON object in the file `path`; empty if there is none."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
