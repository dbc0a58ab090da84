"""Defines what is labelled: an image by its address, and the phrases that are looked for in it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from risctl.errors import DataError, UsageError
from risctl.json_text import parse_json

_LONGEST_PHRASE = 1000  # characters
_MOST_BYTES = 200_000_000  # of a file of phrases


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """An image to label.

    Attributes:
        index: Its place in the whole collection, from 0.
        image: Its path or address, or `STORE.h5#ROW`.
        phrases: What is looked for in it.
    """

    index: int
    image: str
    phrases: tuple[str, ...]

    def to_line(self) -> str:
        """Returns the task as a line of JSON, in ASCII: a file's name may have bytes that are no text."""
        return json.dumps([self.index, self.image, *self.phrases]) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Task:
        """Returns the task of a line that `to_line` wrote. Raises `ValueError` for any other."""
        values = parse_json(line, max_depth=2)
        if not isinstance(values, list) or len(values) < 2 or type(values[0]) is not int:
            raise ValueError("it is no task")
        if not all(isinstance(value, str) for value in values[1:]):
            raise ValueError("it is no task")
        return cls(index=values[0], image=values[1], phrases=tuple(values[2:]))


def phrases_of(given: str) -> tuple[str, ...]:
    """Returns the phrases of an option: those of a file, one a line, or those of a text, between semicolons.

    Raises:
        UsageError: There is none, or one of the text has no word.
        DataError: The file cannot be read, or a line holds no phrase that can be used; the message has its number.
    """
    path = Path(given)
    try:
        is_file = path.is_file()
    except (OSError, ValueError):
        is_file = False
    if not is_file:
        if path.suffix.lower() in (".txt", ".list", ".jsonl", ".csv") and " " not in given:
            raise DataError(f"no file of phrases at {given}")
        parts = [" ".join(part.split()) for part in given.split(";") if part.strip()]
        for part in parts:
            reason = unusable(part)
            if reason:
                raise UsageError(f"--phrases: {part!r:.60} {reason}")
        if not parts:
            raise UsageError('expected --phrases with a file of phrases, or phrases between semicolons: "a cup; a dog"')
        return tuple(dict.fromkeys(parts))
    found = dict.fromkeys(text for _, text in lines_of(path, what="phrases"))
    if not found:
        raise DataError(f"{given} holds no phrase; write one a line")
    return tuple(found)


def lines_of(path: Path, *, what: str) -> Iterator[tuple[int, str]]:
    """Yields the numbers and texts of the lines of a file that are not blank.

    Raises:
        DataError: It cannot be read, or a line of phrases holds none that can be used.
    """
    try:
        if path.stat().st_size > _MOST_BYTES and what == "phrases":
            raise DataError(f"{path} has more than {_MOST_BYTES:,} bytes, which are no phrases")
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                except UnicodeDecodeError:
                    raise DataError(f"{path}, line {number}: not UTF-8 text; save the file as UTF-8") from None
                if not text:
                    continue
                reason = unusable(text) if what == "phrases" else None
                if reason:
                    raise DataError(f"{path}, line {number}: {text!r:.60} {reason}")
                yield number, text
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def unusable(text: str) -> str | None:
    """Returns why a text is no phrase; None if it is one."""
    if any(ord(sign) < 32 or 0x7F <= ord(sign) < 0xA0 for sign in text):
        return "has control characters"
    if not any(sign.isalnum() for sign in text):
        return "has no word"
    if len(text) > _LONGEST_PHRASE:
        return f"has {len(text):,} characters; expected at most {_LONGEST_PHRASE:,}"
    return None


def numbered(found: Iterable[tuple[str, tuple[str, ...] | None]], phrases: tuple[str, ...] | None) -> Iterator[Task]:
    """Yields the tasks of images: with `phrases`, or else with those that stand beside each image."""
    for index, (image, own) in enumerate(found):
        chosen = phrases if phrases is not None else own
        if not chosen:
            raise UsageError(f"there is no phrase for {image:.200}; name some with --phrases")
        yield Task(index=index, image=image, phrases=chosen)
