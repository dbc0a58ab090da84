"""The option `--out` of `risctl import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

OutOption = Annotated[Path, typer.Option("--out", "-o", help="The .safetensors file to write.", show_default=False)]


def claim(out: Path, *inputs: Path | str | None, overwrite: bool) -> Path:
    """Returns `out`. Raises `UsageError` if it is one of the files that are read, or is there and must stay."""
    from risctl.output_files import OutputFiles

    OutputFiles(inputs=[Path(path) for path in inputs if path is not None], overwrite=overwrite).claim(out)
    return out
