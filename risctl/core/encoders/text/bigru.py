"""Implements VLT's text encoder: a bidirectional GRU over word vectors, and a per-channel attention over words."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from risctl.core.blocks import dense
from risctl.core.encoders.base import TextFeatures


class BiGRU(nn.Module):
    """A bidirectional GRU, directions summed, whose reset gate is applied before the recurrent product.

    torch.nn.GRU applies it after (Keras's `reset_after=True`), so the steps are written out here, gates in the order
    z, r, h: h~ = tanh(W x + U (r * h) + b); h' = z h + (1 - z) h~. The products with the input are done for all steps
    at once, and the two directions run as one batch. Padding is processed like any word, as in the
    reference code.
    """

    def __init__(self, inputs: int, hidden: int, *, dropout: float = 0.0) -> None:
        """Builds it with `dropout` on its inputs."""
        super().__init__()
        self.hidden = hidden
        self.dropout = dropout
        self.kernel = nn.Parameter(torch.empty(2, inputs, 3 * hidden))
        self.recurrent = nn.Parameter(torch.empty(2, hidden, 3 * hidden))
        self.bias = nn.Parameter(torch.zeros(2, 3 * hidden))
        for direction in range(2):
            nn.init.xavier_uniform_(self.kernel.data[direction])
            nn.init.orthogonal_(self.recurrent.data[direction])

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, L, D) to (B, L, hidden)."""
        hidden = self.hidden
        both = torch.stack([x, x.flip(1)])  # (2, B, L, D)
        if self.training and self.dropout:
            # Keras drops the same channels at every step of a sequence, others in each direction.
            both = both * functional.dropout(torch.ones_like(both[:, :, :1]), self.dropout)
        inputs = torch.einsum("sbld,sdk->slbk", both, self.kernel) + self.bias[:, None, None]  # (2, L, B, 3H)
        gate_weight, new_weight = self.recurrent.split([2 * hidden, hidden], dim=2)
        state = inputs.new_zeros(2, x.shape[0], hidden)
        states = []
        for step in range(x.shape[1]):
            gate_input, new_input = inputs[:, step].split([2 * hidden, hidden], dim=2)
            update, reset = torch.baddbmm(gate_input, state, gate_weight).sigmoid().chunk(2, dim=2)
            new = torch.baddbmm(new_input, reset * state, new_weight).tanh()
            state = update * state + (1 - update) * new
            states.append(state)
        out = torch.stack(states, dim=2)  # (2, B, L, H)
        return out[0] + out[1].flip(1)


class BiGRUEncoder(nn.Module):
    """Encodes word ids as words (B, L, hidden), and their attended sum as the sentence (B, hidden).

    The attention weights the words for each channel separately: softmax over the words of tanh(Linear(words)). Source:
    the published code of VLT (Ding et al., ICCV 2021).
    """

    def __init__(self, *, embedding: nn.Module, dim: int, hidden: int = 1024, dropout: float = 0.1) -> None:
        """Builds it on `embedding`, which maps ids (B, L) to vectors (B, L, dim)."""
        super().__init__()
        self.embedding = embedding
        self.gru = BiGRU(dim, hidden, dropout=dropout)
        self.attention = dense(hidden, hidden)
        self.dropout = nn.Dropout(dropout)
        self.channels = hidden

    def forward(self, words: Tensor, mask: Tensor) -> TextFeatures:
        """Encodes word ids (B, L) with mask (B, L)."""
        return self.read(self.embedding(words), mask)

    def read(self, vectors: Tensor, mask: Tensor) -> TextFeatures:
        """Encodes word vectors (B, L, dim), zero where there is no word, with mask (B, L)."""
        words = self.gru(vectors)
        weights = self.dropout(self.attention(words).tanh()).softmax(dim=1)
        return TextFeatures(words=words, mask=mask, sentence=(weights * words).sum(dim=1))
