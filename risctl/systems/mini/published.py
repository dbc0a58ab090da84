"""Reads the published detector that mini starts from: NanoDet-Plus-m 416 in ncnn's format (RangiLyu, 2021)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from risctl.core.heads.detector import InstanceDetector
from risctl.errors import CheckpointError
from risctl.weights.ncnn import read_ncnn


def read_nanodet_plus(param: Path) -> dict[str, Tensor]:
    """Returns the state of backbone, neck and detection head, as `model.visual.weights` of mini takes it.

    The published network takes BGR and ours RGB, so that the first convolution's input channels are reversed.

    Args:
        param: `nanodet-plus-m_416.param`; the weights are in the `.bin` file beside it.

    Raises:
        CheckpointError: A file is missing or damaged, or is of another network.
    """
    detector = InstanceDetector(plus=True)
    layers = [layer for layer in read_ncnn(param) if layer.kernel is not None]
    ours = list(_convolutions(detector))
    shapes = [tuple(module.weight.shape) for module in ours]
    if [layer.kernel.shape for layer in layers if layer.kernel is not None] != shapes:
        raise CheckpointError(f"{param} is not NanoDet-Plus-m: the shapes of its convolutions differ")
    for module, layer in zip(ours, layers, strict=True):
        if layer.kernel is None or layer.bias is None or module.bias is None:
            raise CheckpointError(f"{param} is not NanoDet-Plus-m: its layer {layer.name} has no bias")
        with torch.no_grad():
            module.weight.copy_(torch.from_numpy(layer.kernel))
            module.bias.copy_(torch.from_numpy(layer.bias))
    with torch.no_grad():
        ours[0].weight.copy_(ours[0].weight.flip(1).clone())
    parts = nn.ModuleDict({"backbone": detector.backbone, "neck": detector.neck, "detect": detector.head})
    return {name: values.contiguous() for name, values in parts.state_dict().items()}


def _convolutions(detector: InstanceDetector) -> Iterator[nn.Conv2d]:
    """Yields the convolutions of backbone, neck and head in the order in which the published file has them."""
    # Typed as Any: torch's containers do not know the types of their members.
    stages: Any = detector.backbone.stages
    towers: Any = detector.head.towers
    neck: Any = detector.neck
    yield detector.backbone.stem  # type: ignore[misc]
    for first, *others in stages:
        short, long = first.short, first.long
        yield from (short[0], long[0], long[1], short[1], long[2])
        for unit in others:
            yield from unit.long
    yield from neck.convolutions()
    for tower in towers:
        yield from tower.layers[:2]
    for tower in reversed(towers):
        yield from tower.layers[2:]
        yield tower.leave
