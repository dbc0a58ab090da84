"""Markdown of the generated reference: prose out of helps and docstrings, and tables."""

from __future__ import annotations

import re
from collections.abc import Iterable


def prose(text: str) -> str:
    """Returns the text of a help: one line a paragraph, without what Click reads in it."""
    paragraphs = re.split(r"\n\s*\n", text.replace("\b", "").replace("\f", "").strip())
    return "\n\n".join(" ".join(escaped(part).split()) for part in paragraphs)


def escaped(text: str) -> str:
    """Returns prose in which angle brackets stay text; within backticks they do so anyway."""
    return re.sub(r"(`[^`]*`)|<(?=[A-Za-z/!])", lambda match: match[1] or "&lt;", text)


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]], *, right: int | None = None) -> str:
    """Returns a Markdown table; columns from number `right` on are aligned to the right."""
    marks = ["---" if right is None or index < right else "---:" for index in range(len(head))]
    lines = [" | ".join(head), " | ".join(marks)]
    lines += [" | ".join(cell(text) for text in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def cell(text: str) -> str:
    """Returns the text of a cell: on one line, and no bar of it ends the cell; within backticks none does."""
    return re.sub(r"(`[^`]*`)|\|", lambda match: match[1] or "\\|", escaped(" ".join(text.split())))
