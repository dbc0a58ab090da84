"""SAM, SAM 2, SAM-HQ and EdgeTAM: everything in a picture, by a grid of points (transformers' mask generation)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoConfig, AutoModelForMaskGeneration, AutoProcessor
from transformers.pipelines import MaskGenerationPipeline

from risctl.data.hub import MODEL, PROCESSOR, model_folder
from risctl.errors import CheckpointError
from risctl.proposals.base import Picture, Proposals, none_for

DEFAULT = "facebook/sam-vit-base"
KINDS = ("sam", "sam2", "sam2_video", "sam_hq", "edgetam", "edgetam_video")


class SegmentAnything:
    """A model of the SAM family that proposes masks at `points` x `points` places, filtered by its own scores.

    predicted_iou, stability: the least that a mask needs of each, SAM's own settings by default.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
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
        self._pipeline = MaskGenerationPipeline(
            model=model.eval(), image_processor=processor.image_processor, processor=processor, device=device
        )

    def __call__(self, picture: Picture) -> Proposals:
        """Return the masks that it is sure of."""
        found = self._pipeline(Image.fromarray(picture.pixels), **self._settings)
        if not len(found["masks"]):
            return none_for(picture)
        masks = np.stack([np.asarray(mask).astype(bool) for mask in found["masks"]])
        scores = np.asarray(torch.as_tensor(found["scores"]).float().cpu(), dtype=np.float32).clip(0, 1)
        order = np.argsort(-scores, kind="stable")
        return Proposals(masks=masks[order], scores=scores[order])


def load_segment_anything(source: str, *, device: torch.device | str = "cpu", points: int = 32) -> SegmentAnything:
    """Return the model of a folder or hub id. Raises `CheckpointError` or `MachineError` as `model_folder`."""
    folder = str(model_folder(source, (*MODEL, *PROCESSOR), option="--proposals sam:"))
    try:
        kind = AutoConfig.from_pretrained(folder).model_type
        if kind not in KINDS:
            raise CheckpointError(f"expected a model of the SAM family ({', '.join(KINDS)}) at {source}, got {kind}")
        model = AutoModelForMaskGeneration.from_pretrained(folder, local_files_only=True)
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder} cannot be read as a SAM: {str(error).splitlines()[0]}") from error
    return SegmentAnything(model, processor, name=f"{kind} {source}", points=points, device=device)
