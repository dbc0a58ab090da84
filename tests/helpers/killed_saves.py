"""A training that is killed by SIGKILL at a chosen moment of its saves, for tests of what a kill leaves."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from helpers.tiny import train_tiny


def train_killed(values: dict[str, Any], run: Path, *, resumed: bool, change: int) -> None:
    """Train or resume as `train_tiny` does, and be killed right before file change number `change`, from 0.

    Changes are the links and renames of checkpoints, which Python reports before it makes them.
    """
    left = change

    def watch(event: str, given: tuple[Any, ...]) -> None:
        nonlocal left
        if event in ("os.link", "os.rename") and str(given[1]).endswith((".safetensors", ".part")):
            if "safetensors" not in str(given[1]):
                return
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    sys.addaudithook(watch)
    train_tiny(values, run, resumed=resumed)
