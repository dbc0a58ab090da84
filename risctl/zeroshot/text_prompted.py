"""Segments by text with networks of transformers that need no proposals: CLIPSeg, SAM 3, Grounding DINO with SAM.

CLIPSeg (CVPR 2022) gives a map per text; SAM 3 (2025) and Grounding DINO (ECCV 2024) give instances, of which the one
with the highest score is taken, since a referring expression refers to one object.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

ScoredMaps = list[tuple[np.ndarray, float]]
"""For each text, probabilities float32 (H, W) and a score in [0, 1]."""


class TextPromptedNetwork(Protocol):
    """A network that segments by text."""

    name: str

    def segment(self, pixels: np.ndarray, texts: Sequence[str]) -> ScoredMaps:
        """Segments an RGB image, uint8 (H, W, 3), by each text.

        Returns:
            For each text, probabilities float32 (H, W) and a score in [0, 1].
        """

    def is_truncated(self, text: str) -> bool:
        """Returns whether `text` is longer than the network reads."""


class BoxSegmenter(Protocol):
    """Turns boxes into masks."""

    name: str

    def __call__(self, pixels: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Returns probabilities, float32 (N, H, W), of the objects in `boxes` (N, 4), x1 y1 x2 y2 in pixels."""


class CLIPSeg:
    """CLIPSeg (Lüddecke and Ecker, CVPR 2022): per-pixel probabilities, resized bilinearly from 352x352."""

    def __init__(self, model: Any, processor: Any, *, name: str, batch: int = 16) -> None:
        self.name = name
        self._model, self._processor, self._batch = model.eval(), processor, batch
        self._max_tokens = model.config.text_config.max_position_embeddings

    @torch.no_grad()
    def segment(self, pixels: np.ndarray, texts: Sequence[str]) -> ScoredMaps:
        """Segments by each text; the score is the mean probability over the mask, 0 if that is empty."""
        device = self._model.device
        image = self._processor.image_processor(Image.fromarray(pixels), return_tensors="pt")["pixel_values"].to(device)
        results = []
        for start in range(0, len(texts), self._batch):
            batch = list(texts[start : start + self._batch])
            tokens = self._processor.tokenizer(
                batch, padding=True, truncation=True, max_length=self._max_tokens, return_tensors="pt"
            ).to(device)
            logits = self._model(pixel_values=image.expand(len(batch), -1, -1, -1), **tokens).logits
            logits = logits.reshape(len(batch), 1, *logits.shape[-2:]).float()
            full = functional.interpolate(logits, size=pixels.shape[:2], mode="bilinear", align_corners=False)[:, 0]
            results += [_with_score(score) for score in full.sigmoid()]
        return results

    def is_truncated(self, text: str) -> bool:
        """Returns whether `text` is longer than CLIP reads."""
        return _token_count(self._processor.tokenizer, text) > self._max_tokens


class SAM3:
    """SAM 3 (2025): of the instances that match a text, the one with the highest score, however low."""

    def __init__(self, model: Any, processor: Any, *, name: str) -> None:
        self.name = name
        self._model, self._processor = model.eval(), processor
        self._max_tokens = model.config.text_config.max_position_embeddings

    @torch.no_grad()
    def segment(self, pixels: np.ndarray, texts: Sequence[str]) -> ScoredMaps:
        """Segments by each text; the score is the instance's, times the probability that there is one."""
        device = self._model.device
        image = self._processor.image_processor(Image.fromarray(pixels), return_tensors="pt")["pixel_values"].to(device)
        vision = self._model.get_vision_features(image)
        results = []
        for text in texts:
            tokens = self._processor.tokenizer(
                [text], padding="max_length", truncation=True, max_length=self._max_tokens, return_tensors="pt"
            ).to(device)
            output = self._model(
                vision_embeds=vision, input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
            )
            scores = (output.pred_logits.float().sigmoid() * output.presence_logits.float().sigmoid())[0]
            best = int(scores.argmax())
            # The library's own order: the probability is resized, not the logit.
            probability = functional.interpolate(
                output.pred_masks[:, best : best + 1].float().sigmoid(),
                size=pixels.shape[:2],
                mode="bilinear",
                align_corners=False,
            )
            results.append((probability[0, 0].cpu().numpy(), float(scores[best])))
        return results

    def is_truncated(self, text: str) -> bool:
        """Returns whether `text` is longer than SAM 3 reads, 32 tokens as published."""
        return _token_count(self._processor.tokenizer, text) > self._max_tokens


class GroundedSAM:
    """Grounding DINO (ECCV 2024) and SAM: the mask of the box that matches the text best (Grounded SAM, 2024).

    The score of a box is that of its best token, as in the published code.
    """

    def __init__(self, model: Any, processor: Any, segmenter: BoxSegmenter, *, name: str, batch: int = 4) -> None:
        self.name = f"{name} + {segmenter.name}"
        self._model, self._processor, self._segmenter, self._batch = model.eval(), processor, segmenter, batch
        self._max_tokens = model.config.max_text_len

    def segment(self, pixels: np.ndarray, texts: Sequence[str]) -> ScoredMaps:
        """Segments by each text; the score is the box's."""
        boxes, scores = self.boxes(pixels, texts)
        return list(zip(self._segmenter(pixels, boxes), scores.tolist(), strict=True))

    @torch.no_grad()
    def boxes(self, pixels: np.ndarray, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the best boxes (T, 4), x1 y1 x2 y2 in pixels within the image, and their scores (T,)."""
        device, (height, width) = self._model.device, pixels.shape[:2]
        image = self._processor.image_processor(Image.fromarray(pixels), return_tensors="pt").to(device)
        boxes, scores = [torch.zeros(0, 4)], [torch.zeros(0)]
        for start in range(0, len(texts), self._batch):
            batch = [_as_caption(text) for text in texts[start : start + self._batch]]
            tokens = self._processor.tokenizer(
                batch, padding=True, truncation=True, max_length=self._max_tokens, return_tensors="pt"
            ).to(device)
            output = self._model(
                pixel_values=image["pixel_values"].expand(len(batch), -1, -1, -1),
                pixel_mask=image["pixel_mask"].expand(len(batch), -1, -1),
                input_ids=tokens["input_ids"],
                attention_mask=tokens["attention_mask"],
                token_type_ids=tokens.get("token_type_ids"),
            )
            confidence, best = output.logits.float().sigmoid().amax(-1).max(-1)
            chosen = output.pred_boxes.float()[torch.arange(len(batch), device=device), best]
            boxes.append(_corners(chosen, height=height, width=width).cpu())
            scores.append(confidence.cpu())
        return torch.cat(boxes).numpy(), torch.cat(scores).numpy()

    def is_truncated(self, text: str) -> bool:
        """Returns whether `text` is longer than Grounding DINO reads, 256 tokens as published."""
        return _token_count(self._processor.tokenizer, _as_caption(text)) > self._max_tokens


def _with_score(probability: Tensor) -> tuple[np.ndarray, float]:
    mask = probability > 0.5
    return probability.cpu().numpy(), float(probability[mask].mean()) if mask.any() else 0.0


def _token_count(tokenizer: Any, text: str) -> int:
    return len(tokenizer(text, truncation=False, verbose=False)["input_ids"])


def _as_caption(text: str) -> str:
    """Returns a text as Grounding DINO reads it: in lower case, with one full stop, at the end."""
    return f"{' '.join(text.lower().replace('.', ' ').split())}."


def _corners(boxes: Tensor, *, height: int, width: int) -> Tensor:
    """Returns boxes (N, 4), relative cx cy w h, as x1 y1 x2 y2 in pixels."""
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    scale = torch.tensor([width, height], device=boxes.device)
    return torch.cat([(centre - half).clamp(0, 1) * scale, (centre + half).clamp(0, 1) * scale], dim=1)
