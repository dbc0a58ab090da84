"""Options that several subcommands share, so that they read the same everywhere."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Device(StrEnum):
    """Where to compute. `auto` takes CUDA, else MPS, else the CPU."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


DeviceOption = Annotated[Device, typer.Option("--device", help="Where to compute; auto: CUDA, else MPS, else CPU.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress or log lines on stderr.")]
ModelOption = Annotated[
    Path, typer.Option("--model", "-m", help="A run folder or a checkpoint file (.safetensors).", show_default=False)
]
