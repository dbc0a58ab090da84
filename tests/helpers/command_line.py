"""What a test gets of a command that it ran: types of the fixture `risctl`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Ran(NamedTuple):
    """A command's exit code, stdout and stderr."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]
