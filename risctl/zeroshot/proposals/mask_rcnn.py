"""Proposes the instances of Mask R-CNN (torchvision, ResNet-50 FPN)."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import numpy as np
import torch
from torch import nn
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights, maskrcnn_resnet50_fpn

from risctl.core.encoders.load_weights import load_state
from risctl.errors import MachineError
from risctl.weights.pytorch_file import read_state
from risctl.zeroshot.proposals.base import InputImage, Proposals, SourceOptions, no_proposals


class MaskRCNN:
    """Proposes the detected instances of every class; a mask is where the probability is above 0.5."""

    def __init__(self, model: nn.Module, *, name: str, device: torch.device | str = "cpu") -> None:
        self.name = name
        self._device = torch.device(device)
        self._model = model.eval().to(self._device)

    @torch.no_grad()
    def __call__(self, image: InputImage) -> Proposals:
        """Returns the detections, best first."""
        pixels = torch.from_numpy(image.pixels).permute(2, 0, 1).float() / 255
        [detections] = self._model([pixels.to(self._device)])
        if not len(detections["scores"]):
            return no_proposals(image)
        masks = detections["masks"][:, 0] > 0.5
        categories = detections["labels"].cpu().numpy().astype(np.int64)
        return Proposals(masks=masks.cpu().numpy(), scores=detections["scores"].cpu().numpy(), categories=categories)


def load_mask_rcnn(weights: str | None, *, device: torch.device | str = "cpu") -> MaskRCNN:
    """Returns torchvision's model.

    Args:
        weights: A `.pth` file of the model's state; None for torchvision's COCO weights.
        device: Where the model computes.

    Raises:
        CheckpointError: The file holds something else.
        MachineError: The weights are not on this machine and cannot be downloaded.
    """
    published = MaskRCNN_ResNet50_FPN_Weights.COCO_V1
    if weights is None:
        try:
            model = maskrcnn_resnet50_fpn(weights=published, progress=False)
        except (URLError, OSError, RuntimeError) as error:
            name = published.url.rsplit("/", 1)[-1]
            raise MachineError(
                f"Mask R-CNN's weights {name} are not on this machine and cannot be downloaded ({error}). Get "
                f"{published.url} where there is a network and give it as --proposals mask-rcnn:{name}, or put it into "
                f"{torch.hub.get_dir()}/checkpoints"
            ) from error
        return MaskRCNN(model, name="Mask R-CNN R50-FPN (torchvision, COCO)", device=device)
    state = read_state(Path(weights), what="torchvision's Mask R-CNN R50-FPN", inside=())
    model = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    load_state(model, state, source=str(weights))
    return MaskRCNN(model, name=f"Mask R-CNN {weights}", device=device)


def build(options: SourceOptions) -> MaskRCNN:
    """Returns the model with the weights at `options.location`, by default torchvision's."""
    return load_mask_rcnn(options.location or None, device=options.device)
