"""Text-prompted networks of transformers, to be compared in the zero-shot seat; none needs proposals.

CLIPSeg (CVPR 2022) gives a map for a text; SAM 3 (2025) and Grounding DINO (ECCV 2024) give instances, of which the
surest is what the text means: a referring expression means one thing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

Maps = list[tuple[np.ndarray, float]]
"""For each text, probabilities float32 (H, W) and a score in [0, 1]."""


class TextPrompted(Protocol):
    """A network that is asked texts about a picture."""

    name: str

    def maps(self, pixels: np.ndarray, texts: Sequence[str]) -> Maps:
        """Return, for each text, probabilities float32 (H, W) and a score in [0, 1]."""

    def is_cut(self, text: str) -> bool:
        """Return whether `text` is longer than the network reads."""


class BoxSegmenter(Protocol):
    """What turns boxes into masks."""

    name: str

    def __call__(self, pixels: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Return probabilities float32 (N, H, W) of what stands in the boxes (N, 4) x1 y1 x2 y2 of a picture."""


class CLIPSeg:
    """CLIPSeg (CVPR 2022): the probability of each pixel, resized from its 352x352 bilinearly."""

    def __init__(self, model: Any, processor: Any, *, name: str, batch: int = 16) -> None:
        self.name = name
        self._model, self._processor, self._batch = model.eval(), processor, batch
        self._longest = model.config.text_config.max_position_embeddings

    @torch.no_grad()
    def maps(self, pixels: np.ndarray, texts: Sequence[str]) -> Maps:
        """Return the maps of `texts`; the score is the mean probability over the mask, 0 if that is empty."""
        device = self._model.device
        image = self._processor.image_processor(Image.fromarray(pixels), return_tensors="pt")["pixel_values"].to(device)
        found = []
        for start in range(0, len(texts), self._batch):
            some = list(texts[start : start + self._batch])
            words = self._processor.tokenizer(
                some, padding=True, truncation=True, max_length=self._longest, return_tensors="pt"
            ).to(device)
            logits = self._model(pixel_values=image.expand(len(some), -1, -1, -1), **words).logits
            logits = logits.reshape(len(some), 1, *logits.shape[-2:]).float()
            full = functional.interpolate(logits, size=pixels.shape[:2], mode="bilinear", align_corners=False)[:, 0]
            found += [_with_score(one) for one in full.sigmoid()]
        return found

    def is_cut(self, text: str) -> bool:
        """Return whether `text` is longer than CLIP reads."""
        return _tokens(self._processor.tokenizer, text) > self._longest


class SAM3:
    """SAM 3 (2025): of the instances that fit a text, the mask of the surest, however sure it is."""

    def __init__(self, model: Any, processor: Any, *, name: str) -> None:
        self.name = name
        self._model, self._processor = model.eval(), processor
        self._longest = model.config.text_config.max_position_embeddings

    @torch.no_grad()
    def maps(self, pixels: np.ndarray, texts: Sequence[str]) -> Maps:
        """Return the maps of `texts`; the score is the instance's, times the probability that there is one."""
        device = self._model.device
        image = self._processor.image_processor(Image.fromarray(pixels), return_tensors="pt")["pixel_values"].to(device)
        seen = self._model.get_vision_features(image)
        found = []
        for text in texts:
            words = self._processor.tokenizer(
                [text], padding="max_length", truncation=True, max_length=self._longest, return_tensors="pt"
            ).to(device)
            output = self._model(
                vision_embeds=seen, input_ids=words["input_ids"], attention_mask=words["attention_mask"]
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
            found.append((probability[0, 0].cpu().numpy(), float(scores[best])))
        return found

    def is_cut(self, text: str) -> bool:
        """Return whether `text` is longer than SAM 3 reads, 32 tokens as published."""
        return _tokens(self._processor.tokenizer, text) > self._longest


class GroundedSAM:
    """Grounding DINO (ECCV 2024) and a SAM: the mask of the box that fits the text best (Grounded SAM, 2024).

    A box scores by the token that it fits best, as in the published code.
    """

    def __init__(self, model: Any, processor: Any, segmenter: BoxSegmenter, *, name: str, batch: int = 4) -> None:
        self.name = f"{name} + {segmenter.name}"
        self._model, self._processor, self._segmenter, self._batch = model.eval(), processor, segmenter, batch
        self._longest = model.config.max_text_len

    def maps(self, pixels: np.ndarray, texts: Sequence[str]) -> Maps:
        """Return the maps of `texts`; the score is the box's."""
        boxes, scores = self.boxes(pixels, texts)
        return list(zip(self._segmenter(pixels, boxes), scores.tolist(), strict=True))

    @torch.no_grad()
    def boxes(self, pixels: np.ndarray, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return the best boxes (T, 4) x1 y1 x2 y2 in pixels, within the picture, and their scores (T,)."""
        device, (height, width) = self._model.device, pixels.shape[:2]
        image = self._processor.image_processor(Image.fromarray(pixels), return_tensors="pt").to(device)
        boxes, scores = [torch.zeros(0, 4)], [torch.zeros(0)]
        for start in range(0, len(texts), self._batch):
            some = [_as_caption(text) for text in texts[start : start + self._batch]]
            words = self._processor.tokenizer(
                some, padding=True, truncation=True, max_length=self._longest, return_tensors="pt"
            ).to(device)
            output = self._model(
                pixel_values=image["pixel_values"].expand(len(some), -1, -1, -1),
                pixel_mask=image["pixel_mask"].expand(len(some), -1, -1),
                input_ids=words["input_ids"],
                attention_mask=words["attention_mask"],
                token_type_ids=words.get("token_type_ids"),
            )
            sure, best = output.logits.float().sigmoid().amax(-1).max(-1)
            chosen = output.pred_boxes.float()[torch.arange(len(some), device=device), best]
            boxes.append(_corners(chosen, height=height, width=width).cpu())
            scores.append(sure.cpu())
        return torch.cat(boxes).numpy(), torch.cat(scores).numpy()

    def is_cut(self, text: str) -> bool:
        """Return whether `text` is longer than Grounding DINO reads, 256 tokens as published."""
        return _tokens(self._processor.tokenizer, _as_caption(text)) > self._longest


def _with_score(probability: Tensor) -> tuple[np.ndarray, float]:
    mask = probability > 0.5
    return probability.cpu().numpy(), float(probability[mask].mean()) if mask.any() else 0.0


def _tokens(tokenizer: Any, text: str) -> int:
    return len(tokenizer(text, truncation=False, verbose=False)["input_ids"])


def _as_caption(text: str) -> str:
    """Return a text as Grounding DINO reads it: in lower case, ended by the only full stop, which parts phrases."""
    return f"{' '.join(text.lower().replace('.', ' ').split())}."


def _corners(boxes: Tensor, *, height: int, width: int) -> Tensor:
    """Return boxes (N, 4) centre x, centre y, width, height in shares of a picture as x1 y1 x2 y2 in pixels."""
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    scale = torch.tensor([width, height], device=boxes.device)
    return torch.cat([(centre - half).clamp(0, 1) * scale, (centre + half).clamp(0, 1) * scale], dim=1)
