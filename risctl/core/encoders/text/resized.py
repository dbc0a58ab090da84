"""Brings a text encoder to the width that a fusion takes."""

from __future__ import annotations

from torch import Tensor, nn

from risctl.core.blocks import freeze
from risctl.core.encoders.base import TextFeatures


class ResizedText(nn.Module):
    """A text encoder followed by a linear layer and a layer norm.

    Words and sentence share them where they are of one width.
    """

    def __init__(self, encoder: nn.Module, channels: int) -> None:
        """Wraps `encoder`; words and sentence then have `channels` channels."""
        super().__init__()
        self.encoder = encoder
        width = int(encoder.channels)  # type: ignore[arg-type]
        self.resizer = nn.Sequential(nn.Linear(width, channels), nn.LayerNorm(channels))
        sentence = int(getattr(encoder, "sentence_channels", width))
        self.sentence_resizer: nn.Module | None = None
        if sentence != width:
            self.sentence_resizer = nn.Sequential(nn.Linear(sentence, channels), nn.LayerNorm(channels))
        self.channels = channels
        self.train()

    def train(self, mode: bool = True) -> ResizedText:
        """Sets the training mode; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if getattr(self.encoder, "frozen", False):
            freeze((self.encoder,))
        return self

    def forward(self, words: Tensor, mask: Tensor) -> TextFeatures:
        """Encodes word ids (B, L) with mask (B, L)."""
        read: TextFeatures = self.encoder(words, mask)
        of_sentence = self.resizer if self.sentence_resizer is None else self.sentence_resizer
        return TextFeatures(words=self.resizer(read.words), mask=read.mask, sentence=of_sentence(read.sentence))
