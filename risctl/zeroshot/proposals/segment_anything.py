"""Proposes everything that SAM, SAM 2, SAM-HQ or EdgeTAM segment by a grid of points (transformers)."""

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
from risctl.zeroshot.proposals.base import InputImage, Proposals, SourceOptions, no_proposals

DEFAULTS = {
    "sam": "facebook/sam-vit-base",
    "sam2": "facebook/sam2.1-hiera-tiny",
    "sam-hq": "syscv-community/sam-hq-vit-base",
    "edgetam": "yonigozlan/EdgeTAM-hf",
}
"""The hub id that each name stands for where no other is given."""

_FAMILY = {
    "sam2": ("sam2", "sam2_video"),
    "sam-hq": ("sam_hq",),
    "edgetam": ("edgetam", "edgetam_video"),
}
_OF_SAM_3 = {
    r"^detector_model\.vision_encoder\.backbone\.": "vision_encoder.backbone.",
    r"^tracker_neck\.": "vision_encoder.neck.",
    r"^tracker_model\.(.+)": r"\1",
}
"""What segments boxes in SAM 3's published weights, which detect and track. Saved by transformers, the tracker's names
have their prefix twice, of which the library takes off one."""

_KINDS = {"sam": ("sam", *(kind for kinds in _FAMILY.values() for kind in kinds)), **_FAMILY}


class _PointGridPipeline(MaskGenerationPipeline):
    """Mask generation whose points also cover images that are resized to a square (SAM 2, EdgeTAM).

    transformers 5 scales their points as if such an image kept its aspect ratio, as SAM's does: the lower quarter of a
    640x480 image would get none.
    """

    def preprocess(  # type: ignore[override]
        self, image: Any, points_per_batch: int = 64, points_per_crop: int = 32
    ) -> Iterator[dict[str, Any]]:
        """Yields the model's inputs, some points at a time."""
        chunks = super().preprocess(image, points_per_batch, points_per_crop=points_per_crop)
        processor: Any = self.image_processor
        size = processor.size
        if "height" not in size:
            yield from chunks
            return
        # For a square image both ways of scaling agree.
        square = Image.new("RGB", (size["width"], size["height"]))
        points = processor.generate_crop_boxes(square, size["height"], points_per_crop=points_per_crop)[1]
        start = 0
        for chunk in chunks:
            stop = start + chunk["input_points"].shape[1]
            yield chunk | {"input_points": points[:, start:stop].to(chunk["input_points"])}
            start = stop


class SegmentAnything:
    """Proposes the masks of a model of the SAM family at a grid of points, filtered by the model's own scores."""

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
        """Builds the source.

        Args:
            model: The model, of transformers.
            image_processor: Its image processor.
            name: How reports name the source.
            points: Points on each side of the grid.
            points_per_batch: Points that are decoded together.
            predicted_iou: The least predicted IoU of a mask; SAM's own setting by default.
            stability: The least stability score of a mask; SAM's own setting by default.
            device: Where the model computes.
        """
        self.name = name
        self._settings = {
            "points_per_crop": points,
            "points_per_batch": points_per_batch,
            "pred_iou_thresh": predicted_iou,
            "stability_score_thresh": stability,
        }
        self._pipeline = _PointGridPipeline(model=model.eval(), image_processor=image_processor, device=device)

    def __call__(self, image: InputImage) -> Proposals:
        """Returns the masks above both thresholds, best first."""
        output = self._pipeline(Image.fromarray(image.pixels), **self._settings)
        if not len(output["masks"]):
            return no_proposals(image)
        masks = np.stack([np.asarray(mask).astype(bool) for mask in output["masks"]])
        scores = np.asarray(torch.as_tensor(output["scores"]).float().cpu(), dtype=np.float32).clip(0, 1)
        order = np.argsort(-scores, kind="stable")
        return Proposals(masks=masks[order], scores=scores[order])


def load_segment_anything(
    source: str | None = None, *, family: str = "sam", device: torch.device | str = "cpu", points: int = 32
) -> SegmentAnything:
    """Returns the model of a folder or hub id, by default that of `DEFAULTS`.

    Args:
        source: A folder or hub id.
        family: A key of `DEFAULTS`; "sam" takes a model of any of them.
        device: Where the model computes.
        points: Points on each side of the grid.

    Raises:
        CheckpointError: There is no such model.
        MachineError: It cannot be downloaded, or needs a package that is missing (EdgeTAM's backbone needs timm).
    """
    source = source or DEFAULTS[family]
    kind, model, processor = open_segment_anything(source, family=family, option=f"--proposals {family}:")
    return SegmentAnything(model, processor, name=f"{kind} {source}", points=points, device=device)


def open_segment_anything(source: str, *, option: str, family: str | None = "sam") -> tuple[str, Any, Any]:
    """Returns the `model_type`, the model and the image processor of a folder or hub id. Raises as `Pretrained`.

    Args:
        source: A folder or hub id.
        option: The option that names it, for messages.
        family: A key of `DEFAULTS`; None: any model that `AutoModelForMaskGeneration` opens.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASK_GENERATION_MAPPING_NAMES

    pretrained = Pretrained(
        source,
        what="a model of the SAM family",
        kinds=tuple(MODEL_FOR_MASK_GENERATION_MAPPING_NAMES) if family is None else _KINDS[family],
        wanted=(*MODEL, *PROCESSOR),
        option=option,
    )
    renamed = _OF_SAM_3 if pretrained.kind == "sam3_video" else None
    model = pretrained.model(AutoModelForMaskGeneration, renamed=renamed)
    return pretrained.kind, model, pretrained.part(AutoImageProcessor)


def build(options: SourceOptions) -> SegmentAnything:
    """Returns the model at `options.location`, by default that of `DEFAULTS` for the source's name."""
    return load_segment_anything(options.location or None, family=options.name, device=options.device)
