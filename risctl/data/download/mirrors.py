"""Fetching a published file: mirrors in order, resuming, and a check before it is believed.

Only a file that passed its checks gets its name. What was seen (address, length, sha256) is recorded in `FILE.json`, as
most publishers say neither.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from risctl.data.download.hub_files import SCHEME, NotOnHubError, copy_from_hub
from risctl.data.download.transfer import AgainError, GiveUpError, Part, Progress, attempt, load_json
from risctl.errors import DataError
from risctl.files import as_error, replacing


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
        """Returns the seconds to wait after `failures` failures in a row."""
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
    """Fetches `to` from the first of `mirrors` that serves it whole, resuming what an earlier run left.

    `size` (bytes) and `sha256` are verified where given; `check` raises `DataError` for a file that is not what it
    should be. A file fetched before is checked and returned. Raises `DataError` with what each mirror answered,
    `MachineError` if the disk is too small or full.
    """
    known = _Known(size=size, sha256=sha256, check=check)
    if to.is_file():
        return _present(to, known)
    answers = []
    with _alone(to):
        for url in mirrors:
            if urlsplit(url).scheme not in ("http", "https", SCHEME):
                raise DataError(f"{url} is no http address")
            try:
                if urlsplit(url).scheme == SCHEME:
                    _fetch_from_hub(url, Part(to))
                else:
                    _fetch(url, Part(to), known=known, patience=patience or Patience(), progress=progress)
                return _accept(url, Part(to), known)
            except GiveUpError as answer:
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
class _Known:
    """What is known of a file before it is fetched."""

    size: int | None
    sha256: str | None
    check: Callable[[Path], None] | None

    def complaint(self, path: Path) -> tuple[str | None, str]:
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


def _present(to: Path, known: _Known) -> Downloaded:
    record = load_json(record_of(to))
    complaint, digest = known.complaint(to)
    if complaint is None and record and record.get("sha256") != digest:
        complaint = "it is not the file that was downloaded"
    if complaint:
        raise DataError(f"{to} is there already, but {complaint}; remove it to download it again")
    return Downloaded(path=to, url=record.get("url", ""), size=to.stat().st_size, sha256=digest)


def _fetch(url: str, part: Part, *, known: _Known, patience: Patience, progress: Progress | None) -> None:
    """Brings `part` to its whole length from `url`. Raises `GiveUpError` when it will not come to that."""
    failures, most = 0, 0
    while True:
        try:
            attempt(url, part, size=known.size, sha256=known.sha256, silence=patience.silence, progress=progress)
            return
        except AgainError as failure:
            # Bytes count as progress only beyond what was ever there: a server that cannot resume and always drops the
            # connection would otherwise be asked for ever.
            failures = 1 if part.length() > most else failures + 1
            most = max(most, part.length())
            if failures >= patience.attempts:
                raise GiveUpError(f"{failure} ({failures} times)") from failure
            wait = failure.wait if failure.wait is not None else patience.wait(failures)
            patience.sleep(min(wait, patience.longest_wait))


def _fetch_from_hub(url: str, part: Part) -> None:
    try:
        copy_from_hub(url, part.path)
    except NotOnHubError as error:
        raise GiveUpError(str(error)) from error


def _accept(url: str, part: Part, known: _Known) -> Downloaded:
    complaint, digest = known.complaint(part.path)
    if complaint:
        part.forget()
        raise GiveUpError(complaint)
    found = Downloaded(path=part.to, url=url, size=part.length(), sha256=digest)
    with replacing(record_of(part.to)) as beside:
        record = {"url": url, "size": found.size, "sha256": digest, "validator": part.state().get("validator", "")}
        beside.write_text(json.dumps(record))
    part.path.replace(part.to)
    part.state_path.unlink(missing_ok=True)
    return found


@contextlib.contextmanager
def _alone(to: Path) -> Iterator[None]:
    """Keeps a second download of the same file out while this one runs; the system frees the lock of a killed one."""
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
