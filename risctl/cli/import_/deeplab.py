"""`risctl import deeplab-resnet101`: converts DeepLab v2's weights into a backbone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.import_.out_option import OutOption, claim
from risctl.cli.options import JsonOption, OverwriteOption, QuietOption

EXAMPLE = "Example: risctl import deeplab-resnet101 deeplab_resnet.ckpt --out backbone.safetensors"


def import_deeplab(
    source: Annotated[
        Path,
        typer.Argument(
            help="A TensorFlow checkpoint, a .caffemodel, or arrays under either's names (.npz, .safetensors, .h5).",
            show_default=False,
        ),
    ],
    out: OutOption,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Convert DeepLab v2's ResNet-101, which STEP starts from, into a backbone for `model.visual.weights`.

    The classifier and the optimizer's state are left out. Neither TensorFlow nor Caffe is needed.
    """
    from risctl.checkpoints import import_backbone

    claim(out, source, overwrite=overwrite)
    with console.quiet_if(quiet):
        count = import_backbone.import_deeplab(source, out)
        console.say(f"DeepLab ResNet-101: {count:,} parameters")
        console.result(str(out), data={"path": str(out), "numbers": count}, as_json=as_json)
