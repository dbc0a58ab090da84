"""CLIP's text transformer over the modules of Hugging Face's `CLIPTextModel`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import CLIPTextModel


class CLIPText(nn.Module):
    """CLIP's text encoder. `width`: channels of the embedding; `context`: the most tokens of a text."""

    def __init__(self, model: CLIPTextModel, projection: nn.Linear) -> None:
        super().__init__()
        self.model = model
        self.projection = projection
        self.width: int = projection.out_features
        self.context: int = model.config.max_position_embeddings

    def forward(self, ids: Tensor, ends: Tensor) -> Tensor:
        """Return features (N, width), not normalised, of token ids (N, L); `ends` (N,): where each end token stands.

        Tokens after the end are not seen: each token looks backwards only. Longer texts of a batch change nothing.
        """
        length = ids.shape[1]
        tokens = self.model.embeddings(input_ids=ids)
        bias = torch.full((length, length), -torch.inf, dtype=tokens.dtype, device=tokens.device).triu(1)[None, None]
        for layer in self.model.encoder.layers:
            tokens = layer(tokens, attention_mask=bias)
        last = tokens[torch.arange(len(ids), device=ids.device), ends]
        return self.projection(self.model.final_layer_norm(last))
