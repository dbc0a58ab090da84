"""Proposes the instances of Mask2Former (transformers)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional
from transformers import AutoImageProcessor, Mask2FormerForUniversalSegmentation

from risctl.data.download.hub import MODEL, PROCESSOR
from risctl.data.download.pretrained import Pretrained
from risctl.zeroshot.proposals.base import InputImage, Proposals, SourceOptions

DEFAULT = "facebook/mask2former-swin-tiny-coco-instance"


class Mask2Former:
    """Proposes the mask of each query.

    Its score is that of its best class times the mean probability within the mask (Mask2Former, CVPR 2022).
    """

    def __init__(self, model: Any, processor: Any, *, name: str, device: torch.device | str = "cpu") -> None:
        self.name = name
        self._device = torch.device(device)
        self._model, self._processor = model.eval().to(self._device), processor

    @torch.no_grad()
    def __call__(self, image: InputImage) -> Proposals:
        """Returns the masks of the queries, best first."""
        inputs = self._processor(images=Image.fromarray(image.pixels), return_tensors="pt").to(self._device)
        output = self._model(**inputs)
        # The processor pads to the right and below; the library's own post-processing resizes the padding along.
        visible = inputs["pixel_mask"][0].bool()
        height, width = int(visible.any(1).sum()), int(visible.any(0).sum())
        logits = functional.interpolate(
            output.masks_queries_logits.float(), size=tuple(visible.shape), mode="bilinear", align_corners=False
        )[..., :height, :width]
        logits = functional.interpolate(logits, size=image.size, mode="bilinear", align_corners=False)[0]
        masks = logits > 0
        inside = (logits.sigmoid() * masks).flatten(1).sum(1) / masks.flatten(1).sum(1).clamp(min=1)
        scores = output.class_queries_logits[0].float().softmax(-1)[:, :-1].amax(1) * inside
        order = scores.argsort(descending=True, stable=True)
        return Proposals(
            masks=np.ascontiguousarray(masks[order].cpu().numpy()),
            scores=scores[order].cpu().numpy().astype(np.float32),
        )


def load_mask2former(source: str, *, device: torch.device | str = "cpu") -> Mask2Former:
    """Returns the model of a folder or hub id. Raises `CheckpointError` or `MachineError` as `Pretrained`."""
    pretrained = Pretrained(
        source,
        what="a Mask2Former",
        kinds=("mask2former",),
        wanted=(*MODEL, *PROCESSOR),
        option="--proposals mask2former:",
    )
    model, processor = pretrained.model(Mask2FormerForUniversalSegmentation), pretrained.part(AutoImageProcessor)
    return Mask2Former(model, processor, name=f"Mask2Former {source}", device=device)


def build(options: SourceOptions) -> Mask2Former:
    """Returns the model at `options.location`, by default Swin-T trained on COCO's instances."""
    return load_mask2former(options.location or DEFAULT, device=options.device)
