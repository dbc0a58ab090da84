"""Runs BERT (Devlin et al., NAACL 2019; transformers) as a text encoder, its last hidden states as they are.

Source: the published code of LAVT (CVPR 2022) and ReLA (CVPR 2023), which read all token states and pool nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from risctl.core.blocks import freeze
from risctl.core.encoders.base import TextFeatures
from risctl.core.encoders.text.transformers_bert import attended, pretrained_state

POSITIONS = 512
PAD = 0
"""BERT's id of padding."""


class BertEncoder(nn.Module):
    """Encodes token ids as words (B, L, width); the sentence is the first token, (B, width)."""

    def __init__(
        self,
        *,
        vocabulary: int,
        layers: int = 12,
        width: int = 768,
        heads: int = 12,
        feed_forward: int = 3072,
        positions: int = POSITIONS,
        dropout: float = 0.1,
        frozen: bool = False,
    ) -> None:
        """Builds it with random weights for `vocabulary` token ids.

        Args:
            vocabulary: Number of token ids.
            layers: Layers of the transformer.
            width: Width of its layers.
            heads: Its attention heads.
            feed_forward: Inner width of its feed-forward layers.
            positions: Number of positions.
            dropout: Dropout within it.
            frozen: Whether it is not trained.
        """
        super().__init__()
        # Not above: every command would wait for it.
        from transformers import BertConfig, BertModel

        self.bert = BertModel(
            BertConfig(
                vocab_size=vocabulary,
                hidden_size=width,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                intermediate_size=feed_forward,
                max_position_embeddings=positions,
                type_vocab_size=2,
                layer_norm_eps=1e-12,
                pad_token_id=PAD,
                hidden_dropout_prob=dropout,
                attention_probs_dropout_prob=dropout,
            ),
            add_pooling_layer=False,
        )
        self.channels = width
        self.frozen = frozen
        self.train()

    def train(self, mode: bool = True) -> BertEncoder:
        """Sets the training mode; a frozen BERT stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            freeze((self.bert,))
        return self

    def forward(self, words: Tensor, mask: Tensor) -> TextFeatures:
        """Encodes token ids (B, L) with mask (B, L); what lies beyond the mask gets features too, from its position."""
        ids = torch.where(mask, words, torch.full_like(words, PAD))
        states = self.bert(input_ids=ids, attention_mask=attended(mask)).last_hidden_state
        return TextFeatures(words=states, mask=mask, sentence=states[:, 0])


def bert_state(source: str) -> dict[str, Tensor]:
    """Reads the weights of BERT, without its pooler, from a folder of transformers or a hub id.

    Raises:
        CheckpointError: The folder lacks files, or the hub has no such model.
        MachineError: They are not in the folder or the hub's cache and cannot be downloaded.
    """
    from transformers import BertModel

    return pretrained_state(BertModel, source, name="BERT", add_pooling_layer=False)
