"""VLT: vision-language transformer and query generation (Ding et al., ICCV 2021).

Follows the published code (henghuiding/Vision-Language-Transformer, 9b24015), which the parity cases compare with.
Where the code says more than the paper, the module that does so says it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from risctl.core.encoders.base import TextFeatures, VisualFeatures
from risctl.core.fusion.query_balance import QueryBalance
from risctl.core.fusion.vlt_pyramid import VLTPyramid
from risctl.core.fusion.vlt_transformer import VLTTransformer
from risctl.core.heads.conv_mask import ConvMaskHead
from risctl.core.losses.mask import summed_cross_entropy
from risctl.core.losses.weight_penalty import convolution_penalty
from risctl.data.batch import Batch, Preprocess
from risctl.results import Prediction
from risctl.systems.base import Output
from risctl.systems.cacheable import FeatureCacheable
from risctl.systems.vlt.explain import QueryWords, explain_words


class VLT(FeatureCacheable):
    """A picture and a phrase to one mask.

    The phrase is read in several ways (queries), each query asks the fused map, and the answers are weighed before they
    become the mask. Inputs are squares of one size, a multiple of 32: the cells of the map are the channels of two
    linear layers. Logits have half the input's size.

    Maps of an output, in evaluation mode only: "confidences" (B, Q) of the queries; "word_weights" (B, Q, L), what each
    query reads; "attention" (B, H/16, W/16), where the queries look, weighed by their confidences.
    """

    explanation_kind = "words"

    def __init__(
        self,
        *,
        preprocess: Preprocess,
        visual: nn.Module,
        text: nn.Module,
        pyramid: VLTPyramid,
        queries: nn.Module,
        transformer: VLTTransformer,
        balance: QueryBalance,
        head: ConvMaskHead,
        weight_penalty: float = 5e-4,
    ) -> None:
        """Compose it; `queries` is a `QueryGeneration` or a `PlainQueryGeneration`."""
        super().__init__()
        self.preprocess = preprocess
        self.visual = visual
        self.text = text
        self.pyramid = pyramid
        self.queries = queries
        self.transformer = transformer
        self.balance = balance
        self.head = head
        self.weight_penalty = weight_penalty

    def encode_image(self, images: Tensor, padding: Tensor) -> VisualFeatures:
        """Encode images (B, 3, H, W) with padding (B, H, W).

        The maps given are already those of the fusion's first, text-free part: (B, F/2, H/16, W/16),
        (B, F, H/16, W/16) and (B, 2F, H/32, W/32). The reference sees the letterbox's border like the picture, so
        padding is carried, not used.
        """
        return super().encode_image(images, padding)

    def after_backbone(self, features: VisualFeatures) -> VisualFeatures:
        """Return what `encode_image` makes of the backbone's maps."""
        return replace(features, maps=self.pyramid.prepare(features.maps), strides=(16, 16, 32))

    def encode_text(self, words: Tensor, word_mask: Tensor) -> TextFeatures:
        """Encode word ids (B, L) with mask (B, L). The reference reads padding like words, so the mask is not used."""
        return self.text(words, word_mask)

    def decode(self, visual: VisualFeatures, text: TextFeatures) -> Output:
        """Join N images with N texts, row by row. `scores` are not given: the confidences rank queries, not masks."""
        show = not self.training
        fusion = self.pyramid.join(visual.maps, text.sentence)
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
        """Return "mask" (cross-entropy summed over pixels) and, if it has a factor, "weight_penalty"."""
        if batch.targets is None:
            raise ValueError("expected a batch with targets")
        terms = {"mask": summed_cross_entropy(output.logits, batch.targets)}
        if self.weight_penalty:
            terms["weight_penalty"] = convolution_penalty(self, self.weight_penalty)
        return terms
