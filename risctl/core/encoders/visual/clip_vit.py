"""Runs CLIP's vision transformer on the modules of Hugging Face's `CLIPVisionModel`, masked by proposals.

The forward is written here because a proposal's mask enters between the blocks (Global-Local CLIP, CVPR 2023): before
each of the last blocks the patch tokens, except CLS, are multiplied by the mask; there is no attention mask.

A patch outside a mask is then the zero vector at each of these blocks, and a block's output for it is zeroed again
before the next. All such patches thus have the same key and value: one token represents all of them, with the logarithm
of their number added to its attention logit. For a small object most patches are never computed, and the result is the
same up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPVisionModel

from risctl.errors import CheckpointError

if TYPE_CHECKING:
    from transformers.models.clip.modeling_clip import CLIPEncoderLayer

# Tokens of one batch of masked sequences; bounds the memory whatever the number of proposals.
_TOKENS_AT_ONCE = 2048
_REGION_BIAS = -100.0


class CLIPViT(nn.Module):
    """CLIP's ViT.

    Attributes:
        resolution: Side of the input in pixels.
        grid: Patches per side.
        width: Channels of the embedding.
        normalisation: Mean and deviation of its pixels; None: those that Global-Local CLIP was published with.
    """

    normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None

    def __init__(self, model: CLIPVisionModel, projection: nn.Linear) -> None:
        """Raises `CheckpointError` if the configuration gives image_size or patch_size as anything but one number."""
        super().__init__()
        side, patch = model.config.image_size, model.config.patch_size
        if not isinstance(side, int) or not isinstance(patch, int):
            raise CheckpointError(
                f"expected image_size and patch_size of a CLIP as one number each, got {side} and {patch}; "
                f"take a CLIP of square images whose configuration gives their side"
            )
        self.model = model
        self.projection = projection
        self.resolution = side
        self.grid = side // patch
        self.width: int = projection.out_features
        self.heads: int = model.config.num_attention_heads
        self.depth: int = model.config.num_hidden_layers

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        return self.projection.weight.dtype

    def features(self, images: Tensor) -> Tensor:
        """Returns the ordinary CLIP features (N, width), not normalised, of images (N, 3, S, S).

        Images of another size than `resolution` get interpolated position embeddings: similar features at lower cost.
        """
        return self._read_out(self._last(self.backbone(images, blocks=self.depth - 1)))

    def backbone(self, images: Tensor, *, blocks: int) -> Tensor:
        """Returns the tokens (N, 1 + P, D), CLS first, after the first `blocks` blocks."""
        tokens = self.model.pre_layrnorm(self._embedded(images.to(self.dtype)))
        for number in range(blocks):
            tokens = self._block(number, tokens)
        return tokens

    def masked(self, tokens: Tensor, masks: Tensor, *, last: int = 3) -> Tensor:
        """Returns the features of one image through each of N soft masks.

        Args:
            tokens: Output of `backbone` without its `last` blocks, (1, 1 + P, D).
            masks: Masks (N, grid, grid) in [0, 1].
            last: How many blocks are masked.

        Returns:
            Features (N, width), not normalised.
        """
        flat = masks.reshape(len(masks), -1).to(tokens.dtype)
        found = tokens.new_zeros((len(masks), self.width))
        if last == 0:
            return self._read_out(tokens[:, 0]).expand(len(masks), -1).clone()
        for chosen, columns, weights, bias in _packed(flat):
            some = torch.cat([tokens.expand(len(chosen), -1, -1)[:, :1], tokens[0, 1:][columns]], dim=1)
            for number in range(self.depth - last, self.depth - 1):
                some = self._block(number, _weighted(some, weights), bias)
            found[chosen] = self._read_out(self._last(_weighted(some, weights), bias))
        return found

    def region_tokens(self, images: Tensor, masks: Tensor, *, last: int = 3) -> Tensor:
        """Returns features (N, width) of one image (1, 3, S, S), CLS attending to each region only (the region token).

        In the last blocks the attention logits of CLS to patches outside the masks, bool (N, grid, grid), are lowered
        by 100.
        """
        tokens = self.backbone(images, blocks=self.depth - last)
        outside = ~masks.reshape(len(masks), -1)
        bias = torch.zeros((len(masks), 1, 1 + outside.shape[1], 1 + outside.shape[1]), device=tokens.device)
        bias[:, 0, 0, 1:] = torch.where(outside, _REGION_BIAS, 0.0)
        bias = bias.to(tokens.dtype)
        found = []
        step = max(1, _TOKENS_AT_ONCE // tokens.shape[1])
        for start in range(0, len(masks), step):
            part = bias[start : start + step]
            some = tokens.expand(len(part), -1, -1)
            for number in range(self.depth - last, self.depth - 1):
                some = self._block(number, some, part)
            found.append(self._read_out(self._last(some, part[:, :, :1])))
        return torch.cat(found) if found else tokens.new_zeros((0, self.width))

    def dense(self, images: Tensor) -> Tensor:
        """Returns an embedding per patch, (N, width, grid, grid): the last block's values, without its attention.

        The counterpart of a ResNet's "v_proj, then c_proj" (MaskCLIP, ECCV 2022).
        """
        tokens = self.backbone(images, blocks=self.depth - 1)
        layer = self._layer(-1)
        attention = layer.self_attn
        values = attention.out_proj(attention.v_proj(layer.layer_norm1(tokens)))
        cells = self._read_out(values)[:, 1:]
        return cells.transpose(1, 2).reshape(images.shape[0], -1, self.grid, self.grid)

    def activations(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the normed patch tokens that enter the last block, (N, D, grid, grid), and the resulting features.

        Grad-CAM differentiates the latter by the former.
        """
        tokens = self.backbone(images, blocks=self.depth - 1).detach().requires_grad_()
        normed = self._layer(-1).layer_norm1(tokens)
        normed.retain_grad()
        cells = normed[:, 1:].transpose(1, 2).reshape(images.shape[0], -1, self.grid, self.grid)
        cells.retain_grad()
        rebuilt = torch.cat([normed[:, :1], cells.flatten(2).transpose(1, 2)], dim=1)
        return cells, self._read_out(self._last(tokens, normed=rebuilt))

    def _layer(self, number: int) -> CLIPEncoderLayer:
        return cast("CLIPEncoderLayer", self.model.encoder.layers[number])

    def _embedded(self, images: Tensor) -> Tensor:
        return self.model.embeddings(images, interpolate_pos_encoding=images.shape[-1] != self.resolution)

    def _block(self, number: int, tokens: Tensor, bias: Tensor | None = None) -> Tensor:
        layer = self._layer(number)
        normed = layer.layer_norm1(tokens)
        tokens = tokens + self._attended(number, normed, normed, bias)
        return tokens + layer.mlp(layer.layer_norm2(tokens))

    def _last(self, tokens: Tensor, bias: Tensor | None = None, *, normed: Tensor | None = None) -> Tensor:
        """Returns CLS (N, D) after the last block, in which no other token is needed."""
        layer = self._layer(-1)
        normed = layer.layer_norm1(tokens) if normed is None else normed
        one = tokens[:, :1] + self._attended(self.depth - 1, normed[:, :1], normed, bias)
        return (one + layer.mlp(layer.layer_norm2(one)))[:, 0]

    def _attended(self, number: int, queries: Tensor, keys: Tensor, bias: Tensor | None) -> Tensor:
        attention = self._layer(number).self_attn

        def split(values: Tensor) -> Tensor:
            return values.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        joined = functional.scaled_dot_product_attention(
            split(attention.q_proj(queries)), split(attention.k_proj(keys)), split(attention.v_proj(keys)), bias
        )
        return attention.out_proj(joined.transpose(1, 2).flatten(2))

    def _read_out(self, tokens: Tensor) -> Tensor:
        return self.projection(self.model.post_layernorm(tokens))


def _weighted(tokens: Tensor, weights: Tensor) -> Tensor:
    return torch.cat([tokens[:, :1], tokens[:, 1:] * weights[..., None]], dim=1)


def _packed(masks: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Yields (which masks, columns, weights, attention bias) of masks (N, P) in batches, the shorter ones first.

    columns (n, K): which patches a sequence holds, the first one for all zeros; weights (n, K): their factors, 0 for
    that one and for the padding of the sequence; bias (n, 1, 1, 1 + K) to add to attention logits.
    """
    patches = masks.shape[1]
    counts = (masks != 0).sum(1)
    order = torch.argsort(counts, stable=True)
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (int(counts[order[stop]]) + 2) * (stop + 1 - start) <= _TOKENS_AT_ONCE:
            stop += 1
        chosen = order[start:stop]
        most = int(counts[chosen].max())
        # Non-zero patches first, in their order.
        ranked = torch.argsort((masks[chosen] == 0).to(torch.uint8), dim=1, stable=True)[:, :most]
        weights = masks[chosen].gather(1, ranked)
        bias = torch.full((len(chosen), 1, 1, 2 + most), -torch.inf, device=masks.device)
        bias[..., 0] = 0.0
        # The logarithm of 0, where no patch is outside, is -inf: the token that stands for none is not seen.
        bias[:, 0, 0, 1] = torch.log((patches - counts[chosen]).float())
        bias[:, 0, 0, 2:] = torch.where(weights != 0, 0.0, -torch.inf)
        columns = torch.cat([ranked.new_zeros((len(chosen), 1)), ranked], dim=1)
        weights = torch.cat([weights.new_zeros((len(chosen), 1)), weights], dim=1)
        yield chosen, columns, weights, bias.to(masks.dtype)
        start = stop
