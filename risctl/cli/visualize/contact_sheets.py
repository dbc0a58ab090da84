"""Where the sheets of `risctl visualize` go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from risctl.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

ENDINGS = (".png", ".jpg", ".jpeg")

OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", help="The file to write, .png or .jpg. Default: named after what it shows, here.",
        show_default=False,
    ),
]  # fmt: skip
ThresholdOption = Annotated[
    float | None,
    typer.Option("--threshold", help="A pixel is in the mask if its probability is above this. Default: the recipe's."),
]


def sheet_path(out: Path | None, default: str) -> Path:
    """Return where the sheet goes, before anything is computed: `out`, else a file named `default` here.

    Raises `UsageError` for another kind of file, or one that cannot be written.
    """
    path = out if out is not None else Path(default)
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f"expected an output that ends in .png or .jpg, got {path}")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UsageError(f"cannot write {path}: name a file in a folder that is there")
    return path


def write_sheet(sheet: np.ndarray, path: Path) -> None:
    """Write a sheet (H, W, 3) uint8, whole or not at all."""
    from PIL import Image

    from risctl.files import replacing

    with replacing(path) as beside:
        Image.fromarray(sheet).save(beside, format="PNG" if path.suffix.lower() == ".png" else "JPEG", quality=92)
