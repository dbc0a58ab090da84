"""Reads lists of words, one per line."""

from __future__ import annotations

from pathlib import Path

from risctl.errors import DataError


def read_word_list(path: Path) -> tuple[str, ...]:
    """Returns the words of a file.

    Raises:
        DataError: The file cannot be read, or has a word twice.
    """
    try:
        listed = tuple(path.read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the list of words {path}: {error}") from error
    if len(set(listed)) != len(listed):
        raise DataError(f"{path} names {len(listed) - len(set(listed))} words twice; expected each once")
    return listed
