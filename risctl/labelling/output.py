"""The folder that labels are written to: what is asked, what is planned, and the parts that are done.

    label.json           what was asked: source, phrases, model and its digest, thresholds, shard
    plan.jsonl           the images of this shard, one a line: made once, so that a changed source changes nothing
    parts/part-N.FORMAT  the rows of the plan's images N*SIZE to (N+1)*SIZE-1 of the whole collection
    done.jsonl           a line for each part that is whole, with its digest

Every file is whole or absent, and a part counts only with its line: a process that is killed at any instant leaves
what the next one goes on from. A lock of the operating system keeps a second process out.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from risctl.errors import DataError, UsageError
from risctl.json_text import parse_json
from risctl.labelling.rows_file import dumped, read_rows, write_rows
from risctl.labelling.tasks import Task
from risctl.labelling.worker import Row
from risctl.output_files import OutputFiles

REQUEST, PLAN, PARTS, DONE, LOCK = "label.json", "plan.jsonl", "parts", "done.jsonl", ".lock"
_VERSION = 1
_MAX_REQUEST_BYTES = 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked.

    Attributes:
        source: The source, as it was named.
        split: The split of a store.
        phrases: The phrases of every image; None: each has its own.
        model: The model's name.
        digest: What identifies its weights.
        threshold: Pixels above it make up the mask.
        no_target_threshold: Phrases that score less have no match.
        min_score: Rows that score less are left out.
        kind: The format of the parts: parquet or jsonl.
        size: Images of a part.
        shard: Which share of the parts, (K, N): those whose number is K - 1 modulo N.
    """

    source: str
    split: str
    phrases: tuple[str, ...] | None
    model: str
    digest: str
    threshold: float
    no_target_threshold: float
    min_score: float
    kind: str
    size: int
    shard: tuple[int, int]

    def to_dict(self) -> dict[str, Any]:
        """Returns the request as it is read back from JSON."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What there is to label.

    Attributes:
        images: How many images the whole collection has.
        digest: What identifies their list, over all shards.
    """

    images: int
    digest: str


class LabelFolder:
    """The folder of one run, or of one shard of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.about: dict[str, Any] = {}
        self._done: dict[int, dict[str, Any]] = {}

    def exists(self) -> bool:
        """Returns whether a run has begun here."""
        return (self.path / REQUEST).is_file()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from writing here within the block. Raises `UsageError` if one is."""
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            import fcntl
        except ImportError:  # Windows has no such lock; two writers in one folder are then up to the user.
            yield
            return
        handle = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        with os.fdopen(handle, "r+b", buffering=0) as file:
            try:
                # A record lock, unlike flock, is not inherited: processes that outlive a killed run hold nothing.
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"another process is writing to {self.path}; wait for it, or name another output"
                ) from None
            except OSError:  # some network file systems know no locks
                pass
            yield

    def begin(self, request: Request, tasks: Iterable[Task]) -> Plan:
        """Writes plan and request; the request is the last, as it is what tells that a run has begun."""
        outputs = OutputFiles(overwrite=True)
        found, count = hashlib.sha256(), 0
        share, shares = request.shard
        with outputs.writing(self.path / PLAN) as part, part.open("w", encoding="utf-8", newline="\n") as file:
            for task in tasks:
                line = task.to_line()
                found.update(line.encode())
                if task.index // request.size % shares == share - 1:
                    file.write(line)
                count += 1
        plan = Plan(images=count, digest=found.hexdigest())
        self.about = {"version": _VERSION, **request.to_dict(), "images": plan.images, "plan": plan.digest}
        (self.path / PARTS).mkdir(exist_ok=True)
        outputs.write_text(self.path / REQUEST, dumped(self.about))
        return plan

    def open(self) -> Plan:
        """Reads what was asked and what is done. Raises `DataError` if the folder is none of labels, or damaged."""
        path = self.path / REQUEST
        try:
            if path.stat().st_size > _MAX_REQUEST_BYTES:
                raise ValueError("it is too large")
            self.about = parse_json(path.read_text(encoding="utf-8"), max_depth=8)
            for key, kind in (("version", int), ("images", int), ("size", int), ("plan", str), ("kind", str)):
                if type(self.about[key]) is not kind:
                    raise ValueError(f"{key} is no {kind.__name__}")
            share, shares = self.about["shard"]
            if self.about["version"] != _VERSION or self.about["size"] < 1 or not 1 <= share <= shares:
                raise ValueError("it is of another version")
        except FileNotFoundError:
            raise DataError(f"{self.path} holds no labels (no {REQUEST}); `risctl label` writes them") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} cannot be read: {error}") from error
        self._done = self._read_done()
        return Plan(images=self.about["images"], digest=self.about["plan"])

    def check(self, request: Request) -> None:
        """Raises `UsageError` if something else was asked when the run began."""
        now = request.to_dict()
        changed = [key for key, value in now.items() if self.about.get(key) != value]
        if changed:
            key = changed[0]
            raise UsageError(
                f"{self.path} was begun with another {key}: {self.about.get(key)!r:.80}, not {now[key]!r:.80}; go on "
                "with the same, or name another output"
            )

    @property
    def size(self) -> int:
        """Images of a part."""
        return int(self.about["size"])

    def numbers(self) -> range:
        """Returns the numbers of this shard's parts."""
        share, shares = self.about["shard"]
        return range(share - 1, -(-self.about["images"] // self.size), shares)

    def is_done(self, number: int) -> bool:
        """Returns whether a part is whole."""
        return number in self._done

    def left(self) -> list[int]:
        """Returns the numbers of the parts that are missing."""
        return [number for number in self.numbers() if number not in self._done]

    def tasks(self, *, all_parts: bool = False) -> Iterator[Task]:
        """Yields the images of the parts that are missing, or of all."""
        path = self.path / PLAN
        try:
            with path.open(encoding="utf-8") as file:
                for line in file:
                    task = Task.from_line(line)
                    if all_parts or not self.is_done(task.index // self.size):
                        yield task
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read: {error}; begin anew with --overwrite") from error

    def part(self, number: int) -> Path:
        """Returns the file of a part."""
        return self.path / PARTS / f"part-{number:08d}.{self.about['kind']}"

    def write_part(self, number: int, rows: list[Row]) -> None:
        """Writes a part, then its line, which makes it count."""
        path = self.part(number)
        write_rows(path, rows, outputs=OutputFiles(overwrite=True))
        failed = {row["index"] for row in rows if row["error"]}
        line = {"part": number, "rows": len(rows), "failed": len(failed), "sha256": _sha256(path)}
        with (self.path / DONE).open("ab") as file:
            # A line that a kill cut short ends here, so that this one stands alone.
            start = b"" if file.tell() == 0 or self._ends_whole() else b"\n"
            file.write(start + json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._done[number] = line

    def rows(self, *, check: bool = False) -> Iterator[Row]:
        """Yields the rows of all parts that are whole, in their order.

        Raises:
            DataError: A part is missing or, with `check`, is not what was written.
        """
        for number in sorted(self._done):
            yield from self.rows_of(number, check=check)

    def rows_of(self, number: int, *, check: bool = False) -> Iterator[Row]:
        """Yields the rows of a part. Raises as `rows`."""
        path = self.part(number)
        if check and (not path.is_file() or _sha256(path) != self._done[number]["sha256"]):
            raise DataError(f"{path} is missing or has changed since it was written; label it again with --resume")
        return read_rows(path)

    def counts(self) -> tuple[int, int]:
        """Returns the numbers of rows, and of images that could not be labelled."""
        return sum(one["rows"] for one in self._done.values()), sum(one["failed"] for one in self._done.values())

    def clear(self) -> None:
        """Removes what an earlier run wrote here, the request first."""
        for name in (REQUEST, DONE, PLAN):
            (self.path / name).unlink(missing_ok=True)
        for part in sorted((self.path / PARTS).glob("part-*")):
            part.unlink()

    def _ends_whole(self) -> bool:
        with (self.path / DONE).open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def _read_done(self) -> dict[int, dict[str, Any]]:
        path = self.path / DONE
        found: dict[int, dict[str, Any]] = {}
        lines = path.read_bytes().splitlines() if path.is_file() else []
        numbers = self.numbers()
        for line in lines:
            try:
                entry = parse_json(line, max_depth=2)
                number, rows, failed = entry["part"], entry["rows"], entry["failed"]
            except (ValueError, KeyError, TypeError):
                continue  # cut short by a kill: its part is labelled again
            if type(number) is int and type(rows) is int and type(failed) is int and number in numbers:
                found[number] = entry
        present = {one.name for one in (self.path / PARTS).glob("part-*")}
        return {number: entry for number, entry in found.items() if self.part(number).name in present}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
