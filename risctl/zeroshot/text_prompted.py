"""Segments by text with networks of transformers that need no proposals: CLIPSeg, SAM 3, Grounding DINO with SAM.

CLIPSeg (CVPR 2022) gives a map per text; SAM 3 (2025) and Grounding DINO (ECCV 2024) give instances, each with a score:
whoever asks decides whether all above a threshold are taken, or the surest alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """What a network finds for one text, drawn only where it is chosen: masks have the image's size.

    Attributes:
        scores: Float32 (N,) in [0, 1], one per candidate.
        draw: Takes positions of candidates and returns their probabilities, float32 (n, H, W).
        chosen: The positions that the network itself says are referred to; None: it scores only, and a threshold says.
        presence: Probability that anything is referred to, where the network says it apart from the candidates.
    """

    scores: np.ndarray
    draw: Callable[[Sequence[int]], np.ndarray]
    chosen: tuple[int, ...] | None = None
    presence: float | None = None


class TextPromptedNetwork(Protocol):
    """A network that segments by text.

    Attributes:
        name: How reports name it.
        min_score: What a candidate scores at least to be taken as referred to, as published.
    """

    name: str
    min_score: float

    def encode(self, pixels: np.ndarray) -> Any:
        """Encodes an RGB image, uint8 (H, W, 3), as far as that does not depend on a text."""

    def find(self, encoded: Any, texts: Sequence[str]) -> list[Candidates]:
        """Finds what each text refers to in the image that `encode` was given."""

    def is_truncated(self, text: str) -> bool:
        """Returns whether `text` is longer than the network reads."""


class BoxSegmenter(Protocol):
    """Turns boxes into masks."""

    name: str

    def __call__(self, pixels: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Returns probabilities, float32 (N, H, W), of the objects in `boxes` (N, 4), x1 y1 x2 y2 in pixels."""


class CLIPSeg:
    """CLIPSeg (Lüddecke and Ecker, CVPR 2022): per-pixel probabilities, resized bilinearly from 352x352."""

    # Its one map is the answer, however low its score.
    min_score = 0.0

    def __init__(self, model: Any, processor: Any, *, name: str, batch: int = 16) -> None:
        self.name = name
        self._model, self._processor, self._batch = model.eval(), processor, batch
        self._max_tokens = model.config.text_config.max_position_embeddings

    def encode(self, pixels: np.ndarray) -> tuple[list[Tensor], tuple[int, int]]:
        """Returns the maps of the image encoder that the decoder reads, and the image's size (H, W)."""
        return self.encode_images([pixels])[0]

    @torch.no_grad()
    def encode_images(self, images: Sequence[np.ndarray]) -> list[tuple[list[Tensor], tuple[int, int]]]:
        """Returns what `encode` makes of each image, in one forward pass: all are resized to one square."""
        output = self._model.clip.vision_model(
            pixel_values=_values(images, self._processor, self._model),
            output_hidden_states=True,
            interpolate_pos_encoding=True,
        )
        # The first of the hidden states are the embeddings.
        maps = [output.hidden_states[layer + 1] for layer in self._model.extract_layers]
        return [
            ([one[row : row + 1] for one in maps], (pixels.shape[0], pixels.shape[1]))
            for row, pixels in enumerate(images)
        ]

    @torch.no_grad()
    def find(self, encoded: tuple[list[Tensor], tuple[int, int]], texts: Sequence[str]) -> list[Candidates]:
        """Returns the one map of each text; its score is the mean probability over the mask, 0 if that is empty."""
        maps, size = encoded
        results = []
        for start in range(0, len(texts), self._batch):
            batch = list(texts[start : start + self._batch])
            tokens = self._processor.tokenizer(
                batch, padding=True, truncation=True, max_length=self._max_tokens, return_tensors="pt"
            ).to(self._model.device)
            condition = self._model.get_conditional_embeddings(batch_size=len(batch), **tokens)
            logits = self._model.decoder([one.expand(len(batch), -1, -1) for one in maps], condition).logits
            results += [_one_map(row, size) for row in logits.reshape(len(batch), *logits.shape[-2:]).float()]
        return results

    def is_truncated(self, text: str) -> bool:
        """Returns whether `text` is longer than CLIP reads."""
        return token_count(self._processor.tokenizer, text) > self._max_tokens


class SAM3:
    """SAM 3 (2025), also with the smaller text encoder of SAM 3 LiteText: the instances that match a text.

    The score of an instance is its own times the probability that there is any, as published.
    """

    min_score = 0.3

    def __init__(self, model: Any, processor: Any, *, name: str) -> None:
        self.name = name
        self._model, self._processor = model.eval(), processor
        # LiteText's configuration allows more words than its published weights read; the tokenizer knows.
        limits = (model.config.text_config.max_position_embeddings, processor.tokenizer.model_max_length)
        self._max_tokens = min(limits)

    def encode(self, pixels: np.ndarray) -> tuple[Any, tuple[int, int]]:
        """Returns the features of the image encoder, and the image's size (H, W)."""
        return self.encode_images([pixels])[0]

    @torch.no_grad()
    def encode_images(self, images: Sequence[np.ndarray]) -> list[tuple[Any, tuple[int, int]]]:
        """Returns what `encode` makes of each image, in one forward pass: all are resized to one square."""
        vision = self._model.get_vision_features(_values(images, self._processor, self._model))
        return [
            (_of_image(vision, row, count=len(images)), (pixels.shape[0], pixels.shape[1]))
            for row, pixels in enumerate(images)
        ]

    @torch.no_grad()
    def find(self, encoded: tuple[Any, tuple[int, int]], texts: Sequence[str]) -> list[Candidates]:
        """Returns every query as a candidate, one text at a time."""
        vision, size = encoded
        results = []
        for text in texts:
            tokens = self._processor.tokenizer(
                [text], padding="max_length", truncation=True, max_length=self._max_tokens, return_tensors="pt"
            ).to(self._model.device)
            output = self._model(
                vision_embeds=vision, input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
            )
            presence = output.presence_logits.float().sigmoid()
            scores = (output.pred_logits.float().sigmoid() * presence)[0]
            # The library's own order: the probability is resized, not the logit.
            results.append(
                Candidates(
                    scores=scores.cpu().numpy(),
                    draw=_Resized(output.pred_masks[0].float().sigmoid(), size),
                    presence=float(presence.max()),
                )
            )
        return results

    def is_truncated(self, text: str) -> bool:
        """Returns whether `text` is longer than SAM 3 reads, 32 tokens as published."""
        return token_count(self._processor.tokenizer, text) > self._max_tokens


class GroundedSAM:
    """Grounding DINO (ECCV 2024) and SAM: the mask of the box that matches the text best (Grounded SAM, 2024).

    The score of a box is that of its best token, as in the published code.
    """

    def __init__(self, model: Any, processor: Any, segmenter: BoxSegmenter, *, name: str, batch: int = 4) -> None:
        self.name = f"{name} + {segmenter.name}"
        self.min_score = 0.0
        self._model, self._processor, self._segmenter, self._batch = model.eval(), processor, segmenter, batch
        self._max_tokens = model.config.max_text_len

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        """Returns the image: Grounding DINO mixes it with each text from the start."""
        return pixels

    def find(self, encoded: np.ndarray, texts: Sequence[str]) -> list[Candidates]:
        """Returns the best box of each text as its one candidate; the score is the box's."""
        boxes, scores = self.boxes(encoded, texts)
        masks = self._segmenter(encoded, boxes)
        return [
            Candidates(scores=score[None], draw=_Drawn(mask[None])) for mask, score in zip(masks, scores, strict=True)
        ]

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
        return token_count(self._processor.tokenizer, _as_caption(text)) > self._max_tokens


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Masks that have the image's size already, float32 (N, H, W)."""

    masks: np.ndarray

    def __call__(self, positions: Sequence[int]) -> np.ndarray:
        return self.masks[list(positions)]


@dataclass(frozen=True, slots=True)
class _Resized:
    """Maps (N, h, w) that are resized to the image's size (H, W) where they are drawn."""

    maps: Tensor
    size: tuple[int, int]

    def __call__(self, positions: Sequence[int]) -> np.ndarray:
        chosen = self.maps[list(positions)][:, None]
        resized = functional.interpolate(chosen, size=self.size, mode="bilinear", align_corners=False)
        return resized[:, 0].cpu().numpy()


def _values(images: Sequence[np.ndarray], processor: Any, model: Any) -> Tensor:
    """Returns RGB images, uint8 (H, W, 3) each, as the input of a model (B, 3, h, w)."""
    values = [
        processor.image_processor(Image.fromarray(pixels), return_tensors="pt")["pixel_values"] for pixels in images
    ]
    return torch.cat(values).to(model.device, model.dtype)


def _of_image(vision: Any, row: int, *, count: int) -> Any:
    """Returns the part of SAM 3's image features that is of one image of `count`."""

    def part(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return tuple(part(one) for one in value)
        # The encodings of positions are the same for all images, and may come once.
        return value[row : row + 1] if value.shape[0] == count else value

    names = ("last_hidden_state", "fpn_hidden_states", "fpn_position_encoding")
    return type(vision)(**{name: part(vision[name]) for name in names if vision.get(name) is not None})


def _one_map(logits: Tensor, size: tuple[int, int]) -> Candidates:
    """Returns a map of logits (h, w) as the only candidate of its text."""
    full = functional.interpolate(logits[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
    probability = full.sigmoid()
    mask = probability > 0.5
    score = float(probability[mask].mean()) if mask.any() else 0.0
    return Candidates(scores=np.array([score], dtype=np.float32), draw=_Drawn(probability[None].cpu().numpy()))


def token_count(tokenizer: Any, text: str) -> int:
    """Returns how many tokens `text` has, those that mark its ends included."""
    return len(tokenizer(text, truncation=False, verbose=False)["input_ids"])


def _as_caption(text: str) -> str:
    """Returns a text as Grounding DINO reads it: in lower case, with one full stop, at the end."""
    return f"{' '.join(text.lower().replace('.', ' ').split())}."


def _corners(boxes: Tensor, *, height: int, width: int) -> Tensor:
    """Returns boxes (N, 4), relative cx cy w h, as x1 y1 x2 y2 in pixels."""
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    scale = torch.tensor([width, height], device=boxes.device)
    return torch.cat([(centre - half).clamp(0, 1) * scale, (centre + half).clamp(0, 1) * scale], dim=1)
