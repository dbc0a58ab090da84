"""Runs CLIP's text transformer as a text encoder whose tokens and sentence are both read."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from risctl.core.blocks import freeze
from risctl.core.encoders.base import TextFeatures
from risctl.errors import UsageError

POSITIONS = 77
"""Tokens of the longest text that CLIP reads."""


class CLIPTextEncoder(nn.Module):
    """Encodes token ids as words (B, L, width) after the last norm, and the sentence (B, projection).

    The sentence is CLIP's: the last token, projected; the words are not projected. Attention is causal, so that what
    comes after a text changes nothing. Source: CRIS (CVPR 2022), section 3.1.

    Attributes:
        channels: Channels of the words.
        sentence_channels: Channels of the sentence.
    """

    def __init__(
        self,
        *,
        vocabulary: int,
        layers: int = 12,
        width: int = 512,
        heads: int = 8,
        feed_forward: int = 2048,
        projection: int = 1024,
        positions: int = POSITIONS,
        frozen: bool = False,
    ) -> None:
        """Builds it with random weights for `vocabulary` token ids.

        Args:
            vocabulary: Number of token ids.
            layers: Layers of the transformer.
            width: Width of its layers.
            heads: Its attention heads.
            feed_forward: Inner width of its feed-forward layers.
            projection: Channels of the sentence.
            positions: Tokens of the longest text.
            frozen: Whether it is not trained.
        """
        super().__init__()
        # Not above: every command would wait for it.
        from transformers import CLIPTextConfig, CLIPTextModel

        from risctl.core.encoders.text.clip_text import CLIPText

        config = CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=feed_forward,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            max_position_embeddings=positions,
            hidden_act="quick_gelu",
        )
        self.clip = CLIPText(CLIPTextModel(config), nn.Linear(width, projection, bias=False))
        self.channels = width
        self.sentence_channels = projection
        self.frozen = frozen
        self.train()

    def train(self, mode: bool = True) -> CLIPTextEncoder:
        """Sets the training mode; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            freeze((self.clip,))
        return self

    def forward(self, words: Tensor, mask: Tensor) -> TextFeatures:
        """Encodes token ids (B, L) with mask (B, L); the sentence is read at the last True of the mask.

        Raises:
            UsageError: There are more tokens than CLIP has positions.
        """
        if words.shape[1] > self.clip.context:
            raise UsageError(
                f"CLIP reads at most {self.clip.context} tokens, got {words.shape[1]}; lower model.max_words"
            )
        states = self.clip.states(words)
        numbers = torch.arange(words.shape[1], device=words.device)
        last = torch.where(mask, numbers, 0).amax(dim=1)
        ends = states[torch.arange(words.shape[0], device=words.device), last]
        return TextFeatures(words=states, mask=mask, sentence=self.clip.projection(ends))


def clip_text_state(source: str) -> dict[str, Tensor]:
    """Reads the text encoder of a CLIP from OpenAI's `.pt`, under the names of `CLIPText`; through float16, as there.

    Raises:
        CheckpointError: The file is missing, damaged or something else.
    """
    from pathlib import Path

    from risctl.core.encoders.clip_weights import read_published_clip, text_state, through_half

    return text_state(through_half(read_published_clip(Path(source).expanduser())))
