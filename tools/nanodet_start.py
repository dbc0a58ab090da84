"""Converts NanoDet-m's ONNX file to initial weights for mini's backbone, neck and detection head.

    python tools/nanodet_start.py nanodet_m.onnx start.safetensors

Needs the `onnx` package. The file's norms are folded into its convolutions and its tensors named by number, but its
convolutions are in the order of our modules. It was trained on BGR and we feed RGB, so the first convolution's input
channels are reversed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from safetensors.torch import save_file
from torch import Tensor, nn

from risctl.core.encoders.visual.shufflenet import ShuffleNet
from risctl.core.fusion.pan import PathAggregation
from risctl.core.heads.detection import DetectionHead


def convolutions(path: Path) -> list[tuple[Tensor, Tensor]]:
    """Returns (weight, bias) of the file's convolutions in graph order."""
    graph = onnx.load(str(path)).graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    found = []
    for node in graph.node:
        if node.op_type == "Conv":
            weight, bias = (torch.from_numpy(numpy_helper.to_array(tensors[name]).copy()) for name in node.input[1:])
            found.append((weight, bias))
    return found


def start(path: Path) -> nn.ModuleDict:
    """Returns backbone, neck and detection head with the weights of the ONNX file `path`."""
    parts = nn.ModuleDict(
        {
            "backbone": ShuffleNet(),
            "neck": PathAggregation(ShuffleNet.channels[1:], channels=96),
            "detect": DetectionHead(96, classes=80, strides=ShuffleNet.strides[1:]),
        }
    )
    layers = [layer for layer in parts.modules() if isinstance(layer, nn.Conv2d)]
    found = convolutions(path)
    if [tuple(layer.weight.shape) for layer in layers] != [tuple(weight.shape) for weight, _ in found]:
        raise SystemExit(f"{path} is not NanoDet-m: the shapes of its convolutions differ")
    with torch.no_grad():
        for layer, (weight, bias) in zip(layers, found, strict=True):
            layer.weight.copy_(weight)
            if layer.bias is not None:
                layer.bias.copy_(bias)
        stem = layers[0].weight
        stem.copy_(stem.flip(1))
    return parts


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    save_file({name: one.contiguous() for name, one in start(Path(sys.argv[1])).state_dict().items()}, sys.argv[2])
