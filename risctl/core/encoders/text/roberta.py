"""Runs RoBERTa (Liu et al. 2019; transformers) as a text encoder, projected to the width of a system."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from risctl.core.blocks import freeze
from risctl.core.encoders.base import TextFeatures
from risctl.core.encoders.text.transformers_bert import attended, pretrained_state

POSITIONS = 514
PAD = 1
"""RoBERTa's id of padding, from which it also counts positions."""


class RobertaEncoder(nn.Module):
    """Encodes token ids as words (B, L, channels) and, from the pooled first token, the sentence (B, channels).

    Words and sentence share one resizer: linear, layer norm (eps 1e-12), dropout. Source: the published code of
    ReferFormer (Wu et al., CVPR 2022).
    """

    def __init__(
        self,
        *,
        vocabulary: int,
        channels: int,
        layers: int = 12,
        width: int = 768,
        heads: int = 12,
        feed_forward: int = 3072,
        positions: int = POSITIONS,
        dropout: float = 0.1,
        frozen: bool = False,
        frozen_dropout: bool = False,
    ) -> None:
        """Builds it with random weights for `vocabulary` token ids.

        Args:
            vocabulary: Number of token ids.
            channels: Width of words and sentence.
            layers: Layers of RoBERTa.
            width: Width of its layers.
            heads: Its attention heads.
            feed_forward: Inner width of its feed-forward layers.
            positions: Number of positions, those that padding takes included.
            dropout: Dropout within it and after the resizer.
            frozen: Whether RoBERTa is not trained; the resizer always is.
            frozen_dropout: Whether dropout acts in training within a RoBERTa that is not trained.
        """
        super().__init__()
        # Not above: every command would wait for it.
        from transformers import RobertaConfig, RobertaModel

        self.roberta = RobertaModel(
            RobertaConfig(
                vocab_size=vocabulary,
                hidden_size=width,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                intermediate_size=feed_forward,
                max_position_embeddings=positions,
                type_vocab_size=1,
                layer_norm_eps=1e-5,
                pad_token_id=PAD,
                hidden_dropout_prob=dropout,
                attention_probs_dropout_prob=dropout,
            )
        )
        self.resizer = nn.Sequential(nn.Linear(width, channels), nn.LayerNorm(channels, eps=1e-12), nn.Dropout(dropout))
        self.channels = channels
        self.frozen = frozen
        self.frozen_dropout = frozen and frozen_dropout and dropout > 0
        self.train()

    def train(self, mode: bool = True) -> RobertaEncoder:
        """Sets the training mode; a frozen RoBERTa stays in evaluation mode unless its dropout acts."""
        super().train(mode)
        if self.frozen:
            freeze((self.roberta,))
        if self.frozen_dropout:
            self.roberta.train(mode)
        return self

    def forward(self, words: Tensor, mask: Tensor) -> TextFeatures:
        """Encodes token ids (B, L) with mask (B, L)."""
        return self.finish(self.begin(words, mask), mask)

    def frozen_part(self) -> tuple[nn.Module, ...]:
        """Returns RoBERTa if its output never changes."""
        return (self.roberta,) if self.frozen and not self.frozen_dropout else ()

    def begin(self, words: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        """Returns RoBERTa's states (B, L, width) and its pooled first token (B, width)."""
        ids = torch.where(mask, words, torch.full_like(words, PAD))
        # Given explicitly, so that they depend on the mask alone.
        positions = torch.where(mask, mask.cumsum(1) + PAD, torch.full_like(words, PAD))
        read = self.roberta(input_ids=ids, attention_mask=attended(mask), position_ids=positions)
        return read.last_hidden_state, read.pooler_output

    def finish(self, parts: tuple[Tensor, ...], mask: Tensor) -> TextFeatures:
        """Returns the features of the output of `begin`."""
        states, pooled = parts
        return TextFeatures(words=self.resizer(states), mask=mask, sentence=self.resizer(pooled))


def roberta_state(source: str) -> dict[str, Tensor]:
    """Reads the weights of RoBERTa from a folder of transformers or a hub id, under the names of `RobertaModel`.

    Raises:
        CheckpointError: The folder lacks files, or the hub has no such model.
        MachineError: They are not in the folder or the hub's cache and cannot be downloaded.
    """
    from transformers import RobertaModel

    return pretrained_state(RobertaModel, source, name="RoBERTa")
