"""Defines the contract that every system fulfils: `encode_image`, `encode_text`, `decode`, `loss` and `predict`.

A system is a pure module. It knows no command line, no HDF5 and no file system; the trainer, evaluators and predictors
know no system by name. What only some systems can do (detect categories, ground expressions in boxes, take clips, …) is
a protocol of its own in `risctl.systems.protocols` or, for feature caching, `risctl.systems.cacheable`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from risctl.core.encoders.base import TextFeatures, VisualFeatures
from risctl.data.batch import Batch, Preprocess
from risctl.results import Prediction
from risctl.vision import rle
from risctl.vision.geometry import Geometry


@dataclass(slots=True, kw_only=True)
class Output:
    """The output of a forward pass over B (image, expression) pairs.

    Attributes:
        logits: (B, h, w), before the sigmoid, in the coordinates of the network's input; (B, T, h, w) of clips.
        scores: (B,) in [0, 1], the confidence of each answer; None if the system has none.
        boxes: (B, 4), xyxy in [0, 1] of the input; (B, T, 4) of clips; None if the system predicts none.
        maps: Named tensors (B, …) that explain the answer, such as attention or heatmaps.
        extras: What only the system's own loss needs.
    """

    logits: Tensor
    scores: Tensor | None = None
    boxes: Tensor | None = None
    maps: dict[str, Tensor] = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)


def per_expression(visual: VisualFeatures, batch: Batch) -> VisualFeatures:
    """Returns the features of each expression's image, given those of a batch's images, which expressions may share."""
    return visual if batch.image_rows is None else visual.select(batch.image_rows)


class System(nn.Module, ABC):
    """Base class of all systems for referring image segmentation.

    Attributes:
        preprocess: Turns images, expressions and masks into tensors; a subclass sets it in its constructor.
        no_target_threshold: Expressions that score below it get an empty mask; at 0 every expression gets its mask.
        compares_at_input: Whether its published figures are measured at the size of its input, so that its predictions
            keep their probabilities there.
        parts_vary: Whether two batches of one training may leave different parameters without a gradient.
        not_exported: Why the system cannot be exported, what follows "it cannot be exported:"; None where it can.
    """

    preprocess: Preprocess
    no_target_threshold: float = 0.0
    compares_at_input: bool = False
    parts_vary: bool = False
    not_exported: str | None = None

    @abstractmethod
    def encode_image(self, images: Tensor, padding: Tensor) -> VisualFeatures:
        """Encodes images independently of any expression.

        Args:
            images: (B, 3, H, W), RGB in [0, 1].
            padding: Bool (B, H, W), True outside the image.
        """

    @abstractmethod
    def encode_text(self, words: Tensor, word_mask: Tensor) -> TextFeatures:
        """Encodes expressions independently of any image.

        Args:
            words: Token ids, int64 (B, L).
            word_mask: Bool (B, L), True where there is a token.
        """

    @abstractmethod
    def decode(self, visual: VisualFeatures, text: TextFeatures) -> Output:
        """Segments N images by N expressions, row by row."""

    def forward(self, batch: Batch) -> Output:
        """Returns the output for each (image, expression) pair of `batch`."""
        visual = per_expression(self.encode_image(batch.images, batch.padding), batch)
        return self.decode(visual, self.encode_text(batch.words, batch.word_mask))

    @abstractmethod
    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns the named scalar loss terms; the trainer minimises their sum."""

    @torch.no_grad()
    def predict(
        self, output: Output, *, geometries: Sequence[Geometry], texts: Sequence[str], threshold: float
    ) -> list[Prediction]:
        """Turns an output into one prediction per row, at the size of each image.

        Args:
            output: B rows.
            geometries: How each of the B images lies in its own input. Where inputs of several sizes were padded to the
                largest, each row is cropped to its own input before it is brought to its image.
            texts: B expressions.
            threshold: Pixels whose probability is above it belong to the mask.
        """
        probabilities = output.logits.float().sigmoid()
        sizes = [geometry.padding().shape for geometry in geometries]
        largest = (max(height for height, _ in sizes), max(width for _, width in sizes))
        predictions = []
        for row, (geometry, text) in enumerate(zip(geometries, texts, strict=True)):
            height, width = (
                -(-cells * size // total)
                for cells, size, total in zip(probabilities.shape[-2:], sizes[row], largest, strict=True)
            )
            probability = geometry.invert(probabilities[row : row + 1, :height, :width])[0].cpu().numpy()
            at_input = probabilities[row, :height, :width].cpu().numpy() if self.compares_at_input else None
            predictions.append(
                self.prediction(
                    output,
                    row,
                    probability=probability,
                    at_input=at_input,
                    geometry=geometry,
                    text=text,
                    threshold=threshold,
                )
            )
        return predictions

    def prediction(
        self,
        output: Output,
        row: int,
        *,
        probability: np.ndarray,
        at_input: np.ndarray | None,
        geometry: Geometry,
        text: str,
        threshold: float,
    ) -> Prediction:
        """Returns the prediction of one row of an output whose probabilities have the image's size.

        Args:
            output: The output.
            row: Which of its rows.
            probability: Float32 (H, W); cleared where the row's score is below `no_target_threshold`.
            at_input: Float32 (h, w) of the input, likewise; None where no figures are measured there.
            geometry: How the image lies in its input.
            text: The expression.
            threshold: Pixels whose probability is above it belong to the mask.
        """
        score = None if output.scores is None else float(output.scores[row])
        matched = score is None or score >= self.no_target_threshold
        if not matched:
            probability = np.zeros_like(probability)
            at_input = None if at_input is None else np.zeros_like(at_input)
        mask = probability > threshold
        if score is None:
            score = float(probability[mask].mean()) if mask.any() else 0.0
        return Prediction(
            text=text,
            probability=probability,
            threshold=threshold,
            score=score,
            box=rle.box(rle.encode(mask)) if mask.any() else None,
            matched=matched,
            maps={name: values[row].float().cpu().numpy() for name, values in output.maps.items()},
            geometry=geometry,
            input_probability=at_input,
        )
