"""Defines the system of a model of transformers that is fine-tuned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from risctl.core.encoders.base import TextFeatures, VisualFeatures
from risctl.data.batch import Batch
from risctl.systems.base import Output, System
from risctl.systems.transformers.families import Family
from risctl.systems.transformers.preprocess import ProcessorPreprocess


class FineTuned(System):
    """A model of transformers that answers phrases.

    What its family does is told by a `Family`; this class freezes parts, normalises images, and keeps the weights.
    """

    mean: Tensor
    deviation: Tensor
    not_exported = (
        "transformers computes it and prepares its inputs, which a folder of graphs does not hold; "
        "`risctl models save` writes a folder for transformers and its exporters"
    )

    def __init__(
        self,
        *,
        preprocess: ProcessorPreprocess,
        network: nn.Module,
        family: Family,
        frozen: Sequence[str],
        min_score: float | None,
        adapted: bool,
    ) -> None:
        """Composes the system.

        Args:
            preprocess: Prepares images, phrases and masks.
            network: The model, with its adapters if it has any.
            family: Talks to it.
            frozen: What the names of parameters begin with that do not train.
            min_score: Score from which an instance belongs to the answer; None: every phrase is answered.
            adapted: Whether adapters alone train.
        """
        super().__init__()
        self.preprocess: ProcessorPreprocess = preprocess
        self.network = network
        self.family = family
        self.learns_phrase_instances = family.min_score is not None
        self.min_score = min_score or 0.0
        self.no_target_threshold = self.min_score
        self._frozen = tuple(frozen)
        for name, parameter in network.named_parameters():
            if name.startswith(self._frozen) or (adapted and "lora_" not in name):
                parameter.requires_grad_(False)
        self.register_buffer("mean", torch.tensor(preprocess.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(preprocess.deviation).view(3, 1, 1), persistent=False)
        self.train()

    def train(self, mode: bool = True) -> FineTuned:
        """Sets the training mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        for name, module in self.network.named_modules():
            if f"{name}.".startswith(self._frozen):
                module.eval()
        return self

    def encode_image(self, images: Tensor, padding: Tensor) -> VisualFeatures:
        """Encodes images (B, 3, H, W), RGB in [0, 1], with padding (B, H, W), as far as that depends on no text."""
        pixels = ((images - self.mean) / self.deviation).masked_fill(padding[:, None], 0)
        maps = self.family.encode_image(self.network, pixels, padding)
        return VisualFeatures(maps=maps, strides=(1,) * len(maps), padding=padding)

    def encode_text(self, words: Tensor, word_mask: Tensor) -> TextFeatures:
        """Encodes token ids (B, L) with mask (B, L), as far as that depends on no image."""
        ids = torch.where(word_mask, words, torch.zeros_like(words))
        return self.family.encode_text(self.network, ids, word_mask)

    def decode(self, visual: VisualFeatures, text: TextFeatures) -> Output:
        """Segments N images by N phrases, row by row."""
        return self.family.decode(self.network, visual, text, min_score=self.min_score)

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns the loss terms of the family."""
        return self.family.loss(self.network, output, batch)

    def plain_network(self) -> Any:
        """Returns the model of transformers on the CPU, its adapters merged. It shares no tensor with this one."""
        from risctl.systems.transformers.lora import merged

        return merged(self.network)
