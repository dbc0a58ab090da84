"""BERT and the language-gated Swin of LAVT and ReLA, layer by layer as the papers and their code have them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class PlainBert(nn.Module):
    """BERT's layers over all positions."""

    def __init__(self, encoder: Any) -> None:
        """Takes the layers of a `BertEncoder`."""
        super().__init__()
        self.bert = encoder.bert
        self.heads = encoder.bert.config.num_attention_heads

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Returns the last hidden states (B, L, D)."""
        parts = self.bert.embeddings
        positions = torch.arange(ids.shape[1], device=ids.device)
        x = parts.word_embeddings(ids) + parts.position_embeddings(positions) + parts.token_type_embeddings.weight[0]
        x = parts.LayerNorm(x)
        hidden = (1 - mask[:, None, None].float()) * -10_000
        for layer in self.bert.encoder.layer:
            inner = layer.attention.self
            query, key, value = (
                part(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (inner.query, inner.key, inner.value)
            )
            weights = (query @ key.transpose(2, 3) / query.shape[-1] ** 0.5 + hidden).softmax(-1)
            seen = (weights @ value).transpose(1, 2).flatten(2)
            x = layer.attention.output.LayerNorm(x + layer.attention.output.dense(seen))
            x = layer.output.LayerNorm(x + layer.output.dense(functional.gelu(layer.intermediate.dense(x))))
        return x


class PlainSwin(nn.Module):
    """Swin's stages with pixel-word attention and a gate after each."""

    def __init__(self, visual: Any) -> None:
        """Takes the layers of a `LanguageBackbone` over a Swin."""
        super().__init__()
        self.visual = visual

    def forward(self, images: Tensor, words: Tensor, mask: Tensor) -> list[Tensor]:
        """Returns the normalised fused maps of the stages, (B, C, H, W)."""
        swin = self.visual.backbone
        x = swin.patches((images - swin.mean) / swin.deviation).permute(0, 2, 3, 1)
        x = swin.patch_norm(x)
        seen = mask[:, None].float()  # (B, 1, L)
        maps = []
        for number, blocks in enumerate(swin.stages):
            if number:
                x = self._merged(swin.merges[number - 1], x)
            for block in blocks:
                x = self._block(block, x)
            gate = self.visual.gates[number]
            fused = self._fused(gate, x.flatten(1, 2), words, seen).view_as(x)
            maps.append(self.visual.norms[number](fused).permute(0, 3, 1, 2).contiguous())
            if number < 3:
                x = x + gate.gate(fused) * fused
        return maps

    @staticmethod
    def _fused(gate: Any, x: Tensor, words: Tensor, seen: Tensor) -> Tensor:
        cells, text = x.transpose(1, 2), words.transpose(1, 2)

        def project(layer: nn.Linear, values: Tensor) -> Tensor:
            return functional.conv1d(values, layer.weight[:, :, None], layer.bias)

        batch, channels, count = cells.shape
        split = (batch, gate.heads, channels // gate.heads, -1)
        visual = functional.gelu(project(gate.visual, cells))
        query = functional.instance_norm(project(gate.query, cells)).view(split).transpose(2, 3)
        key, value = ((project(layer, text) * seen).view(split) for layer in (gate.key, gate.value))
        scores = query @ key * channels**-0.5 + (1e4 * seen[:, None] - 1e4)
        mixed = (scores.softmax(-1) @ value.transpose(2, 3)).transpose(2, 3).reshape(batch, channels, count)
        language = functional.instance_norm(project(gate.out, mixed))
        return functional.gelu(project(gate.project, visual * language)).transpose(1, 2)

    @staticmethod
    def _block(block: Any, x: Tensor) -> Tensor:
        _, height, width, channels = x.shape
        side, shift = block.window[1], block.shift[1]
        padded = functional.pad(block.norm1(x), (0, 0, 0, -width % side, 0, -height % side))
        rows, columns = padded.shape[1:3]
        mask = None
        if shift:
            padded = padded.roll((-shift, -shift), (1, 2))
            regions = torch.zeros(rows, columns)
            for place, (top, left) in enumerate(
                (one, two) for one in _regions(side, shift) for two in _regions(side, shift)
            ):
                regions[top, left] = place
            cells = _windows(regions[None, ..., None], side)[..., 0]
            mask = (cells[:, None] != cells[:, :, None]).float() * -100.0
        attention = block.attention
        windows = _windows(padded, side)
        qkv = attention.qkv(windows).unflatten(2, (3, attention.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        count = side * side
        bias = attention.table[attention.index.reshape(-1)].view(count, count, -1).permute(2, 0, 1)
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(2, 3) + bias
        if mask is not None:
            scores = scores.unflatten(0, (-1, len(mask))) + mask[:, None]
            scores = scores.flatten(0, 1)
        seen = attention.out((scores.softmax(-1) @ value).transpose(1, 2).flatten(2))
        seen = seen.view(-1, rows // side, columns // side, side, side, channels).permute(0, 1, 3, 2, 4, 5)
        seen = seen.reshape(-1, rows, columns, channels)
        if shift:
            seen = seen.roll((shift, shift), (1, 2))
        x = x + seen[:, :height, :width]
        return x + block.second(functional.gelu(block.first(block.norm2(x))))

    @staticmethod
    def _merged(merge: Any, x: Tensor) -> Tensor:
        x = functional.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        parts = [x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]]
        merged: Tensor = merge.reduction(merge.norm(torch.cat(parts, -1)))
        return merged


def _windows(x: Tensor, side: int) -> Tensor:
    batch, rows, columns, channels = x.shape
    cut = x.view(batch, rows // side, side, columns // side, side, channels).permute(0, 1, 3, 2, 4, 5)
    return cut.reshape(-1, side * side, channels)


def _regions(side: int, shift: int) -> tuple[slice, slice, slice]:
    return slice(0, -side), slice(-side, -shift), slice(-shift, None)
