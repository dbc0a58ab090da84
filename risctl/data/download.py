"""Fetching a published file: mirrors in order, resuming, and a check before it is believed.

The bytes go to `FILE.part`, what is known of them to `FILE.part.json`; only a file that passed its checks gets its
name. What was seen (address, length, sha256) is recorded in `FILE.json`, as most publishers say neither.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from risctl import __version__
from risctl.data.atomic import as_error, replacing
from risctl.errors import DataError, MachineError

Progress = Callable[[int, int | None], None]
"""Called with (bytes so far, bytes in all or None)."""

_BLOCK = 1 << 20
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 522, 524})


class _GiveUpError(Exception):
    """This mirror cannot serve the file; the next one may."""


class _AgainError(Exception):
    """This attempt failed; the same mirror may serve the rest."""

    def __init__(self, message: str, *, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """What was fetched: where it lies, whence it came, its length in bytes and sha256 (hex)."""

    path: Path
    url: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to try: attempts in a row without a new byte, seconds between them (doubling), seconds of silence."""

    attempts: int = 5
    first_wait: float = 1.0
    longest_wait: float = 60.0
    silence: float = 30.0
    sleep: Callable[[float], None] = field(default=time.sleep)

    def wait(self, failures: int) -> float:
        """Return the seconds to wait after `failures` failures in a row."""
        return min(self.longest_wait, self.first_wait * 2 ** (failures - 1))


def download(
    mirrors: Sequence[str],
    to: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    check: Callable[[Path], None] | None = None,
    patience: Patience | None = None,
    progress: Progress | None = None,
) -> Downloaded:
    """Fetch `to` from the first of `mirrors` that serves it whole, resuming what an earlier run left.

    `size` (bytes) and `sha256` are verified where given; `check` raises `DataError` for a file that is not what it
    should be. A file fetched before is returned as it is. Raises `DataError` with what each mirror answered,
    `MachineError` if the disk is too small or full.
    """
    known = _Known(size=size, sha256=sha256, check=check)
    found = _present(to, known)
    if found is not None:
        return found
    patience = patience or Patience()
    answers = []
    with _alone(to):
        for url in mirrors:
            if urlsplit(url).scheme not in ("http", "https"):
                raise DataError(f"{url} is no http address")
            try:
                _fetch(url, to, known=known, patience=patience, progress=progress)
                return _accept(url, to, known)
            except _GiveUpError as answer:
                answers.append(f"{url}: {answer}")
            except OSError as error:
                raise as_error(error, to) from error
    raise DataError(f"cannot download {to.name}: {'; '.join(answers)}. If you have it, give its folder with --from")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is known of a file before it is fetched."""

    size: int | None
    sha256: str | None
    check: Callable[[Path], None] | None

    def complaint(self, path: Path) -> tuple[str | None, str]:
        """Return (what is wrong with the file `path` or None, its sha256)."""
        length = path.stat().st_size
        digest = _sha256(path)
        if self.size is not None and length != self.size:
            return f"it has {length:,} bytes, expected {self.size:,}", digest
        if self.sha256 is not None and digest != self.sha256.lower():
            return f"its sha256 is {digest}, expected {self.sha256}", digest
        if self.check is not None:
            try:
                self.check(path)
            except DataError as error:
                return str(error), digest
        return None, digest


def _part(to: Path) -> Path:
    return to.with_name(to.name + ".part")


def _state(to: Path) -> Path:
    return to.with_name(to.name + ".part.json")


def record_of(to: Path) -> Path:
    """Return where the record of the download `to` lies."""
    return to.with_name(to.name + ".json")


def _present(to: Path, known: _Known) -> Downloaded | None:
    if not to.is_file():
        return None
    record = _load(record_of(to))
    complaint, digest = known.complaint(to)
    if complaint is None and record and record.get("sha256") != digest:
        complaint = "it is not the file that was downloaded"
    if complaint:
        raise DataError(f"{to} is there already, but {complaint}; remove it to download it again")
    return Downloaded(path=to, url=record.get("url", ""), size=to.stat().st_size, sha256=digest)


def _fetch(url: str, to: Path, *, known: _Known, patience: Patience, progress: Progress | None) -> None:
    """Bring `to`'s part to its full length from `url`. Raises `_GiveUpError` when it will not come to that."""
    failures, most = 0, 0
    while True:
        try:
            _attempt(url, to, known=known, silence=patience.silence, progress=progress)
            return
        except _AgainError as failure:
            # Bytes count as progress only beyond what was ever there: a server that cannot resume and always drops the
            # connection would otherwise be asked for ever.
            length = _part(to).stat().st_size if _part(to).exists() else 0
            failures = 1 if length > most else failures + 1
            most = max(most, length)
            if failures >= patience.attempts:
                raise _GiveUpError(f"{failure} ({failures} times)") from failure
            wait = failure.wait if failure.wait is not None else patience.wait(failures)
            patience.sleep(min(wait, patience.longest_wait))


def _attempt(url: str, to: Path, *, known: _Known, silence: float, progress: Progress | None) -> None:
    part = _part(to)
    start = _resumable(url, to, known)
    request = urllib.request.Request(
        url, headers={"User-Agent": f"risctl/{__version__}", "Accept-Encoding": "identity"}
    )
    if start:
        request.add_header("Range", f"bytes={start}-")
        validator = _load(_state(to)).get("validator")
        if validator:
            request.add_header("If-Range", validator)
    try:
        response = urllib.request.urlopen(request, timeout=silence)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416:
                _beyond_end(error, to, start=start)
                return
            message = f"HTTP {error.code} {error.reason}".rstrip()
            if error.code in _RETRIED:
                raise _AgainError(message, wait=_retry_after(error)) from error
            raise _GiveUpError(message) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _AgainError(_reason(error)) from error
    with response:
        start, total = _begin(response, url=url, to=to, start=start)
        if known.size is not None and total is not None and total != known.size:
            raise _GiveUpError(f"it offers {total:,} bytes, expected {known.size:,}")
        _check_space(part.parent, (total or 0) - start, to)
        _receive(response, part, start=start, total=total, limit=known.size, progress=progress)


def _resumable(url: str, to: Path, known: _Known) -> int:
    """Return how many bytes of `to`'s part can be kept: those of this very file from this address, else none."""
    part, state = _part(to), _load(_state(to))
    if not part.exists():
        return 0
    # Without a validator, nothing but the sha256 would tell that the file has changed between two requests.
    trusted = state.get("url") == url and (state.get("validator") or known.sha256)
    return part.stat().st_size if trusted else 0


def _begin(response: Any, *, url: str, to: Path, start: int) -> tuple[int, int | None]:
    """Return where the body begins and the whole file's length, if told; remember what the bytes belong to."""
    total = _length(response)
    if response.status == 206:
        first, total = _content_range(response)
        before = _load(_state(to)).get("total")
        if first != start or (before is not None and total is not None and before != total):
            _forget(to)
            raise _AgainError("it answered with another piece of the file than was asked for")
    elif response.status == 200:
        start = 0
    else:
        raise _GiveUpError(f"HTTP {response.status} without a file")
    validator = response.headers.get("ETag") or ""
    # A weak tag is no promise that the bytes are the same.
    if not validator or validator.startswith("W/"):
        validator = response.headers.get("Last-Modified") or ""
    with replacing(_state(to)) as beside:
        beside.write_text(json.dumps({"url": url, "validator": validator, "total": total}))
    return start, total


def _receive(
    response: Any, part: Path, *, start: int, total: int | None, limit: int | None, progress: Progress | None
) -> None:
    """Write the body to `part` from `start` on. Raises `_AgainError` if it ends before `total`."""
    end = total if total is not None else limit
    with part.open("rb+" if part.exists() else "wb") as handle:
        handle.truncate(start)
        handle.seek(start)
        length = start
        try:
            for block in _blocks(response):
                length += len(block)
                if end is not None and length > end:
                    raise _GiveUpError(f"it sent more than the {end:,} bytes expected")
                handle.write(block)
                if progress:
                    progress(length, total)
        finally:
            handle.flush()
            os.fsync(handle.fileno())
    if end is not None and length < end:
        raise _AgainError(f"the connection ended after {length:,} of {end:,} bytes")


def _blocks(response: Any) -> Iterator[bytes]:
    while True:
        try:
            # read1 gives what has come: a slow connection shows progress, and what came before a break is kept.
            block = response.read1(_BLOCK)
        except http.client.IncompleteRead as error:
            yield error.partial
            raise _AgainError("the connection ended early") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _AgainError(_reason(error)) from error
        if not block:
            return
        yield block


def _beyond_end(error: urllib.error.HTTPError, to: Path, *, start: int) -> None:
    """Treat "range not satisfiable": the part is whole already, or it belongs to another file."""
    match = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
    if match and int(match[1]) == start and start > 0:
        return
    _forget(to)
    raise _AgainError("it has not the rest of the file")


def _accept(url: str, to: Path, known: _Known) -> Downloaded:
    part = _part(to)
    complaint, digest = known.complaint(part)
    if complaint:
        _forget(to)
        raise _GiveUpError(complaint)
    found = Downloaded(path=to, url=url, size=part.stat().st_size, sha256=digest)
    with replacing(record_of(to)) as beside:
        record = {"url": url, "size": found.size, "sha256": digest}
        beside.write_text(json.dumps(record | {"validator": _load(_state(to)).get("validator", "")}))
    part.replace(to)
    _state(to).unlink(missing_ok=True)
    return found


def _forget(to: Path) -> None:
    _part(to).unlink(missing_ok=True)
    _state(to).unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(to: Path) -> Iterator[None]:
    """Keep a second download of the same file out while this one runs; the system frees the lock of a killed one."""
    to.parent.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    lock = to.with_name(f".{to.name}.lock")
    with lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{to} is being downloaded by another process; wait for it") from None
        except OSError:
            pass  # a file system without locks
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _check_space(folder: Path, needed: int, to: Path) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise MachineError(f"{to} needs {needed / 1e9:.1f} GB more and {folder} has {free / 1e9:.1f} GB free")


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


def _load(path: Path) -> dict[str, Any]:
    """Return the JSON object in `path`; empty if there is none."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
