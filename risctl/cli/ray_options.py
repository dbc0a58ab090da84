"""The options of commands whose work Ray Data shares out on a cluster."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from risctl.errors import UsageError


class EngineName(StrEnum):
    """What shares the work out."""

    local = "local"
    ray = "ray"


AddressOption = Annotated[
    str | None, typer.Option(help="Ray: the cluster. Default: RAY_ADDRESS, else this machine.", show_default=False)
]
ActorsOption = Annotated[str, typer.Option(metavar="N|MIN:MAX", help="Ray: models at work at a time.")]
GpusOption = Annotated[float, typer.Option(min=0.0, help="Ray: the share of a GPU for each; 0: on a CPU.")]


def actors_of(text: str) -> tuple[int, int]:
    """Returns the fewest and the most actors. Raises `UsageError` for anything but N or MIN:MAX."""
    low, colon, high = text.partition(":")
    if low.isdecimal() and (high.isdecimal() if colon else not high) and 1 <= int(low) <= int(high or low):
        return int(low), int(high or low)
    raise UsageError(f"expected --actors as a number or MIN:MAX, such as 2:8, got {text!r:.40}")
