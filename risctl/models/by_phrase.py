"""Finds boxes by a text with any detector that `AutoModelForZeroShotObjectDetection` opens.

OWL-ViT and OWLv2 compare the boxes of an image with each text: an image is encoded once for all texts of a call.
Grounding DINO, MM Grounding DINO and OmDet-Turbo mix image and text from the start: one forward pass a text.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from risctl.models.instances import Instances, clipped
from risctl.models.tensors import moved
from risctl.zeroshot.text_prompted import token_count

_LEAST = 0.02  # boxes that score less are never chosen
_MOST = 100
_ABSENT = 1_000_000  # a tokenizer that states no length states a far larger number


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    """An image, and what its processor makes of it."""

    image: Image.Image
    inputs: dict[str, Any]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.image.height, self.image.width


class BoxesByPhrase:
    """A detector that is told by text what to find."""

    draws = False

    def __init__(self, model: Any, processor: Any, *, name: str) -> None:
        self.name = name
        self._model, self._processor = model.eval(), processor
        self._process = processor.post_process_grounded_object_detection
        parameters = inspect.signature(self._process).parameters
        self._takes = set(parameters)
        # Each family's own default.
        self.min_score = float(parameters["threshold"].default)
        self._max_tokens = _longest(model, processor.tokenizer)

    @torch.no_grad()
    def encode(self, pixels: np.ndarray) -> _Picture:
        """Prepares an RGB image, uint8 (H, W, 3)."""
        image = Image.fromarray(pixels)
        inputs = moved(self._processor.image_processor(image, return_tensors="pt"), self._model)
        return _Picture(image=image, inputs=inputs)

    @torch.no_grad()
    def find(self, encoded: _Picture, texts: Sequence[str]) -> list[Instances]:
        """Returns the boxes of each text, best first."""
        if not texts:
            return []
        if hasattr(self._model, "image_text_embedder"):
            return self._compared(encoded, texts)
        return [self._mixed(encoded, text) for text in texts]

    def is_truncated(self, text: str) -> bool:
        """Returns whether `text` is longer than the detector reads."""
        return token_count(self._processor.tokenizer, text) > self._max_tokens

    def _compared(self, picture: _Picture, texts: Sequence[str]) -> list[Instances]:
        tokens = self._processor.tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=self._max_tokens, return_tensors="pt"
        ).to(self._model.device)
        output = self._model(
            input_ids=tokens["input_ids"],
            attention_mask=tokens["attention_mask"],
            pixel_values=picture.inputs["pixel_values"],
        )
        return [
            self._instances(
                type(output)(
                    logits=output.logits[..., number : number + 1].float(), pred_boxes=output.pred_boxes.float()
                ),
                picture,
                text,
            )
            for number, text in enumerate(texts)
        ]

    def _mixed(self, picture: _Picture, text: str) -> Instances:
        inputs = self._processor(
            images=picture.image, text=[[text]], return_tensors="pt", truncation=True, max_length=self._max_tokens
        )
        output = self._model(**{**moved(inputs, self._model), **picture.inputs})
        return self._instances(output, picture, text, input_ids=inputs.get("input_ids"))

    def _instances(self, output: Any, picture: _Picture, text: str, *, input_ids: Any = None) -> Instances:
        options = {
            "threshold": _LEAST,
            "text_threshold": _LEAST,
            "target_sizes": [picture.size],
            "text_labels": [[text]],
            "input_ids": input_ids,
        }
        [found] = self._process(output, **{name: value for name, value in options.items() if name in self._takes})
        scores = found["scores"].float().cpu().numpy().astype(np.float32)
        order = np.argsort(-scores, kind="stable")[:_MOST]
        boxes = found["boxes"].float().cpu().numpy().reshape(-1, 4)
        height, width = picture.size
        return Instances(
            boxes=clipped(boxes[order], height=height, width=width),
            scores=scores[order].clip(0, 1),
            names=(text,) * len(order),
        )


def _longest(model: Any, tokenizer: Any) -> int:
    """Returns how many tokens the model reads, by its configuration and its tokenizer."""
    config = model.config
    limits = [tokenizer.model_max_length, getattr(config, "max_text_len", None)]
    for part in (getattr(config, "text_config", None), getattr(config, "text_backbone_config", None)):
        limits.append(getattr(part, "max_position_embeddings", None))
    return min(int(limit) for limit in limits if limit is not None and limit < _ABSENT)
