"""Finds boxes by a text with any detector that `AutoModelForZeroShotObjectDetection` opens.

OWL-ViT and OWLv2 compare the boxes of an image with each text: an image is encoded once, whatever is asked. Grounding
DINO and MM Grounding DINO mix image and text behind the backbone, OmDet-Turbo in the decoder: what comes before is
computed once an image, and for images of one size together; the rest is one forward pass a text.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from risctl.models.batches import batched
from risctl.models.instances import Instances, clipped
from risctl.models.tensors import moved
from risctl.zeroshot.text_prompted import token_count

_LEAST = 0.02  # boxes that score less are never chosen
_MOST = 100
_ABSENT = 1_000_000  # a tokenizer that states no length states a far larger number


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    """An image, what its processor makes of it, and what was computed of it.

    That is the features (1, h, w, C) of a network that compares, or what the text-free part of another returns.
    """

    image: Image.Image
    inputs: dict[str, Any]
    features: Tensor | None = None
    seen: Any = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.image.height, self.image.width


@dataclass(frozen=True, slots=True)
class _Compared:
    """What the library's post-processing reads of a network that compares."""

    logits: Tensor
    pred_boxes: Tensor


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
        self._compares = hasattr(model, "image_embedder")
        self._text_free = None if self._compares else text_free_part(model)

    def encode(self, pixels: np.ndarray) -> _Picture:
        """Prepares an RGB image, uint8 (H, W, 3), and encodes it where that does not depend on a text."""
        return self.encode_images([pixels])[0]

    @torch.no_grad()
    def encode_images(self, images: Sequence[np.ndarray]) -> list[_Picture]:
        """Returns what `encode` makes of each image, encoded in one forward pass."""
        pictures = []
        for pixels in images:
            image = Image.fromarray(pixels)
            inputs = moved(self._processor.image_processor(image, return_tensors="pt"), self._model)
            pictures.append(_Picture(image=image, inputs=inputs))
        if not self._compares:
            return self._seen(pictures)
        found = batched(
            [{"pixel_values": one.inputs["pixel_values"]} for one in pictures],
            lambda inputs: {"features": self._model.image_embedder(**inputs)[0]},
        )
        return [
            _Picture(image=one.image, inputs={}, features=made["features"])
            for one, made in zip(pictures, found, strict=True)
        ]

    def _seen(self, pictures: list[_Picture]) -> list[_Picture]:
        """Returns the pictures with what the text-free part of a network that mixes makes of them."""
        part = self._text_free
        if part is None:
            return pictures
        names = ("pixel_values", "pixel_mask")
        inputs = [{name: one.inputs[name] for name in names if name in one.inputs} for one in pictures]
        found = batched(inputs, lambda some: {"seen": part.run(some)})
        return [
            _Picture(image=one.image, inputs=one.inputs, seen=made["seen"])
            for one, made in zip(pictures, found, strict=True)
        ]

    @torch.no_grad()
    def find(self, encoded: _Picture, texts: Sequence[str]) -> list[Instances]:
        """Returns the boxes of each text, best first."""
        if not texts:
            return []
        if encoded.features is not None:
            return self._compared(encoded, encoded.features, texts)
        return [self._mixed(encoded, text) for text in texts]

    def is_truncated(self, text: str) -> bool:
        """Returns whether `text` is longer than the detector reads."""
        return token_count(self._processor.tokenizer, text) > self._max_tokens

    def _compared(self, picture: _Picture, features: Tensor, texts: Sequence[str]) -> list[Instances]:
        model = self._model
        tokens = self._processor.tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=self._max_tokens, return_tensors="pt"
        ).to(model.device)
        owl = model.owlv2 if hasattr(model, "owlv2") else model.owlvit
        queries = owl.get_text_features(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
        queries = getattr(queries, "pooler_output", queries)
        queries = (queries / queries.norm(dim=-1, keepdim=True))[None]
        cells = features.flatten(1, 2)
        logits, _ = model.class_predictor(cells, queries, tokens["input_ids"][None, :, 0] > 0)
        boxes = model.box_predictor(cells, features).float()
        return [
            self._instances(_Compared(logits[..., number : number + 1].float(), boxes), picture, text)
            for number, text in enumerate(texts)
        ]

    def _mixed(self, picture: _Picture, text: str) -> Instances:
        inputs = self._processor(
            images=picture.image, text=[[text]], return_tensors="pt", truncation=True, max_length=self._max_tokens
        )
        values = {**moved(inputs, self._model), **picture.inputs}
        if self._text_free is None:
            output = self._model(**values)
        else:
            with self._text_free.giving(picture.seen):
                output = self._model(**values)
        for name, value in output.items():
            # Not all post-processing takes another precision.
            if isinstance(value, Tensor) and value.is_floating_point():
                output[name] = value.float()
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


class TextFreeBackbone:
    """The backbone of Grounding DINO or MM Grounding DINO, within which no text is read."""

    def __init__(self, backbone: Any) -> None:
        self._backbone = backbone

    def run(self, inputs: dict[str, Tensor]) -> Any:
        """Returns the maps with their masks, and the encodings of their positions, each (B, ...)."""
        maps, positions = self._backbone(inputs["pixel_values"], inputs["pixel_mask"])
        return tuple(tuple(one) for one in maps), tuple(positions)

    @contextmanager
    def giving(self, seen: Any) -> Iterator[None]:
        """Within the block, the backbone returns what `run` returned, without computing it."""
        maps, positions = seen
        # The model adds to the lists that it gets.
        with _answering(self._backbone, lambda *_, **__: (list(maps), list(positions))):
            yield


class TextFreeEncoder:
    """The backbone and the encoder of OmDet-Turbo, within which no text is read."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._output: Any = None

    def run(self, inputs: dict[str, Tensor]) -> Any:
        """Returns the maps of the encoder, each (B, ...)."""
        output = self._model.encoder(self._model.vision_backbone(inputs["pixel_values"]), return_dict=True)
        self._output = type(output)
        return tuple(output.extracted_states)

    @contextmanager
    def giving(self, seen: Any) -> Iterator[None]:
        """Within the block, the encoder returns what `run` returned, without computing it."""
        output = self._output(extracted_states=seen)
        with (
            _answering(self._model.vision_backbone, lambda *_, **__: None),
            _answering(self._model.encoder, lambda *_, **__: output),
        ):
            yield


def text_free_part(model: Any) -> TextFreeBackbone | TextFreeEncoder | None:
    """Returns what of a detector reads an image without a text; None where it is not known."""
    backbone = getattr(getattr(model, "model", None), "backbone", None)
    if backbone is not None and hasattr(backbone, "position_embedding"):
        return TextFreeBackbone(backbone)
    if hasattr(model, "vision_backbone") and hasattr(model, "encoder"):
        return TextFreeEncoder(model)
    return None


@contextmanager
def _answering(module: Any, forward: Any) -> Iterator[None]:
    """Within the block, a module answers with `forward`."""
    module.forward = forward
    try:
        yield
    finally:
        del module.forward


def _longest(model: Any, tokenizer: Any) -> int:
    """Returns how many tokens the model reads, by its configuration and its tokenizer."""
    config = model.config
    limits = [tokenizer.model_max_length, getattr(config, "max_text_len", None)]
    for part in (getattr(config, "text_config", None), getattr(config, "text_backbone_config", None)):
        limits.append(getattr(part, "max_position_embeddings", None))
    return min(int(limit) for limit in limits if limit is not None and limit < _ABSENT)
