"""Imports published weights of backbones."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from risctl.checkpoints.checkpoint import checked_output
from risctl.core.encoders.visual.darknet53_weights import read_darknet53
from risctl.core.encoders.visual.deeplab_weights import read_deeplab
from risctl.files import replacing
from risctl.systems.mini.published import read_nanodet_plus


def import_darknet53(source: Path, out: Path) -> int:
    """Writes Darknet-53 weights (`.weights` or Keras h5) as a backbone for `model.visual.weights`.

    Args:
        source: The published file.
        out: The safetensors file to write.

    Returns:
        How many numbers were written.

    Raises:
        CheckpointError: The file is of another network.
    """
    return _write(read_darknet53(source), out, source=source, backbone="darknet53")


def import_deeplab(source: Path, out: Path) -> int:
    """Writes DeepLab v2's ResNet-101 as a backbone for `model.visual.weights` of `deeplab_resnet101`.

    Args:
        source: A file that `deeplab_weights.read_deeplab` takes.
        out: The safetensors file to write.

    Returns:
        How many numbers were written.

    Raises:
        CheckpointError: The file is of another network.
    """
    return _write(read_deeplab(source), out, source=source, backbone="deeplab_resnet101")


def import_nanodet_plus(source: Path, out: Path) -> int:
    """Writes NanoDet-Plus-m's backbone, neck and head for `model.visual.weights` of mini.

    Args:
        source: ncnn's `.param` file, with its `.bin` beside it.
        out: The safetensors file to write.

    Returns:
        How many numbers were written.

    Raises:
        CheckpointError: The file is of another network.
    """
    return _write(read_nanodet_plus(source), out, source=source, backbone="nanodet-plus")


def _write(state: dict[str, Tensor], out: Path, *, source: Path, backbone: str) -> int:
    with replacing(checked_output(out)) as beside:
        save_file(state, beside, metadata={"imported_from": source.name, "backbone": backbone})
    return sum(values.numel() for values in state.values())
