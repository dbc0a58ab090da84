"""SAM, SAM 2, SAM-HQ and EdgeTAM: everything in a picture, by a grid of points (transformers' mask generation)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForMaskGeneration
from transformers.pipelines import MaskGenerationPipeline

from risctl.data.download.hub import MODEL, PROCESSOR
from risctl.data.download.pretrained import Pretrained
from risctl.zeroshot.proposals.base import Picture, Proposals, none_for

DEFAULTS = {
    "sam": "facebook/sam-vit-base",
    "sam2": "facebook/sam2.1-hiera-tiny",
    "sam-hq": "syscv-community/sam-hq-vit-base",
    "edgetam": "yonigozlan/EdgeTAM-hf",
}
"""What each name stands for where no folder or hub id is given with it."""

_FAMILY = {
    "sam2": ("sam2", "sam2_video"),
    "sam-hq": ("sam_hq",),
    "edgetam": ("edgetam", "edgetam_video"),
}
_KINDS = {"sam": ("sam", *(kind for kinds in _FAMILY.values() for kind in kinds)), **_FAMILY}


class _Grid(MaskGenerationPipeline):
    """Mask generation with its points where they belong in pictures that are squashed to a square (SAM 2, EdgeTAM).

    transformers 5 scales their points as if such a picture kept its aspect, as SAM's does: of a picture of 640x480 the
    lower quarter would get none.
    """

    def preprocess(  # type: ignore[override]
        self, image: Any, points_per_batch: int = 64, points_per_crop: int = 32
    ) -> Iterator[dict[str, Any]]:
        """Yield what the model is asked, some points at a time."""
        chunks = super().preprocess(image, points_per_batch, points_per_crop=points_per_crop)
        processor: Any = self.image_processor
        size = processor.size
        if "height" not in size:
            yield from chunks
            return
        # In a square picture both ways of scaling are one.
        square = Image.new("RGB", (size["width"], size["height"]))
        points = processor.generate_crop_boxes(square, size["height"], points_per_crop=points_per_crop)[1]
        start = 0
        for chunk in chunks:
            stop = start + chunk["input_points"].shape[1]
            yield chunk | {"input_points": points[:, start:stop].to(chunk["input_points"])}
            start = stop


class SegmentAnything:
    """A model of the SAM family that proposes masks at `points` x `points` places, filtered by its own scores.

    predicted_iou, stability: the least that a mask needs of each, SAM's own settings by default.
    """

    def __init__(
        self,
        model: Any,
        image_processor: Any,
        *,
        name: str,
        points: int = 32,
        points_per_batch: int = 64,
        predicted_iou: float = 0.88,
        stability: float = 0.95,
        device: torch.device | str = "cpu",
    ) -> None:
        self.name = name
        self._settings = {
            "points_per_crop": points,
            "points_per_batch": points_per_batch,
            "pred_iou_thresh": predicted_iou,
            "stability_score_thresh": stability,
        }
        self._pipeline = _Grid(model=model.eval(), image_processor=image_processor, device=device)

    def __call__(self, picture: Picture) -> Proposals:
        """Return the masks that it is sure of."""
        found = self._pipeline(Image.fromarray(picture.pixels), **self._settings)
        if not len(found["masks"]):
            return none_for(picture)
        masks = np.stack([np.asarray(mask).astype(bool) for mask in found["masks"]])
        scores = np.asarray(torch.as_tensor(found["scores"]).float().cpu(), dtype=np.float32).clip(0, 1)
        order = np.argsort(-scores, kind="stable")
        return Proposals(masks=masks[order], scores=scores[order])


def load_segment_anything(
    source: str | None = None, *, family: str = "sam", device: torch.device | str = "cpu", points: int = 32
) -> SegmentAnything:
    """Return the model of a folder or hub id, by default that of `DEFAULTS`.

    family: a key of `DEFAULTS`; "sam" takes any of them. Raises `CheckpointError` or `MachineError` as `Pretrained`:
    EdgeTAM's backbone needs timm.
    """
    source = source or DEFAULTS[family]
    kind, model, processor = open_segment_anything(source, family=family, option=f"--proposals {family}:")
    return SegmentAnything(model, processor, name=f"{kind} {source}", points=points, device=device)


def open_segment_anything(source: str, *, option: str, family: str = "sam") -> tuple[str, Any, Any]:
    """Return the kind, the model and the image processor of a folder or hub id. Raises as `Pretrained`."""
    found = Pretrained(
        source,
        what="a model of the SAM family",
        kinds=_KINDS[family],
        wanted=(*MODEL, *PROCESSOR),
        option=option,
    )
    return found.kind, found.model(AutoModelForMaskGeneration), found.part(AutoImageProcessor)
