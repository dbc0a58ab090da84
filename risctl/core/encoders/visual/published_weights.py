"""Loads the weights of backbones that torchvision publishes, from its cache or the net."""

from __future__ import annotations

from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor
from torchvision import models

from risctl.errors import MachineError

_IMAGENET = {
    "resnet18": models.ResNet18_Weights.IMAGENET1K_V1,
    "resnet50": models.ResNet50_Weights.IMAGENET1K_V1,
    "resnet101": models.ResNet101_Weights.IMAGENET1K_V1,
    "mobilenet_v2": models.MobileNet_V2_Weights.IMAGENET1K_V1,
}
_DEEPLABV3 = {
    "resnet50": models.segmentation.DeepLabV3_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1,
    "resnet101": models.segmentation.DeepLabV3_ResNet101_Weights.COCO_WITH_VOC_LABELS_V1,
}


def imagenet_state(name: str) -> dict[str, Tensor]:
    """Returns the ImageNet weights of the backbone `name` without its classifier.

    Raises:
        MachineError: They are not in the cache and cannot be downloaded.
    """
    state = _fetched(_IMAGENET[name])
    return {key: value for key, value in state.items() if not key.startswith(("fc.", "classifier."))}


def deeplabv3_state(name: str) -> dict[str, Tensor]:
    """Returns the backbone of torchvision's DeepLabV3 with ResNet `name`, trained on COCO with Pascal VOC's labels.

    Raises:
        MachineError: As `imagenet_state`.
    """
    state = _fetched(_DEEPLABV3[name])
    return {key.removeprefix("backbone."): value for key, value in state.items() if key.startswith("backbone.")}


def _fetched(weights: Any) -> dict[str, Tensor]:
    try:
        return weights.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        raise MachineError(
            f"expected {weights.url} in torch's cache ({torch.hub.get_dir()}/checkpoints) or on the net, got: {error}; "
            f"put the file there, or set model.visual.weights to a file or to null"
        ) from error
