"""Checks where the contact sheets of `risctl visualize` go, and writes them."""

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


def contact_sheet_path(out: Path | None, default: str) -> Path:
    """Returns where the contact sheet goes, before anything is computed: `out`, else a file named `default` here.

    Raises:
        UsageError: A file of another kind, or one that cannot be written.
    """
    path = out if out is not None else Path(default)
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f"expected an output that ends in .png or .jpg, got {path}")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UsageError(f"cannot write {path}: name a file in a folder that is there")
    return path


def write_contact_sheet(sheet: np.ndarray, path: Path, *, quality: int = 92) -> None:
    """Writes a contact sheet, uint8 (H, W, 3), whole or not at all; `quality` is that of a JPEG."""
    from PIL import Image

    from risctl.files import replacing

    with replacing(path) as beside:
        Image.fromarray(sheet).save(beside, format="PNG" if path.suffix.lower() == ".png" else "JPEG", quality=quality)
