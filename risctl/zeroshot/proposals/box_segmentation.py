"""Segments the objects in boxes with a model that `AutoModelForMaskGeneration` opens: SAM and its successors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import Sam2Processor, SamHQProcessor, SamProcessor

from risctl.zeroshot.proposals.segment_anything import open_segment_anything

_PROCESSORS: dict[str, Any] = {"sam": SamProcessor, "sam_hq": SamHQProcessor}
_BOXES = 16  # boxes that are decoded together


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentedImage:
    """An image that was encoded for masks of boxes.

    Attributes:
        image: The image.
        embeddings: What the model's forward pass takes in place of pixels.
    """

    image: Image.Image
    embeddings: dict[str, Any]


class BoxSegmentation:
    """A model of the SAM family that turns boxes into masks."""

    def __init__(self, model: Any, processor: Any, *, name: str, device: torch.device | str = "cpu") -> None:
        self.name = name
        self._model, self._processor = model.eval().to(device), processor

    def __call__(self, pixels: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Segments the object in each box; see `encode` and `masks`."""
        if not len(boxes):
            return np.zeros((0, *pixels.shape[:2]), dtype=np.float32)
        return self.masks(self.encode(pixels), boxes)

    @torch.no_grad()
    def encode(self, pixels: np.ndarray) -> SegmentedImage:
        """Encodes an RGB image, uint8 (H, W, 3), for any boxes."""
        image = Image.fromarray(pixels)
        values = self._processor.image_processor(image, return_tensors="pt")["pixel_values"]
        found = self._model.get_image_embeddings(values.to(self._model.device, self._model.dtype))
        # SAM-HQ's decoder also reads the maps of its encoder's first stages.
        names = ("image_embeddings", "intermediate_embeddings")
        named = dict(zip(names, found, strict=True)) if isinstance(found, tuple) else {names[0]: found}
        return SegmentedImage(image=image, embeddings=named)

    @torch.no_grad()
    def masks(self, encoded: SegmentedImage, boxes: np.ndarray) -> np.ndarray:
        """Segments the object in each box.

        Args:
            encoded: What `encode` returned.
            boxes: (N, 4), x1 y1 x2 y2 in pixels.

        Returns:
            Probabilities, float32 (N, H, W).
        """
        height, width = encoded.image.height, encoded.image.width
        found = [np.zeros((0, height, width), dtype=np.float32)]
        for start in range(0, len(boxes), _BOXES):
            some = boxes[start : start + _BOXES].astype(float).tolist()
            inputs = self._processor(images=encoded.image, input_boxes=[some], return_tensors="pt")
            # Not every device has doubles.
            corners = inputs["input_boxes"].to(self._model.device, self._model.dtype)
            masks = self._model(input_boxes=corners, multimask_output=False, **encoded.embeddings).pred_masks
            sizes = {name: inputs[name].tolist() for name in ("reshaped_input_sizes",) if name in inputs}
            [logits] = self._processor.image_processor.post_process_masks(
                masks.float(), inputs["original_sizes"].tolist(), binarize=False, **sizes
            )
            found.append(logits[:, 0].sigmoid().cpu().numpy())
        return np.concatenate(found)


def load_box_segmentation(
    source: str, *, option: str, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> BoxSegmentation:
    """Returns the model of a folder or hub id, any that segments by prompt. Raises as `open_segment_anything`."""
    kind, model, image_processor = open_segment_anything(source, option=option, family=None)
    processor = _PROCESSORS.get(kind, Sam2Processor)(image_processor)
    return BoxSegmentation(model.to(dtype), processor, name=f"{kind} {source}", device=device)
