"""ReLA, step by step: a mask per region in every layer, resized to the next level; deformable attention by sampling."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.beyond_plain.swin import PlainBert, PlainSwin


class Plain(nn.Module):
    """ReLA with the weights of a built system."""

    def __init__(self, system: Any) -> None:
        """Takes the layers of `system`, a `risctl.systems.rela.model.ReLA` with language gates."""
        super().__init__()
        self.text, self.visual, self.system = PlainBert(system.text), PlainSwin(system.visual), system

    def forward(self, images: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Returns the target's logits minus the background's, (B, H/4, W/4)."""
        words = self.text(ids, mask)
        background, target = self._decoded(self.visual(images, words, mask), words).unbind(1)
        return target - background

    def _decoded(self, maps: list[Tensor], words: Tensor) -> Tensor:
        decoder = self.system.pixel_decoder
        sources = [project(one) for project, one in zip(decoder.projections, reversed(maps[1:]), strict=True)]
        shapes = [(one.shape[2], one.shape[3]) for one in sources]
        tokens = torch.cat([one.flatten(2).transpose(1, 2) for one in sources], dim=1)
        positions = [_sine(shape, decoder.hidden) for shape in shapes]
        position = torch.cat([one + level for one, level in zip(positions, decoder.level, strict=True)], dim=0)[None]
        centres = torch.cat([_centres(shape) for shape in shapes], dim=0)
        for layer in decoder.encoder:
            seen = _deformable(layer.attention, tokens + position, centres, tokens, shapes)
            tokens = layer.norm(tokens + seen)
            inner = layer.feed_forward
            tokens = inner.norm(tokens + inner.second(functional.relu(inner.first(tokens))))
        parts = tokens.split([height * width for height, width in shapes], dim=1)
        levels = [one.transpose(1, 2).unflatten(2, shape) for one, shape in zip(parts, shapes, strict=True)]
        finest = functional.interpolate(levels[-1], size=maps[0].shape[2:], mode="bilinear", align_corners=False)
        features = decoder.mask_features(decoder.out(decoder.lateral(maps[0]) + finest))
        return self._regions(features, levels, positions, words)

    def _regions(self, features: Tensor, levels: list[Tensor], positions: list[Tensor], words: Tensor) -> Tensor:
        decoder = self.system.region_decoder
        batch = len(words)
        regions = decoder.query[None].expand(batch, -1, -1)
        place = decoder.position[None].expand(batch, -1, -1)
        memories = [one.flatten(2).transpose(1, 2) + level for one, level in zip(levels, decoder.level, strict=True)]
        mask, hidden = self._heads(regions, features, levels[0])
        for number in range(len(decoder.image_attention)):
            level = number % len(levels)
            memory = memories[level]
            image = decoder.image_attention[number]
            seen = _attention(image.attention, regions + place, memory + positions[level], memory, hidden)
            regions = image.norm(regions + seen)
            if number == 0:
                read = decoder.words(words)
                language = decoder.language_attention
                answer = language.norm(regions + _attention(language.attention, regions, read, read, None))
                regions = regions + decoder.language_weight * decoder.language_gate.sigmoid() * answer
            among = decoder.region_attention[number]
            placed = regions + place
            regions = among.norm(regions + _attention(among.attention, placed, placed, regions, None))
            inner = decoder.feed_forward[number]
            regions = inner.norm(regions + inner.second(functional.relu(inner.first(regions))))
            mask, hidden = self._heads(regions, features, levels[(number + 1) % len(levels)])
        return mask

    def _heads(self, regions: Tensor, features: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the mask logits, and what each region does not attend to at the size of the next level."""
        decoder = self.system.region_decoder
        states = decoder.norm(regions)
        masks = torch.einsum("brm,bmhw->brhw", decoder.filters(states), features)
        classes = torch.einsum("brk,brhw->bkhw", decoder.minimap(states), masks)
        decoder.no_target(states).mean(1)
        small = functional.interpolate(masks, size=level.shape[2:], mode="bilinear", align_corners=False)
        hidden = small.sigmoid().flatten(2) < 0.5
        hidden[hidden.all(dim=2)] = False
        return classes, hidden


def _attention(
    layer: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor, hidden: Tensor | None
) -> Tensor:
    weights, biases = layer.in_proj_weight.chunk(3), layer.in_proj_bias.chunk(3)
    query, key, value = (
        functional.linear(one, weight, bias).unflatten(2, (layer.num_heads, -1)).transpose(1, 2)
        for one, weight, bias in zip((query, key, value), weights, biases, strict=True)
    )
    scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[3])
    if hidden is not None:
        scores = scores.masked_fill(hidden[:, None], float("-inf"))
    return layer.out_proj((scores.softmax(3) @ value).transpose(1, 2).flatten(2))


def _deformable(layer: Any, queries: Tensor, centres: Tensor, memory: Tensor, shapes: list[tuple[int, int]]) -> Tensor:
    batch, count = queries.shape[:2]
    value = layer.value(memory).unflatten(2, (layer.heads, -1))
    offsets = layer.offsets(queries).view(batch, count, layer.heads, layer.levels, layer.points, 2)
    weights = layer.weights(queries).unflatten(2, (layer.heads, -1)).softmax(-1)
    weights = weights.unflatten(3, (layer.levels, layer.points))
    extents = torch.tensor([(width, height) for height, width in shapes], dtype=queries.dtype)
    grids = 2 * (centres[None, :, None, None, None] + offsets / extents[:, None]) - 1
    sampled = []
    for level, (shape, cells) in enumerate(
        zip(shapes, value.split([height * width for height, width in shapes], dim=1), strict=True)
    ):
        maps = cells.flatten(2).transpose(1, 2).reshape(batch * layer.heads, -1, *shape)
        grid = grids[:, :, :, level].transpose(1, 2).flatten(0, 1)
        sampled.append(functional.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False))
    every = torch.stack(sampled, dim=-2).flatten(-2)
    share = weights.transpose(1, 2).reshape(batch * layer.heads, 1, count, -1)
    return layer.out((every * share).sum(-1).view(batch, -1, count).transpose(1, 2))


def _centres(shape: tuple[int, int]) -> Tensor:
    y, x = ((torch.arange(size) + 0.5) / size for size in shape)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).flatten(0, 1)


def _sine(shape: tuple[int, int], channels: int) -> Tensor:
    """Returns normalised sine positions (h w, channels), half for y, half for x."""
    half = channels // 2
    period = 10_000 ** (2 * torch.div(torch.arange(half), 2, rounding_mode="floor") / half)
    parts = []
    for axis, size in enumerate(shape):
        place = torch.arange(1, size + 1) / (size + 1e-6) * 2 * math.pi
        angle = place[:, None] / period
        waves = torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], dim=2).flatten(1)
        parts.append(waves[:, None].expand(-1, shape[1], -1) if axis == 0 else waves[None].expand(shape[0], -1, -1))
    return torch.cat(parts, dim=2).flatten(0, 1)
