"""Defines systems that can be trained from cached features of their frozen encoders."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from risctl.core.encoders import frozen_prefix
from risctl.core.encoders.base import VisualFeatures
from risctl.data.batch import Batch
from risctl.systems.base import Output, System, per_expression


class FeatureCacheable(System):
    """A system whose encoders stand apart, so that the output of their frozen layers can be computed once and kept.

    Attributes:
        visual: The backbone, called with images and padding.
        text: The text encoder, called with token ids and their mask.
        padding_changes_features: Whether images of several sizes are padded to the largest of their batch, so that the
            backbone's features of an image depend on what it is batched with.
    """

    visual: nn.Module
    text: nn.Module
    padding_changes_features: bool = False

    def before_backbone(self, images: Tensor, padding: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what the backbone is given of images (B, 3, H, W) or (B, 3, 0, 0) with padding (B, H, W)."""
        return images, padding

    @abstractmethod
    def after_backbone(self, features: VisualFeatures) -> VisualFeatures:
        """Returns what `encode_image` makes of the backbone's features."""

    def encode_image(self, images: Tensor, padding: Tensor) -> VisualFeatures:
        """Encodes images (B, 3, H, W) with padding (B, H, W)."""
        return self.after_backbone(self.visual(*self.before_backbone(images, padding)))

    def forward(self, batch: Batch) -> Output:
        """Returns the output for each pair of `batch`, starting from its cached features where it has them."""
        if batch.cached_visual is None:
            visual = self.encode_image(batch.images, batch.padding)
        else:
            _, padding = self.before_backbone(batch.images, batch.padding)
            visual = self.after_backbone(frozen_prefix.finish_visual(self.visual, batch.cached_visual, padding))
        if batch.cached_text is None:
            text = self.encode_text(batch.words, batch.word_mask)
        else:
            text = frozen_prefix.finish_text(self.text, batch.cached_text, batch.word_mask)
        return self.decode(per_expression(visual, batch), text)
