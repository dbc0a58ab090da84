"""Defines VLT: vision-language transformer and query generation (Ding et al., ICCV 2021).

Follows the published code (henghuiding/Vision-Language-Transformer, 9b24015), with which the parity cases compare.
Modules say where the code goes beyond the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from risctl.core.encoders.base import TextFeatures, VisualFeatures
from risctl.core.fusion.query_balance import NoBalance, QueryBalance
from risctl.core.fusion.vlt_pyramid import VLTPyramid
from risctl.core.fusion.vlt_transformer import VLTTransformer
from risctl.core.heads.conv_mask import ConvMaskHead
from risctl.core.losses.mask import summed_cross_entropy
from risctl.core.losses.weight_penalty import convolution_penalty
from risctl.data.batch import Batch, Preprocess
from risctl.results import Prediction
from risctl.systems.base import Output
from risctl.systems.cacheable import FeatureCacheable
from risctl.systems.exportable import ExportsMaps
from risctl.systems.vlt.explain import QueryWords, explain_words


class VLT(FeatureCacheable, ExportsMaps):
    """Segments the object that an expression refers to.

    Query generation reads the expression in several ways; the transformer decodes each query over the fused map, and
    query balance weighs the responses before they become the mask. Inputs are squares of one
    size, a multiple of 32, as the cells of the map are the channels of two linear layers. Logits have half the input's
    size.

    Maps of an output, in evaluation mode only and with queries: "confidences" (B, Q) of the queries; "word_weights"
    (B, Q, L), what each query reads; "attention" (B, H/16, W/16), where the queries look, weighed by their confidences.
    """

    explanation_kind = "words"

    def __init__(
        self,
        *,
        preprocess: Preprocess,
        visual: nn.Module,
        text: nn.Module,
        pyramid: VLTPyramid,
        queries: nn.Module | None,
        transformer: VLTTransformer | None,
        balance: QueryBalance | NoBalance,
        head: ConvMaskHead,
        convolutions: nn.Module | None = None,
        weight_penalty: float = 5e-4,
    ) -> None:
        """Composes the model.

        Args:
            preprocess: Prepares images, expressions and masks.
            visual: The backbone.
            text: The text encoder.
            pyramid: Fuses the maps with the sentence.
            queries: A `QueryGeneration`, `PlainQueryGeneration` or `LearnedQueries`; None with `convolutions`.
            transformer: Encodes the fused map and decodes the queries; None with `convolutions`.
            balance: Weighs the queries' responses.
            head: Turns them into the mask.
            convolutions: Stand in for queries, transformer and balance: a map of the fused map's size goes to the head.
            weight_penalty: The factor of the weight penalty; 0: none.
        """
        super().__init__()
        self.preprocess = preprocess
        self.visual = visual
        self.text = text
        self.pyramid = pyramid
        self.queries = queries
        self.transformer = transformer
        self.balance = balance
        self.head = head
        self.convolutions = convolutions
        self.weight_penalty = weight_penalty

    def encode_image(self, images: Tensor, padding: Tensor) -> VisualFeatures:
        """Encodes images (B, 3, H, W) with padding (B, H, W).

        The reference treats the letterbox's border like the image, so padding is carried, but not used.

        Returns:
            The maps of the fusion's first, text-free part: (B, F/2, H/16, W/16), (B, F, H/16, W/16) and
            (B, 2F, H/32, W/32).
        """
        return super().encode_image(images, padding)

    def after_backbone(self, features: VisualFeatures) -> VisualFeatures:
        """Returns what `encode_image` makes of the backbone's maps."""
        return replace(features, maps=self.pyramid.prepare(features.maps), strides=(16, 16, 32))

    def encode_text(self, words: Tensor, word_mask: Tensor) -> TextFeatures:
        """Encodes word ids (B, L); the reference reads padding like words, so `word_mask` (B, L) is not used."""
        return self.text(words, word_mask)

    def decode(self, visual: VisualFeatures, text: TextFeatures) -> Output:
        """Segments N images by N expressions, row by row, without `scores`: confidences rank queries, not masks."""
        show = not self.training
        fusion = self.pyramid.join(visual.maps, text.sentence)
        if self.queries is None or self.transformer is None:
            assert self.convolutions is not None
            return Output(logits=self.head(self.convolutions(fusion.fused)))
        queries, read = self.queries(fusion.query_features, text.words, need_weights=show)
        memory = self.transformer.encode(fusion.fused)
        answers, seen = self.transformer.decode(queries, memory, need_weights=show)
        weighed, confidences = self.balance(queries, answers)
        maps = {}
        if read is not None and seen is not None:
            shares = confidences / confidences.sum(dim=1, keepdim=True).clamp_min(1e-12)
            where = torch.einsum("bq,bqc->bc", shares, seen)
            maps = {
                "confidences": confidences,
                "word_weights": read,
                "attention": where.unflatten(1, fusion.fused.shape[-2:]),
            }
        return Output(logits=self.head(weighed), maps=maps)

    def explain(self, frames: Sequence[Prediction]) -> QueryWords:
        """Returns what there is to show of a prediction that was made."""
        return explain_words(frames[0], self.preprocess)

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns "mask" (cross-entropy summed over pixels) and, if it has a factor, "weight_penalty"."""
        if batch.targets is None:
            raise ValueError("expected a batch with targets")
        terms = {"mask": summed_cross_entropy(output.logits, batch.targets)}
        if self.weight_penalty:
            terms["weight_penalty"] = convolution_penalty(self, self.weight_penalty)
        return terms
