"""`risctl import darknet53`: converts YOLOv3's weights into a backbone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.import_.out_option import OutOption, claim
from risctl.cli.options import JsonOption, OverwriteOption, QuietOption

EXAMPLE = "Example: risctl import darknet53 yolov3.weights --out darknet53.safetensors"


def import_darknet53(
    source: Annotated[
        Path, typer.Argument(help="YOLOv3's weights: Darknet's .weights or Keras .h5.", show_default=False)
    ],
    out: OutOption,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Convert YOLOv3's weights (Darknet-53 and its first head) into a backbone for `model.visual.weights`."""
    from risctl.checkpoints import import_backbone

    claim(out, source, overwrite=overwrite)
    with console.quiet_if(quiet):
        count = import_backbone.import_darknet53(source, out)
        console.say(f"Darknet-53: {count:,} parameters")
        console.result(str(out), data={"path": str(out), "numbers": count}, as_json=as_json)
