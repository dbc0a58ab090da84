"""Runs CLIP's text transformer on the modules of Hugging Face's `CLIPTextModel`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import CLIPTextModel


class CLIPText(nn.Module):
    """CLIP's text encoder.

    Attributes:
        width: Channels of the embedding.
        context: Largest number of tokens of a text.
    """

    def __init__(self, model: CLIPTextModel, projection: nn.Linear) -> None:
        super().__init__()
        self.model = model
        self.projection = projection
        self.width: int = projection.out_features
        self.context: int = model.config.max_position_embeddings

    def forward(self, ids: Tensor, ends: Tensor) -> Tensor:
        """Encodes texts; attention is causal, so tokens after the end token have no effect.

        Args:
            ids: Token ids (N, L).
            ends: The position of each text's end token, (N,).

        Returns:
            Features (N, width), not normalised.
        """
        states = self._layers(ids)[torch.arange(ids.shape[0], device=ids.device), ends]
        return self.projection(self.model.final_layer_norm(states))

    def states(self, ids: Tensor) -> Tensor:
        """Returns the states of all tokens after the last norm, (N, L, C), of token ids (N, L)."""
        return self.model.final_layer_norm(self._layers(ids))

    def _layers(self, ids: Tensor) -> Tensor:
        length = ids.shape[1]
        tokens = self.model.embeddings(input_ids=ids)
        bias = torch.full((length, length), -torch.inf, dtype=tokens.dtype, device=tokens.device).triu(1)[None, None]
        for layer in self.model.encoder.layers:
            tokens = layer(tokens, attention_mask=bias)
        return tokens
