"""Text-prompted networks of transformers, to be compared in the zero-shot seat; none needs proposals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional


class TextPrompted(Protocol):
    """A network that is asked texts about a picture."""

    name: str

    def maps(self, pixels: np.ndarray, texts: Sequence[str]) -> list[tuple[np.ndarray, float]]:
        """Return, for each text, probabilities float32 (H, W) and a score in [0, 1]."""


class CLIPSeg:
    """CLIPSeg (CVPR 2022): the probability of each pixel, resized from its 352x352 bilinearly."""

    def __init__(self, model: Any, processor: Any, *, name: str, batch: int = 16) -> None:
        self.name = name
        self._model, self._processor, self._batch = model.eval(), processor, batch

    @torch.no_grad()
    def maps(self, pixels: np.ndarray, texts: Sequence[str]) -> list[tuple[np.ndarray, float]]:
        """Return the maps of `texts`; the score is the mean probability over the mask, 0 if that is empty."""
        device = self._model.device
        image = self._processor.image_processor(Image.fromarray(pixels), return_tensors="pt")["pixel_values"].to(device)
        found = []
        for start in range(0, len(texts), self._batch):
            some = list(texts[start : start + self._batch])
            words = self._processor.tokenizer(some, padding=True, truncation=True, return_tensors="pt").to(device)
            logits = self._model(pixel_values=image.expand(len(some), -1, -1, -1), **words).logits
            logits = logits.reshape(len(some), 1, *logits.shape[-2:]).float()
            full = functional.interpolate(logits, size=pixels.shape[:2], mode="bilinear", align_corners=False)[:, 0]
            found += [_with_score(one) for one in full.sigmoid()]
        return found


def _with_score(probability: Tensor) -> tuple[np.ndarray, float]:
    mask = probability > 0.5
    return probability.cpu().numpy(), float(probability[mask].mean()) if mask.any() else 0.0
