"""Implements STEP's text encoder: a bidirectional LSTM over word vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from risctl.core.encoders.base import TextFeatures


class BiLSTMEncoder(nn.Module):
    """Encodes word ids as the states of both directions, words (B, L, channels), zero where there is no word.

    `channels` is 2 hidden, or hidden where the directions are summed. The sentence (B, channels) is the last state of
    each direction. The backward direction starts at a text's last word: it reads the text reversed within its length,
    so that padding changes nothing and no lengths leave the device. Source: Chen et al., ICCV 2019.
    """

    def __init__(
        self, *, embedding: nn.Module, dim: int, hidden: int = 1000, dropout: float = 0.0, summed: bool = False
    ) -> None:
        """Builds it on `embedding`, which maps ids (B, L) to vectors (B, L, dim)."""
        super().__init__()
        self.embedding = embedding
        self.ahead = _lstm(dim, hidden)
        self.back = _lstm(dim, hidden)
        self.dropout = nn.Dropout(dropout)
        self.summed = summed
        self.channels = hidden if summed else 2 * hidden

    def forward(self, words: Tensor, mask: Tensor) -> TextFeatures:
        """Encodes word ids (B, L) with mask (B, L), whose words come first."""
        vectors = self.dropout(self.embedding(words) * mask[..., None])
        index = torch.arange(mask.shape[1], device=mask.device)[None, :]
        count = mask.sum(dim=1, keepdim=True)  # (B, 1)
        reversed_index = torch.where(mask, count - 1 - index, index)[..., None]
        ahead = self.ahead(vectors)[0]
        back = self.back(vectors.gather(1, reversed_index.expand_as(vectors)))[0]
        last = (count - 1).clamp(min=0)[..., None].expand(-1, 1, ahead.shape[2])
        sentence = self._joined(ahead.gather(1, last), back.gather(1, last))[:, 0]
        states = self._joined(ahead, back.gather(1, reversed_index.expand_as(back))) * mask[..., None]
        return TextFeatures(words=self.dropout(states), mask=mask, sentence=sentence)

    def _joined(self, ahead: Tensor, back: Tensor) -> Tensor:
        return ahead + back if self.summed else torch.cat([ahead, back], dim=2)


def _lstm(dim: int, hidden: int) -> nn.LSTM:
    """Returns an LSTM initialised to forget little: orthogonal recurrence, forget gates biased by one."""
    lstm = nn.LSTM(dim, hidden, batch_first=True)
    with torch.no_grad():
        for name, parameter in lstm.named_parameters():
            if name.startswith("weight_ih"):
                nn.init.xavier_uniform_(parameter)
            elif name.startswith("weight_hh"):
                for gate in parameter.chunk(4):
                    nn.init.orthogonal_(gate)
            else:
                parameter.zero_()
                if name.startswith("bias_ih"):
                    parameter[hidden : 2 * hidden] = 1.0  # torch orders the gates input, forget, cell, output
    return lstm
