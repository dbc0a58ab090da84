"""Encodes texts with the text tower of any image-text model of transformers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class LibraryText(nn.Module):
    """The text tower of a model that has `get_text_features`, in the place of `CLIPText`.

    Attributes:
        context: Largest number of tokens of a text.
    """

    def __init__(self, model: Any, *, context: int, masked: bool) -> None:
        """Takes a model.

        Args:
            model: The whole model: its vision tower may be shared.
            context: Largest number of tokens of a text.
            masked: Whether padding is hidden from attention; SigLIP was trained with it in sight.
        """
        super().__init__()
        self.model = model
        self.context = context
        self._masked = masked

    def forward(self, ids: Tensor, ends: Tensor) -> Tensor:
        """Encodes texts.

        Args:
            ids: Token ids (N, L).
            ends: The position of each text's last token that is no padding, (N,).

        Returns:
            Features (N, width), not normalised.
        """
        inputs = {"input_ids": ids}
        if self._masked:
            places = torch.arange(ids.shape[1], device=ids.device)
            inputs["attention_mask"] = (places[None] <= ends[:, None]).long()
        features = self.model.get_text_features(**inputs)
        return features if isinstance(features, Tensor) else features.pooler_output
