"""The contract of systems: `forward(batch) → Output`, `loss(output, batch)`, `predict(output, …) → [Prediction]`.

A system is a pure module. It knows no command line, no HDF5 and no file system; the trainer, evaluator and predictor
know no system by name. `encode_image`, `encode_text` and `decode` are the three parts of its forward, so that an image
is encoded once however many phrases are asked of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from risctl.core.encoders import frozen_prefix
from risctl.core.encoders.base import TextFeatures, VisualFeatures
from risctl.data.batch import Batch, Preprocess
from risctl.data.boxes import Boxes
from risctl.errors import UsageError
from risctl.language.coco_classes import ClassSplit
from risctl.results import Detection, Prediction
from risctl.vision import rle
from risctl.vision.geometry import Geometry


@dataclass(slots=True, kw_only=True)
class Output:
    """What a forward gives. logits (B, h, w), before the sigmoid, in the coordinates of the network's input;

    scores (B,) in [0, 1], how sure the system is, None if it does not say; boxes (B, 4) xyxy in [0, 1] of the input, or
    None; maps: named tensors (B, …) worth looking at (attention, heatmaps); extras: what only the system's loss needs.
    """

    logits: Tensor
    scores: Tensor | None = None
    boxes: Tensor | None = None
    maps: dict[str, Tensor] = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionForm:
    """How a system that chooses among boxes takes questions about them.

    per_word: ids a word has in what `preprocess.text` gives; classes, appearance: numbers of a box in `Boxes`.
    """

    per_word: int
    classes: int
    appearance: int


class System(nn.Module, ABC):
    """Base of all systems. A subclass sets `preprocess` in its constructor; its encoders are `visual` and `text`.

    takes_clips: `encode_image` also takes clips (B, T, 3, H, W), and the logits are then (B, T, h, w). Such a system
    may have several answers to choose from: then its maps hold "query_scores" (B, T, Q), and `choose` takes another.
    fills_batches: pictures of several sizes make a batch, and what they are filled up with reaches into what the
    backbone sees of them: it is another alone.
    learns_things: it is trained on everything annotated in a picture (`Batch.things`), not on a phrase's target.
    categories: how many numbers of categories it tells apart while it learns phrases; 1: a phrase's target or not.
    question_form: of a system that finds boxes and chooses among them (`boxes_of`), else None.
    presence: the score below which a phrase is answered with nothing; 0: every phrase is answered.
    class_split: what it was trained to find, and what it is tested on without; None if it finds nothing by class.
    """

    preprocess: Preprocess
    takes_clips: bool = False
    fills_batches: bool = False
    learns_things: bool = False
    categories: int = 1
    question_form: QuestionForm | None = None
    presence: float = 0.0
    class_split: ClassSplit | None = None

    @abstractmethod
    def encode_image(self, images: Tensor, padding: Tensor) -> VisualFeatures:
        """Encode images (B, 3, H, W) with padding (B, H, W): the part that no text changes."""

    @abstractmethod
    def encode_text(self, words: Tensor, word_mask: Tensor) -> TextFeatures:
        """Encode word ids (B, L) with mask (B, L): the part that no image changes."""

    @abstractmethod
    def decode(self, visual: VisualFeatures, text: TextFeatures) -> Output:
        """Join N images with N texts, row by row."""

    def before_backbone(self, images: Tensor, padding: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the backbone `visual` is given of images (B, 3, H, W) or (B, 3, 0, 0) with padding (B, H, W)."""
        return images, padding

    def after_backbone(self, seen: VisualFeatures) -> VisualFeatures:
        """Return what `encode_image` makes of what the backbone `visual` saw.

        A system that has it can be trained from a cache of what the frozen part of its backbone sees. Raises
        `UsageError` if the system keeps no backbone apart.
        """
        raise UsageError(f"{type(self).__name__} sees pictures only, not features; set data.features=null")

    def forward(self, batch: Batch) -> Output:
        """Return the output for each (image, text) of `batch`, going on from its features where it has them."""
        if batch.seen is None:
            visual = self.encode_image(batch.images, batch.padding)
        else:
            _, padding = self.before_backbone(batch.images, batch.padding)
            visual = self.after_backbone(frozen_prefix.finish_visual(self.get_submodule("visual"), batch.seen, padding))
        text = (
            self.encode_text(batch.words, batch.word_mask)
            if batch.read is None
            else frozen_prefix.finish_text(self.get_submodule("text"), batch.read, batch.word_mask)
        )
        return self.decode(visual, text)

    def choose(self, output: Output, query: Tensor) -> Output:
        """Return `output` with the answers `query` (B,) instead of those with the highest mean scores.

        Raises `UsageError` if the system has no answers to choose from.
        """
        raise UsageError(f"{type(self).__name__} has one answer to a text; there are no queries to choose from")

    def boxes_of(self, visual: VisualFeatures) -> Boxes:
        """Return the boxes found in the pictures of `visual`, those that texts choose among.

        Raises `UsageError` if the system does not choose among boxes.
        """
        raise UsageError(f"{type(self).__name__} does not choose among boxes")

    def find(
        self, visual: VisualFeatures, names: Sequence[str], *, geometry: Geometry, score: float
    ) -> list[Detection]:
        """Return the things of classes `names` in the one picture of `visual`, those whose score is above `score`.

        Raises `UsageError` if the system answers phrases only, or does not know a name.
        """
        raise UsageError(
            f"{type(self).__name__} answers phrases; things are found by class with the model that comes with risctl, "
            "or with a ZSI checkpoint"
        )

    def find_parts(
        self, visual: VisualFeatures, parts: Sequence[Sequence[str]], *, geometry: Geometry, score: float
    ) -> list[Detection]:
        """Return what `find` returns for each of `parts`, names of classes that are asked for together.

        Each part has its own things, as many as it had alone. Raises as `find` does.
        """
        return [one for names in parts for one in self.find(visual, names, geometry=geometry, score=score)]

    @abstractmethod
    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the named scalar terms of the loss; the trainer minimises their sum."""

    @torch.no_grad()
    def predict(
        self, output: Output, *, geometries: Sequence[Geometry], texts: Sequence[str], threshold: float
    ) -> list[Prediction]:
        """Return one prediction a row of `output`, at the size of each picture.

        `geometries` are those of the batch: where inputs of several sizes were padded to the largest, each row's own
        part is what is brought to its picture.
        """
        probabilities = output.logits.float().sigmoid()
        own = [geometry.padding().shape for geometry in geometries]
        largest = (max(height for height, _ in own), max(width for _, width in own))
        predictions = []
        for row, (geometry, text) in enumerate(zip(geometries, texts, strict=True)):
            rows, columns = (
                -(-side * part // whole)
                for side, part, whole in zip(probabilities.shape[-2:], own[row], largest, strict=True)
            )
            probability = geometry.invert(probabilities[row : row + 1, :rows, :columns])[0].cpu().numpy()
            matched = output.scores is None or float(output.scores[row]) >= self.presence
            if not matched:
                probability = np.zeros_like(probability)
            mask = probability > threshold
            if output.scores is not None:
                score = float(output.scores[row])
            else:
                score = float(probability[mask].mean()) if mask.any() else 0.0
            predictions.append(
                Prediction(
                    text=text,
                    probability=probability,
                    threshold=threshold,
                    score=score,
                    box=rle.box(rle.encode(mask)) if mask.any() else None,
                    matched=matched,
                    maps={name: values[row].float().cpu().numpy() for name, values in output.maps.items()},
                    geometry=geometry,
                )
            )
        return predictions
