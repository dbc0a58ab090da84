"""Downloads a published file: mirrors in order, resuming, and a check before the file gets its name.

What was downloaded (address, length, SHA-256) is recorded in `FILE.json`, since most publishers state neither.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from risctl.data.download.hub import SCHEME, NotOnHubError, copy_from_hub
from risctl.data.download.transfer import (
    AnotherVersionError,
    Expectation,
    MirrorError,
    PartialFile,
    Progress,
    TransientError,
    attempt,
    load_json,
    open_unlinked,
    require_unlinked,
)
from risctl.errors import DataError
from risctl.files import as_error, replacing
from risctl.network.http_client import Bounds
from risctl.network.largest import largest_download


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """A downloaded file: its path, the address, its length in bytes and its SHA-256 (hex)."""

    path: Path
    url: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How long a server is retried.

    Attributes:
        attempts: How many attempts in a row may bring no new byte.
        first_wait: Seconds before the second attempt; each further wait is twice as long.
        longest_wait: The longest wait in seconds.
        timeout: Seconds without a byte after which an attempt fails.
        min_rate: Bytes per second that an attempt must bring, on average over each `window`.
        window: Seconds over which the rate is measured.
        max_seconds: Seconds that a file may take whose length nobody states.
        sleep: Waits that many seconds.
    """

    attempts: int = 5
    first_wait: float = 1.0
    longest_wait: float = 60.0
    timeout: float = 30.0
    min_rate: float = 1000.0
    window: float = 60.0
    max_seconds: float = 6 * 3600.0
    sleep: Callable[[float], None] = field(default=time.sleep)

    def wait(self, failures: int) -> float:
        """Returns the seconds to wait after `failures` failures in a row."""
        return min(self.longest_wait, self.first_wait * 2 ** (failures - 1))


def download(
    mirrors: Sequence[str],
    to: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    check: Callable[[Path], None] | None = None,
    max_bytes: int | None = None,
    retries: RetryPolicy | None = None,
    progress: Progress | None = None,
) -> Downloaded:
    """Downloads a file from the first mirror that serves it completely, resuming what an earlier run left.

    A file that is there already is checked and returned. Only bytes of one version of the file are put together: the
    server's validator is compared whenever a download goes on.

    Args:
        mirrors: Addresses: http, https or hf.
        to: The file to write.
        size: Its length in bytes, checked if given.
        sha256: Its SHA-256, checked if given.
        check: Raises `DataError` for a file that is not what it should be.
        max_bytes: The length beyond which it is refused; None takes `largest_download`.
        retries: How long a server is retried.
        progress: Called with (bytes so far, bytes in all or None).

    Raises:
        DataError: No mirror serves it; what each answered is named. Or a link lies where it belongs.
        MachineError: The disk is too small or full.
    """
    expected = _Expected(size=size, sha256=sha256, check=check)
    retries = retries or RetryPolicy()
    known = Expectation(
        size=size,
        sha256=sha256,
        checked=check is not None,
        max_bytes=largest_download() if max_bytes is None else max_bytes,
        max_seconds=retries.max_seconds,
        bounds=Bounds(silence=retries.timeout, min_rate=retries.min_rate, window=retries.window),
    )
    require_unlinked(to, record_of(to), PartialFile(to).path, PartialFile(to).state_path)
    if to.is_file():
        return _existing(to, expected)
    answers = []
    with _locked(to):
        for url in mirrors:
            if urlsplit(url).scheme not in ("http", "https", SCHEME):
                raise DataError(f"{url} is not an http address")
            try:
                if urlsplit(url).scheme == SCHEME:
                    _fetch_from_hub(url, PartialFile(to))
                else:
                    _fetch(url, PartialFile(to), known, retries=retries, progress=progress)
                return _accept(url, PartialFile(to), expected)
            except MirrorError as answer:
                answers.append(f"{url}: {answer}")
            except OSError as error:
                raise as_error(error, to) from error
    raise DataError(f"cannot download {to.name}: {'; '.join(answers)}. If you have it, give its folder with --from")


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes, hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def record_of(to: Path) -> Path:
    """Returns where the record of the download `to` lies."""
    return to.with_name(to.name + ".json")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Expected:
    """What is known of a file before it is downloaded."""

    size: int | None
    sha256: str | None
    check: Callable[[Path], None] | None

    def mismatch(self, path: Path) -> tuple[str | None, str]:
        """Returns (what is wrong with the file `path` or None, its sha256)."""
        length = path.stat().st_size
        digest = sha256_of(path)
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


def _existing(to: Path, expected: _Expected) -> Downloaded:
    record = load_json(record_of(to))
    mismatch, digest = expected.mismatch(to)
    if mismatch is None and record and record.get("sha256") != digest:
        mismatch = "it is not the file that was downloaded"
    if mismatch:
        raise DataError(f"{to} is there already, but {mismatch}; remove it to download it again")
    return Downloaded(path=to, url=record.get("url", ""), size=to.stat().st_size, sha256=digest)


def _fetch(
    url: str, partial: PartialFile, expected: Expectation, *, retries: RetryPolicy, progress: Progress | None
) -> None:
    """Brings `partial` to its whole length from `url`. Raises `MirrorError` when it will not come to that."""
    failures, longest, versions = 0, 0, 1
    wait = 0.0
    while True:
        began = time.monotonic() - wait
        try:
            attempt(url, partial, expected, progress=progress)
            return
        except TransientError as failure:
            versions += isinstance(failure, AnotherVersionError)
            if versions > retries.attempts:
                raise MirrorError(f"{failure} ({versions - 1} times)") from failure
            # Bytes count as progress only beyond what was ever there, and at the least rate, waits included: a server
            # that cannot resume and always drops the connection, or that gives a byte each time, would otherwise be
            # asked for ever.
            brought = partial.length() - longest
            failures = 1 if brought > retries.min_rate * (time.monotonic() - began) else failures + 1
            longest = max(longest, partial.length())
            if failures >= retries.attempts:
                raise MirrorError(f"{failure} ({failures} times)") from failure
            wait = min(retries.wait(failures) if failure.wait is None else failure.wait, retries.longest_wait)
            retries.sleep(wait)


def _fetch_from_hub(url: str, partial: PartialFile) -> None:
    try:
        require_unlinked(partial.path)
        copy_from_hub(url, partial.path)
    except NotOnHubError as error:
        raise MirrorError(str(error)) from error


def _accept(url: str, partial: PartialFile, expected: _Expected) -> Downloaded:
    mismatch, digest = expected.mismatch(partial.path)
    if mismatch:
        partial.forget()
        raise MirrorError(mismatch)
    found = Downloaded(path=partial.to, url=url, size=partial.length(), sha256=digest)
    with replacing(record_of(partial.to)) as beside:
        record = {"url": url, "size": found.size, "sha256": digest, "validator": partial.state().get("validator", "")}
        beside.write_text(json.dumps(record))
    partial.path.replace(partial.to)
    partial.state_path.unlink(missing_ok=True)
    return found


@contextlib.contextmanager
def _locked(to: Path) -> Iterator[None]:
    """Locks the file against a second download; the system frees the lock of a killed process."""
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise as_error(error, to) from error
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    lock = to.with_name(f".{to.name}.lock")
    try:
        handle = open_unlinked(lock)
    except OSError as error:
        raise as_error(error, to) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The one who held the lock may have removed its file since it was opened here.
            if not lock.exists() or not os.path.samestat(os.fstat(handle.fileno()), lock.lstat()):
                raise BlockingIOError
        except BlockingIOError:
            raise DataError(f"{to} is being downloaded by another process; wait for it") from None
        except OSError:
            pass  # a file system without locks
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
