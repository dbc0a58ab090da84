"""Reads Darknet-53 with YOLOv3's head from Darknet's binary `.weights` or the Keras h5 made from it.

Names are those of `core.encoders.visual.darknet53.Darknet53`, its 58 blocks in order.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from risctl.core.encoders.visual.darknet53 import Darknet53
from risctl.errors import CheckpointError
from risctl.weights.keras_h5 import read_keras_weights
from risctl.weights.pairing import WeightReader, kernel, tensor

BLOCKS = 58


def read_darknet53(path: Path) -> dict[str, Tensor]:
    """Reads the state dict of `Darknet53` from a `.weights` or `.h5` file; YOLO's other layers are left out.

    Raises:
        CheckpointError: The file is missing, truncated, or of another network.
    """
    if not path.is_file():
        raise CheckpointError(f"expected Darknet weights at {path}, found no file")
    return _from_keras(path) if path.suffix in (".h5", ".hdf5") else _from_binary(path)


def block_names() -> list[str]:
    """Returns the names of the 58 blocks of `Darknet53` in order, for instance `stages.0.0`."""
    with torch.device("meta"):
        backbone = Darknet53()
    blocks = {id(block) for block in backbone.blocks()}
    return [name for name, module in backbone.named_modules() if id(module) in blocks]


def norm_from_keras(reader: WeightReader, source: str, target: str) -> dict[str, Tensor]:
    """Returns the state of the batch norm `target`, taken from the Keras layer `source`."""
    pairs = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    return {f"{target}.{ours}": tensor(reader.take(f"{source}/{source}/{theirs}:0")) for ours, theirs in pairs.items()}


def blocks_from_keras(reader: WeightReader, prefix: str = "") -> dict[str, Tensor]:
    """Returns the state of the 58 blocks, `conv2d_i` with `batch_normalization_i`, under names with `prefix`."""
    state = {}
    for number, name in enumerate(block_names(), start=1):
        layer = f"conv2d_{number}"
        state[f"{prefix}{name}.conv.weight"] = kernel(reader.take(f"{layer}/{layer}/kernel:0"))
        state |= norm_from_keras(reader, f"batch_normalization_{number}", f"{prefix}{name}.norm")
    return state


def _from_keras(path: Path) -> dict[str, Tensor]:
    wanted = {f"{kind}_{number}" for kind in ("conv2d", "batch_normalization") for number in range(1, BLOCKS + 1)}
    arrays = {name: values for name, values in read_keras_weights(path).items() if name.split("/")[0] in wanted}
    reader = WeightReader(arrays, source=path)
    state = blocks_from_keras(reader)
    reader.finish()
    return _checked(state, path)


def _from_binary(path: Path) -> dict[str, Tensor]:
    """Reads Darknet's own format.

    A header (three int32: major, minor, revision; images seen, 8 bytes from version 0.2 on, else 4), then per
    convolution with a norm: biases, scales, means, variances, kernel (out, in, h, w), all float32.
    """
    size = path.stat().st_size
    if size < 20:
        raise CheckpointError(f"expected Darknet weights in {path}, got a file of {size} bytes")
    major, minor, _ = np.fromfile(path, dtype="<i4", count=3)
    if not (0 <= major < 1000 and 0 <= minor < 1000):
        raise CheckpointError(f"expected Darknet weights in {path}, its header names version {major}.{minor}")
    header = 12 + (8 if major * 10 + minor >= 2 else 4)
    values = np.memmap(path, dtype="<f4", mode="r", offset=header, shape=((size - header) // 4,))
    with torch.device("meta"):
        backbone = Darknet53()
    state: dict[str, Tensor] = {}
    at = 0
    for name, block in zip(block_names(), backbone.blocks(), strict=True):
        width = block.norm.num_features
        for key in ("bias", "weight", "running_mean", "running_var"):
            state[f"{name}.norm.{key}"] = tensor(_slice(values, at, width, path))
            at += width
        shape = tuple(block.conv.weight.shape)
        count = block.conv.weight.numel()
        state[f"{name}.conv.weight"] = tensor(_slice(values, at, count, path).reshape(shape))
        at += count
    return _checked(state, path)


def _slice(values: np.ndarray, at: int, count: int, path: Path) -> np.ndarray:
    if at + count > len(values):
        raise CheckpointError(
            f"{path} ends early: expected at least {at + count} numbers, got {len(values)}; "
            f"is it a complete yolov3.weights? (darknet53.conv.74 lacks YOLO's head)"
        )
    return values[at : at + count]


def _checked(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Returns `state`; refuses numbers that no trained network has, as a file of another layout would give."""
    with torch.device("meta"):
        own = Darknet53().state_dict()
    for name, values in state.items():
        if values.shape != own[name].shape:
            raise CheckpointError(
                f"{path} is not a Darknet-53: {name} is {tuple(values.shape)}, expected {tuple(own[name].shape)}"
            )
        if not values.isfinite().all() or (name.endswith("running_var") and values.min() < 0):
            raise CheckpointError(f"{path} is damaged or not a Darknet-53: {name} holds impossible numbers")
    return state
