"""Defines CRIS: CLIP-driven referring image segmentation (Wang et al., CVPR 2022).

Follows the published code (DerrickWang005/CRIS.pytorch, e596332), with which the parity cases compare. What the paper
calls text-to-pixel contrastive learning is the binary cross-entropy of a convolution whose kernel is the sentence's;
there is no further term.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn

from risctl.core.encoders.base import TextFeatures, VisualFeatures
from risctl.core.fusion.cris_decoder import CRISDecoder
from risctl.core.fusion.cris_neck import CRISNeck
from risctl.core.heads.sentence_kernel import SentenceKernelHead
from risctl.core.losses.mask import mean_cross_entropy
from risctl.data.batch import Batch, Preprocess
from risctl.results import Prediction
from risctl.systems.base import Output
from risctl.systems.cacheable import FeatureCacheable
from risctl.systems.cris.explain import PixelSimilarity, explain_similarity
from risctl.systems.exportable import ExportsMaps


class CRIS(FeatureCacheable, ExportsMaps):
    """Segments the object that an expression refers to.

    The neck fuses the backbone's maps with the sentence, the decoder lets each cell attend to the words, and the head
    compares every pixel with the sentence. Logits have a quarter of the input's size. The backbone and a part of the
    neck read no text, and are run once for all expressions about an image.

    Maps of an output, in evaluation mode only: "word_attention" (B, L, H/16, W/16), the share of its attention that
    each cell of the last decoder layer gives each token; shares of a cell sum to 1.
    """

    explanation_kind = "similarity"

    def __init__(
        self,
        *,
        preprocess: Preprocess,
        visual: nn.Module,
        text: nn.Module,
        neck: CRISNeck,
        decoder: CRISDecoder,
        head: SentenceKernelHead,
    ) -> None:
        """Composes the model.

        Args:
            preprocess: Prepares images, expressions and masks.
            visual: The backbone, with maps at strides 8, 16 and 32.
            text: The text encoder; its words have the decoder's width.
            neck: Fuses the maps with the sentence.
            decoder: Fuses the result with the words.
            head: Compares pixels with the sentence.
        """
        super().__init__()
        self.preprocess = preprocess
        self.visual = visual
        self.text = text
        self.neck = neck
        self.decoder = decoder
        self.head = head

    def encode_image(self, images: Tensor, padding: Tensor) -> VisualFeatures:
        """Encodes images (B, 3, H, W) with padding (B, H, W).

        The published code treats the letterbox's border like the image, so padding is carried, but not used.

        Returns:
            The maps of the neck's text-free part: (B, C, H/16, W/16) twice and (B, 2 C, H/32, W/32).
        """
        return super().encode_image(images, padding)

    def after_backbone(self, features: VisualFeatures) -> VisualFeatures:
        """Returns what `encode_image` makes of the backbone's maps."""
        return replace(features, maps=self.neck.prepare(features.maps), strides=(16, 16, 32))

    def encode_text(self, words: Tensor, word_mask: Tensor) -> TextFeatures:
        """Encodes token ids (B, L) with mask (B, L)."""
        features: TextFeatures = self.text(words, word_mask)
        return features

    def decode(self, visual: VisualFeatures, text: TextFeatures) -> Output:
        """Segments N images by N expressions, row by row."""
        fused = self.neck(visual.maps, text.sentence)
        decoded, attention = self.decoder(fused, text, need_weights=not self.training)
        logits = self.head(decoded, text.sentence)
        return Output(logits=logits, maps={} if attention is None else {"word_attention": attention})

    def explain(self, frames: Sequence[Prediction]) -> PixelSimilarity:
        """Returns what there is to show of a prediction that was made."""
        return explain_similarity(frames[0], self.preprocess)

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns "mask": the cross-entropy, averaged over pixels; targets are soft at their edges."""
        if batch.targets is None:
            raise ValueError("expected a batch with targets")
        return {"mask": mean_cross_entropy(output.logits, batch.targets, None)}
