"""Florence-2 (Xiao et al., CVPR 2024) in the seat of a network that segments by text: it writes polygons as tokens.

Asked to "locate the cup in the image with mask", it generates the corners of polygons, each coordinate one of a
thousand location tokens. Only these tokens are read; whatever else it writes ends a polygon.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from risctl.errors import CheckpointError
from risctl.vision.polygons import fill
from risctl.zeroshot.text_prompted import Candidates

TASK = "<REFERRING_EXPRESSION_SEGMENTATION>"
_BINS = 1000  # location tokens along each side
_MOST_TOKENS = 1024  # of an answer, as in the publisher's example
_BEAMS = 3  # as in the publisher's example; a folder may ask for fewer
_LEAST_CORNERS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Encoded:
    """The features (1, N, C) of an image, and its size (H, W)."""

    features: Tensor
    size: tuple[int, int]


class Florence2:
    """Florence-2: one answer a phrase, the union of its polygons.

    The score is the mean probability that it gave the tokens of its answer (geometric); there is no published
    threshold, and without a polygon there is no match.
    """

    min_score = 0.0

    def __init__(self, model: Any, processor: Any, *, name: str) -> None:
        """Takes a model that was opened.

        Args:
            model: A `Florence2ForConditionalGeneration`.
            processor: Its `Florence2Processor`.
            name: How messages call it.

        Raises:
            CheckpointError: Its tokenizer has no location tokens, or there is no room for words beside the image's.
        """
        self.name = name
        self._model, self._processor, self._tokens = model.eval(), processor, processor.tokenizer
        ids = self._tokens.convert_tokens_to_ids([f"<loc_{place}>" for place in range(_BINS)])
        self._places = {token: place for place, token in enumerate(ids)}
        if len(self._places) != _BINS or self._tokens.unk_token_id in self._places:
            raise CheckpointError(f"{name} lacks the tokens <loc_0> to <loc_{_BINS - 1}>, in which masks are written")
        text = model.config.text_config
        self._max_tokens = int(text.max_position_embeddings) - int(processor.num_image_tokens)
        if self._max_tokens <= len(self._prompt("")):
            raise CheckpointError(f"{name} reads no words beside its {processor.num_image_tokens} tokens of the image")

    def encode(self, pixels: np.ndarray) -> _Encoded:
        """Encodes an RGB image, uint8 (H, W, 3)."""
        return self.encode_images([pixels])[0]

    @torch.no_grad()
    def encode_images(self, images: Sequence[np.ndarray]) -> list[_Encoded]:
        """Returns what `encode` makes of each image, in one forward pass: all are resized to one square."""
        prepare = self._processor.image_processor
        values = torch.cat([prepare(Image.fromarray(one), return_tensors="pt")["pixel_values"] for one in images])
        features = self._model.get_image_features(values.to(self._model.device, self._model.dtype)).pooler_output
        return [
            _Encoded(features=features[row : row + 1], size=(one.shape[0], one.shape[1]))
            for row, one in enumerate(images)
        ]

    @torch.no_grad()
    def find(self, encoded: _Encoded, texts: Sequence[str]) -> list[Candidates]:
        """Returns the one answer of each text; none where it has no polygon."""
        return [self._answer(encoded, text) for text in texts]

    def is_truncated(self, text: str) -> bool:
        """Returns whether `text` has more tokens than there is room for beside those of the image."""
        return len(self._prompt(_plain(text))) > self._max_tokens

    def _prompt(self, text: str) -> list[int]:
        """Returns the tokens of the question, those that mark its ends included."""
        question = self._processor.task_prompts_with_input[TASK].format(input=text)
        found: list[int] = self._tokens(question, add_special_tokens=False, verbose=False)["input_ids"]
        return [self._tokens.bos_token_id, *found, self._tokens.eos_token_id]

    def _answer(self, encoded: _Encoded, text: str) -> Candidates:
        model, device = self._model, self._model.device
        words = self._prompt(_plain(text))
        if len(words) > self._max_tokens:
            words = [*words[: self._max_tokens - 1], words[-1]]
        image = [self._processor.image_token_id] * encoded.features.shape[1]
        ids = torch.tensor([image + words], device=device)
        embeddings = model.get_input_embeddings()(ids)
        embeddings = torch.cat([encoded.features.to(embeddings.dtype), embeddings[:, len(image) :]], dim=1)
        mask = torch.ones_like(ids)
        read = model.get_encoder()(inputs_embeds=embeddings, attention_mask=mask)
        beams = max(1, min(int(model.generation_config.num_beams or 1), _BEAMS))
        answer = model.generate(
            encoder_outputs=read, attention_mask=mask, max_new_tokens=self._longest(), num_beams=beams, do_sample=False
        )[0]
        polygons = polygons_of(answer.tolist(), places=self._places, size=encoded.size)
        drawn = _Filled(polygons, encoded.size)
        if not polygons or not drawn([0]).any():
            return Candidates(scores=np.zeros(0, dtype=np.float32), draw=drawn, chosen=(), presence=0.0)
        again = type(read)(last_hidden_state=read.last_hidden_state)
        logits = model(encoder_outputs=again, attention_mask=mask, decoder_input_ids=answer[None, :-1]).logits[0]
        surprise = functional.cross_entropy(logits.float(), answer[1:], reduction="none")
        score = float(surprise[answer[1:] != self._tokens.pad_token_id].mean().neg().exp())
        return Candidates(scores=np.array([score], dtype=np.float32), draw=drawn)

    def _longest(self) -> int:
        return min(_MOST_TOKENS, int(self._model.config.text_config.max_position_embeddings) - 1)


def polygons_of(tokens: Sequence[int], *, places: dict[int, int], size: tuple[int, int]) -> list[np.ndarray]:
    """Reads the polygons that are written as location tokens.

    Args:
        tokens: The ids of an answer. Consecutive location tokens are x, y, x, y, … of a polygon; any other token ends
            it, and a coordinate without its pair is left out.
        places: By the id of a location token, its place from 0 to 999.
        size: Height and width of the image.

    Returns:
        The corners (N, 2) of each polygon, x and y in pixels, at the centres of their places; polygons of less than
        three corners are left out.
    """
    height, width = size
    scale = np.array([width, height], dtype=np.float64) / _BINS
    polygons, corners = [], []
    for token in (*tokens, -1):
        place = places.get(token)
        if place is not None:
            corners.append(place)
            continue
        if len(corners) >= 2 * _LEAST_CORNERS:
            found = np.array(corners[: len(corners) // 2 * 2], dtype=np.float64).reshape(-1, 2)
            polygons.append((found + 0.5) * scale)
        corners = []
    return polygons


@dataclass(frozen=True, slots=True)
class _Filled:
    """The union of polygons as the one mask of an image of size (H, W)."""

    polygons: Sequence[np.ndarray]
    size: tuple[int, int]

    def __call__(self, positions: Sequence[int]) -> np.ndarray:
        height, width = self.size
        mask = np.zeros(self.size, dtype=bool)
        for polygon in self.polygons:
            mask |= fill([polygon], height=height, width=width)
        return np.repeat(mask[None].astype(np.float32), len(positions), axis=0)


def _plain(text: str) -> str:
    """Returns a text without what a tokenizer would take for a token of its own, such as <image> or </s>."""
    return " ".join(text.replace("<", " ").replace(">", " ").split())
