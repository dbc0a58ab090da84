"""Finds instances of trained categories with any detector or segmenter that transformers' Auto classes open.

`AutoModelForObjectDetection` gives boxes (DETR, RT-DETR, RF-DETR, D-FINE, YOLOS, …); masks come from
`AutoModelForUniversalSegmentation` (Mask2Former, MaskFormer, OneFormer, EoMT) and `AutoModelForInstanceSegmentation`
(RF-DETR Seg).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from risctl.errors import CheckpointError
from risctl.models.batches import batched
from risctl.models.instances import Instances, clipped
from risctl.models.nouns import coco_name
from risctl.models.tensors import moved

_LEAST = 0.05  # instances that score less are never chosen, and there are hundreds
_MOST = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class _Output:
    """What is read of a network's output, in single precision: not all post-processing takes another."""

    logits: Tensor | None = None
    pred_boxes: Tensor | None = None
    pred_masks: Tensor | None = None
    masks_queries_logits: Tensor | None = None
    class_queries_logits: Tensor | None = None


class BoxFinder:
    """A detector of trained categories."""

    draws = False
    # As in the library's own examples of these detectors.
    min_score = 0.5

    def __init__(self, model: Any, processor: Any, *, name: str) -> None:
        self.name = name
        self._model, self._processor = model.eval(), processor
        self.labels = labels_of(model)

    def find(self, pixels: np.ndarray) -> Instances:
        """Returns the boxes in an RGB image, uint8 (H, W, 3), best first."""
        return self.find_images([pixels])[0]

    @torch.no_grad()
    def find_images(self, images: Sequence[np.ndarray]) -> list[Instances]:
        """Returns what `find` does of each image; those that the processor gives one size in one forward pass."""
        made = [self._processor(images=Image.fromarray(pixels), return_tensors="pt") for pixels in images]
        outputs = batched([_inputs(one, self._model) for one in made], lambda some: _read(self._model(**some)))
        return [self._instances(_Output(**output), pixels) for output, pixels in zip(outputs, images, strict=True)]

    def _instances(self, output: _Output, pixels: np.ndarray) -> Instances:
        [found] = self._processor.post_process_object_detection(
            output, threshold=_LEAST, target_sizes=[pixels.shape[:2]]
        )
        scores = found["scores"].float().cpu().numpy().astype(np.float32)
        order = np.argsort(-scores, kind="stable")[:_MOST]
        boxes = found["boxes"].float().cpu().numpy()
        return Instances(
            boxes=clipped(boxes[order], height=pixels.shape[0], width=pixels.shape[1]),
            scores=scores[order].clip(0, 1),
            names=tuple(self.labels[int(label)] for label in found["labels"][order.tolist()]),
        )


class MaskFinder:
    """An instance segmenter of trained categories."""

    draws = True
    min_score = 0.5

    def __init__(self, model: Any, processor: Any, *, name: str) -> None:
        self.name = name
        self._model, self._processor = model.eval(), processor
        self.labels = labels_of(model)

    def find(self, pixels: np.ndarray) -> Instances:
        """Returns the instances in an RGB image, uint8 (H, W, 3), best first.

        Raises:
            CheckpointError: The model gives masks in a form that is not known.
        """
        return self.find_images([pixels])[0]

    @torch.no_grad()
    def find_images(self, images: Sequence[np.ndarray]) -> list[Instances]:
        """Returns what `find` does of each image; those that the processor gives one size in one forward pass."""
        # OneFormer is told what to segment.
        task = {"task_inputs": ["instance"]} if hasattr(self._processor, "task_seq_length") else {}
        made = [self._processor(images=Image.fromarray(one), return_tensors="pt", **task) for one in images]
        inputs = [_inputs(one, self._model) for one in made]
        outputs = batched(inputs, lambda some: _read(self._model(**some)))
        return [
            self._instances(_Output(**output), (pixels.shape[0], pixels.shape[1]), one.get("pixel_mask"))
            for output, pixels, one in zip(outputs, images, inputs, strict=True)
        ]

    def _instances(self, output: _Output, size: tuple[int, int], visible: Tensor | None) -> Instances:
        if output.masks_queries_logits is not None and output.class_queries_logits is not None:
            return self._of_queries(output.masks_queries_logits[0], output.class_queries_logits[0], size, visible)
        process = getattr(self._processor, "post_process_instance_segmentation", None)
        if process is None or "return_binary_maps" not in inspect.signature(process).parameters:
            raise CheckpointError(
                f"{self.name}: {self._model.config.model_type} gives masks in a form that risctl does not read; "
                "use one of mask2former, maskformer, oneformer, eomt, rf_detr"
            )
        [found] = process(output, threshold=_LEAST, target_sizes=[size], return_binary_maps=True)
        segments = found["segments_info"][:_MOST]
        masks = found["segmentation"].reshape(-1, *size)[: len(segments)].bool() if segments else torch.zeros(0, *size)
        scores = np.array([one["score"] for one in segments], dtype=np.float32).clip(0, 1)
        return Instances(
            boxes=_boxes_of(masks.cpu().numpy().astype(bool)),
            scores=scores,
            names=tuple(self.labels[int(one["label_id"])] for one in segments),
            draw=_Whole(masks.float()),
        )

    def _of_queries(self, logits: Tensor, classes: Tensor, size: tuple[int, int], visible: Tensor | None) -> Instances:
        """Returns the instance of each query: its best class times the mean probability within its mask."""
        if visible is not None:
            # The processor pads to the right and below; the library's own post-processing resizes the padding along.
            shape = visible.shape[-2:]
            rows, columns = int(visible[0].bool().any(1).sum()), int(visible[0].bool().any(0).sum())
            logits = _resized(logits, (shape[0], shape[1]))[:, :rows, :columns]
        elif hasattr(self._processor, "unpad_image"):
            side = self._processor.size
            padded = (side.get("height", side.get("shortest_edge")), side.get("width", side.get("shortest_edge")))
            [logits] = self._processor.unpad_image(_resized(logits, padded)[None], [size], side)
        masks = logits > 0
        inside = (logits.sigmoid() * masks).flatten(1).sum(1) / masks.flatten(1).sum(1).clamp(min=1)
        best = classes.softmax(-1)[:, :-1].max(1)
        scores = best.values * inside
        kept = torch.nonzero((scores > _LEAST) & masks.flatten(1).any(1))[:, 0]
        kept = kept[scores[kept].argsort(descending=True, stable=True)][:_MOST]
        # The boxes of masks before they are resized: full masks of all queries would take gigabytes.
        scale = np.array([size[1] / logits.shape[2], size[0] / logits.shape[1]] * 2, dtype=np.float32)
        return Instances(
            boxes=clipped(_boxes_of(masks[kept].cpu().numpy()) * scale, height=size[0], width=size[1]),
            scores=scores[kept].cpu().numpy().clip(0, 1),
            names=tuple(self.labels[int(label)] for label in best.indices[kept]),
            draw=_Scaled(logits[kept], size),
        )


@dataclass(frozen=True, slots=True)
class _Whole:
    """Masks (N, H, W) of the image's size."""

    masks: Tensor

    def __call__(self, positions: Sequence[int]) -> np.ndarray:
        return self.masks[list(positions)].cpu().numpy()


@dataclass(frozen=True, slots=True)
class _Scaled:
    """Logits (N, h, w) that are resized to the image's size (H, W) where they are drawn."""

    logits: Tensor
    size: tuple[int, int]

    def __call__(self, positions: Sequence[int]) -> np.ndarray:
        return _resized(self.logits[list(positions)], self.size).sigmoid().cpu().numpy()


def _inputs(made: Mapping[str, Any], model: Any) -> dict[str, Tensor]:
    """Returns what a processor made, without what only its post-processing reads."""
    return moved({name: made[name] for name in ("pixel_values", "pixel_mask", "task_inputs") if name in made}, model)


def _read(output: Any) -> dict[str, Tensor]:
    names = [one.name for one in fields(_Output)]
    return {name: output[name].float() for name in names if output.get(name) is not None}


def labels_of(model: Any) -> tuple[str, ...]:
    """Returns the categories of a model by their numbers, by COCO's names where they have one.

    Raises:
        CheckpointError: The configuration does not number them from 0.
    """
    named = model.config.id2label
    if sorted(named) != list(range(len(named))):
        raise CheckpointError(f"expected the categories of {model.config.model_type} to be numbered from 0 in id2label")
    return tuple(coco_name(str(named[number])) for number in range(len(named)))


def _resized(logits: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(logits[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def _boxes_of(masks: np.ndarray) -> np.ndarray:
    """Returns the boxes (N, 4), x1 y1 x2 y2, of bool masks (N, h, w), none of them empty."""
    boxes = np.zeros((len(masks), 4), dtype=np.float32)
    for row, mask in enumerate(masks):
        columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
        boxes[row] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes
