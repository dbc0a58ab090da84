"""Runs SigLIP's vision transformer on the modules of transformers' `SiglipVisionModel`, masked by proposals.

It has no CLS token: a learned query attends to the patches after the last block. Before each of the last blocks the
patches are multiplied by a proposal's mask, as Global-Local CLIP does, and the query attends to those in the mask
alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from risctl.core.encoders.visual.clip_vit import CLIPViT
from risctl.errors import CheckpointError

_TOKENS_AT_ONCE = 2048  # of one batch of masked sequences; bounds the memory whatever the number of proposals


class SigLIPViT(CLIPViT):
    """SigLIP's ViT; see `CLIPViT` for the attributes. What needs a CLS token is refused."""

    def __init__(self, model: Any) -> None:
        """Raises `CheckpointError` if the model pools in another way than by a learned query."""
        if not getattr(model.config, "vision_use_head", True):
            raise CheckpointError("this SigLIP has no head that pools its patches, so that no mask can be pooled")
        super().__init__(model, nn.Linear(model.config.hidden_size, model.config.hidden_size, bias=False))
        self.projection = nn.Identity()  # type: ignore[assignment]

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        return self.model.post_layernorm.weight.dtype

    def features(self, images: Tensor) -> Tensor:
        """Returns the ordinary features (N, width), not normalised, of images (N, 3, S, S)."""
        return self._pooled(self.backbone(images, blocks=self.depth), None)

    def backbone(self, images: Tensor, *, blocks: int) -> Tensor:
        """Returns the patches (N, P, D) after the first `blocks` blocks."""
        tokens = self._embedded(images.to(self.dtype))
        for number in range(blocks):
            tokens = self._block(number, tokens)
        return tokens

    def masked(self, tokens: Tensor, masks: Tensor, *, last: int = 3) -> Tensor:
        """Returns the features (N, width) of one image through each of N soft masks; see `CLIPViT.masked`."""
        flat = masks.reshape(len(masks), -1).to(tokens.dtype)
        found = [tokens.new_zeros((0, self.width))]
        step = max(1, _TOKENS_AT_ONCE // tokens.shape[1])
        for start in range(0, len(flat), step):
            weights = flat[start : start + step, :, None]
            some = tokens.expand(len(weights), -1, -1)
            for number in range(self.depth - last, self.depth):
                some = self._block(number, some * weights)
            found.append(self._pooled(some, weights[..., 0] > 0))
        return torch.cat(found)

    def region_tokens(self, images: Tensor, masks: Tensor, *, last: int = 3) -> Tensor:
        """Raises `CheckpointError`: there is no CLS token."""
        raise CheckpointError("SigLIP has no CLS token; choose the method global-local or cropping")

    def dense(self, images: Tensor) -> Tensor:
        """Raises `CheckpointError`: there is no CLS token."""
        raise CheckpointError("SigLIP has no CLS token; choose the method global-local or cropping")

    def activations(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Raises `CheckpointError`: there is no CLS token."""
        raise CheckpointError("SigLIP has no CLS token; choose the method global-local or cropping")

    def _pooled(self, tokens: Tensor, inside: Tensor | None) -> Tensor:
        """Returns what the learned query reads of patches (N, P, D), of those `inside` (N, P) alone."""
        head: Any = self.model.head
        normed = self.model.post_layernorm(tokens)
        # Of a mask that covers no patch all are read.
        hidden = None if inside is None else ~inside & inside.any(1, keepdim=True)
        query = head.probe.expand(len(tokens), -1, -1)
        read = head.attention(query, normed, normed, key_padding_mask=hidden, need_weights=False)[0]
        return (read + head.mlp(head.layernorm(read)))[:, 0]
