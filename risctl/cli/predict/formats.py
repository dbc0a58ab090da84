"""The option `--format` of `risctl predict`."""

from __future__ import annotations

from typing import Annotated

import typer

from risctl.cli.formats_option import NAMES

PNG = "png"
"""The name of the files that are written where no format is named: mask, overlay and record of each phrase."""


def complete(incomplete: str) -> list[str]:
    """Returns the completions of a list of formats."""
    named, comma, begun = incomplete.rpartition(",")
    return [f"{named}{comma}{name}" for name in (PNG, *NAMES) if name.startswith(begun)]


FormatsOption = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="FORMAT[,FORMAT…]",
        help=f"What is written: {PNG} (mask, overlay and record of each phrase), {', '.join(NAMES)}; each of these "
        "in a folder of its own.",
        autocompletion=complete,
    ),
]
CopiesOption = Annotated[
    bool, typer.Option("--images/--no-images", help="With --format: copy the pictures into images/, too.")
]


def chosen_formats(text: str) -> list[str]:
    """Returns the distinct names of a list of formats. Raises `UsageError` if one is unknown, or there is none."""
    from risctl.errors import UsageError, unknown_name

    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in (PNG, *NAMES):
            raise UsageError(unknown_name("format", name, (PNG, *NAMES)))
    if not names:
        raise UsageError(f"name a format with --format; known: {', '.join((PNG, *NAMES))}")
    return names
