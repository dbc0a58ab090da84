"""Segments the objects in boxes with SAM, SAM 2, SAM-HQ or EdgeTAM (transformers)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import Sam2Processor, SamHQProcessor, SamProcessor

from risctl.zeroshot.proposals.segment_anything import open_segment_anything

_PROCESSORS: dict[str, Any] = {"sam": SamProcessor, "sam_hq": SamHQProcessor}


class BoxSegmentation:
    """A model of the SAM family that turns boxes into masks."""

    def __init__(self, model: Any, processor: Any, *, name: str, device: torch.device | str = "cpu") -> None:
        self.name = name
        self._model, self._processor = model.eval().to(device), processor

    @torch.no_grad()
    def __call__(self, pixels: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Segments the object in each box.

        Args:
            pixels: RGB image, uint8 (H, W, 3).
            boxes: (N, 4), x1 y1 x2 y2 in pixels.

        Returns:
            Probabilities, float32 (N, H, W).
        """
        if not len(boxes):
            return np.zeros((0, *pixels.shape[:2]), dtype=np.float32)
        inputs = self._processor(
            images=Image.fromarray(pixels), input_boxes=[boxes.astype(float).tolist()], return_tensors="pt"
        )
        # As float32, since not every device has doubles.
        tensors = {name: inputs[name].float().to(self._model.device) for name in ("pixel_values", "input_boxes")}
        masks = self._model(**tensors, multimask_output=False).pred_masks
        sizes = {name: inputs[name].tolist() for name in ("reshaped_input_sizes",) if name in inputs}
        [logits] = self._processor.image_processor.post_process_masks(
            masks.float(), inputs["original_sizes"].tolist(), binarize=False, **sizes
        )
        return logits[:, 0].sigmoid().cpu().numpy()


def load_box_segmentation(source: str, *, option: str, device: torch.device | str = "cpu") -> BoxSegmentation:
    """Returns the model of a folder or hub id, any of the SAM family. Raises as `open_segment_anything`."""
    kind, model, image_processor = open_segment_anything(source, option=option)
    processor = _PROCESSORS.get(kind, Sam2Processor)(image_processor)
    return BoxSegmentation(model, processor, name=f"{kind} {source}", device=device)
