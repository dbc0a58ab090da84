"""Defines LAVT: language-aware vision transformer (Yang et al., CVPR 2022).

Follows the published code (yz93/LAVT-RIS, 1da0af9), with which the parity cases compare. Its `lavt` and `lavt_one`
compute the same function and differ in where the text encoder is stored and whether its dropout acts in training.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from risctl.core.encoders.base import TextFeatures, VisualFeatures
from risctl.core.fusion.language_backbone import LanguageBackbone
from risctl.core.losses.mask import weighted_cross_entropy
from risctl.data.batch import Batch
from risctl.data.transforms.preprocess import SquarePreprocess
from risctl.results import Prediction
from risctl.systems.base import Output
from risctl.systems.cacheable import FeatureCacheable
from risctl.systems.exportable import ExportsMaps
from risctl.systems.lavt.decoder import LAVTDecoder, upsampled
from risctl.systems.lavt.explain import StageWords, explain_stages


class LAVT(FeatureCacheable, ExportsMaps):
    """Segments the object that an expression refers to.

    After each stage of the backbone, every cell reads the words (pixel-word attention), and a gate lets part of what
    it made of them into the next stage (sections 3.1 and 3.2 of the paper). Images are squares of one size, aspect not
    kept. Logits, the object's minus the background's, have the input's size, and are above 0 where the object's is
    larger.

    Only the first stage and the text encoder are computed once for many expressions about an image: from there on the
    backbone depends on the words.

    Maps of an output, in evaluation mode only: "words_1" to "words_4" (B, h, w, L), the attention of each stage's cells
    to the tokens; "gate_1" to "gate_3" (B, h, w), how far the gate behind a stage opens, the mean absolute value over
    channels. The fourth gate feeds nothing.
    """

    explanation_kind = "stages"
    compares_at_input = True
    visual: LanguageBackbone
    preprocess: SquarePreprocess

    def __init__(
        self,
        *,
        preprocess: SquarePreprocess,
        visual: LanguageBackbone,
        text: nn.Module,
        decoder: LAVTDecoder,
        class_weights: tuple[float, float] = (0.9, 1.1),
    ) -> None:
        """Composes the model.

        Args:
            preprocess: Prepares images, expressions and masks.
            visual: The backbone with its language gates.
            text: The text encoder.
            decoder: Joins the maps of the stages to logits.
            class_weights: Weights of background and object in the loss.
        """
        super().__init__()
        self.preprocess = preprocess
        self.visual = visual
        self.text = text
        self.decoder = decoder
        self.class_weights = class_weights

    def after_backbone(self, features: VisualFeatures) -> VisualFeatures:
        """Returns the features of the backbone's first stage as they are."""
        return features

    def encode_text(self, words: Tensor, word_mask: Tensor) -> TextFeatures:
        """Encodes token ids (B, L) with their mask (B, L), as far as the longest expression reaches.

        No layer reads padding, so leaving it out changes nothing.
        """
        if not word_mask.is_meta and not torch.compiler.is_compiling():
            longest = int(word_mask.sum(dim=1).max())
            words, word_mask = words[:, :longest], word_mask[:, :longest]
        features: TextFeatures = self.text(words, word_mask)
        return features

    def decode(self, visual: VisualFeatures, text: TextFeatures) -> Output:
        """Segments N images by N expressions, row by row, without `scores`."""
        show = not self.training
        read = self.visual.read(visual, text, detailed=show)
        logits = upsampled(self.decoder(read.maps), visual.padding.shape[-2:])
        maps = {}
        if show:
            missing = self.preprocess.max_words - text.mask.shape[1]
            for number, attention in enumerate(read.attention, start=1):
                maps[f"words_{number}"] = functional.pad(attention, (0, missing))
            maps |= {f"gate_{number}": opening for number, opening in enumerate(read.openings, start=1)}
        return Output(logits=logits[:, 1] - logits[:, 0], maps=maps)

    def explain(self, frames: Sequence[Prediction]) -> StageWords:
        """Returns what there is to show of a prediction that was made."""
        return explain_stages(frames[0], self.preprocess)

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns "mask", the cross-entropy of the two classes, weighted by class, over all pixels of the batch."""
        if batch.targets is None:
            raise ValueError("expected a batch with targets")
        return {"mask": weighted_cross_entropy(output.logits, batch.targets, weights=self.class_weights)}
