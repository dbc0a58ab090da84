"""The file of a contact sheet that `risctl visualize` draws."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from risctl.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from risctl.output_files import OutputFiles

ENDINGS = (".png", ".jpg", ".jpeg")

OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="The file to write, .png or .jpg. Default: named after what it shows, in the current folder.",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True)
class ContactSheetFile:
    """The file of a contact sheet, claimed before anything is computed."""

    path: Path
    outputs: OutputFiles

    @classmethod
    def claim(
        cls, out: Path | None, default: str, *, overwrite: bool, inputs: Iterable[Path | None] = ()
    ) -> ContactSheetFile:
        """Claims `out`, or a file named `default` in the current folder.

        Args:
            out: The requested file.
            default: The name of the file if none was requested, a .png.
            overwrite: Whether a file that is there already may be replaced.
            inputs: Files that the command reads.

        Raises:
            UsageError: It has another ending, cannot be written, is one of the inputs, or is there already.
        """
        from risctl.output_files import OutputFiles, safe_stem

        path = out if out is not None else Path(safe_stem(default.removesuffix(".png")) + ".png")
        if path.suffix.lower() not in ENDINGS:
            raise UsageError(f"expected an output that ends in .png or .jpg, got {path}")
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise UsageError(f"cannot write {path}: name a file in an existing folder")
        outputs = OutputFiles(inputs=inputs, overwrite=overwrite)
        outputs.claim(path)
        return cls(path, outputs)

    def write(self, sheet: np.ndarray) -> None:
        """Writes the contact sheet, uint8 (H, W, 3)."""
        write_contact_sheet(sheet, self.path, outputs=self.outputs)


def write_contact_sheet(sheet: np.ndarray, path: Path, *, outputs: OutputFiles, quality: int = 92) -> None:
    """Writes a contact sheet, uint8 (H, W, 3); `quality` is that of a JPEG."""
    from PIL import Image

    kind = "PNG" if path.suffix.lower() == ".png" else "JPEG"
    with outputs.writing(path) as part:
        Image.fromarray(sheet).save(part, format=kind, quality=quality)
