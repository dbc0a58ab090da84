"""CRIS, step by step."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from risctl.core.fusion.cris_decoder import positions_2d
from risctl.core.fusion.position import sinusoid, with_coordinates


class Plain(nn.Module):
    """CRIS with the weights of a built system."""

    def __init__(self, system: Any) -> None:
        """Takes the layers of `system`, a `risctl.systems.cris.model.CRIS` with CLIP's encoders."""
        super().__init__()
        self.system = system

    def forward(self, images: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Returns logits (B, H/4, W/4)."""
        words, sentence = self.text(ids, mask)
        fused = self.neck(self.maps(images), sentence)
        return self.head(self.decoder(fused, words, mask), sentence)

    def text(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Returns CLIP's tokens and its sentence."""
        model = self.system.text.clip.model
        length = ids.shape[1]
        x = model.embeddings.token_embedding(ids) + model.embeddings.position_embedding.weight[:length]
        later = torch.full((length, length), -math.inf, device=ids.device).triu(1)
        for layer in model.encoder.layers:
            own, normed = layer.self_attn, layer.layer_norm1(x)
            attended = attend(
                own.q_proj(normed), own.k_proj(normed), own.v_proj(normed), heads=own.num_heads, bias=later
            )
            x = x + own.out_proj(attended)
            inner = layer.mlp.fc1(layer.layer_norm2(x))
            x = x + layer.mlp.fc2(inner * torch.sigmoid(1.702 * inner))
        x = model.final_layer_norm(x)
        last = (mask * torch.arange(length, device=ids.device)).amax(dim=1)
        return x, self.system.text.clip.projection(x[torch.arange(len(x)), last])

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the maps at strides 8, 16 and 32, the last one through CLIP's pool."""
        encoder = self.system.visual
        net = encoder.resnet
        x = encoder.normalised(images)
        for number in (1, 2, 3):
            x = functional.relu(getattr(net, f"bn{number}")(getattr(net, f"conv{number}")(x)))
        x = net.layer1(functional.avg_pool2d(x, 2))
        fine = net.layer2(x)
        middle = net.layer3(fine)
        last = net.layer4(middle)
        pool = net.attnpool
        height, width = last.shape[-2:]
        grid = round((len(pool.positional_embedding) - 1) ** 0.5)
        positions = pool.positional_embedding[1:].T.reshape(1, -1, grid, grid)
        positions = functional.interpolate(positions, size=(height, width), mode="bicubic", align_corners=False)
        cells = (last + positions).flatten(2).transpose(1, 2)
        joined = attend(pool.q_proj(cells), pool.k_proj(cells), pool.v_proj(cells), heads=pool.heads)
        pooled = pool.c_proj(joined).transpose(1, 2).reshape(len(images), -1, height, width)
        return fine, middle, functional.relu(pooled + encoder.connect(last))

    def neck(self, maps: tuple[Tensor, Tensor, Tensor], sentence: Tensor) -> Tensor:
        """Returns the fused map, every join a convolution of concatenated maps."""
        neck = self.system.neck
        fine, middle, coarse = maps

        def join(part: Any, *joined: Tensor) -> Tensor:
            return functional.relu(part.norm(part.conv(torch.cat(joined, dim=1))))

        gate = functional.relu(neck.sentence_norm(neck.sentence(sentence)))[:, :, None, None]
        coarse = functional.relu(neck.product_norm(neck.coarse(coarse) * gate))
        middle = join(neck.join_middle, neck.middle(middle), upsampled(coarse))
        fine = join(neck.join_fine, functional.avg_pool2d(neck.fine(fine), 2), middle)
        parts = (neck.refine_fine(fine), neck.refine_middle(middle), upsampled(neck.refine_coarse(coarse)))
        return neck.out(neck.place(with_coordinates(join(neck.join, *parts), repeat=1)))

    def decoder(self, fused: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """Returns the decoded map."""
        height, width = fused.shape[-2:]
        position = positions_2d(height, width, channels=fused.shape[1], like=fused)
        keys = words + sinusoid(words.shape[1], words.shape[2], like=words)
        absent = torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, -math.inf)[:, None, None]
        x = fused.flatten(2).transpose(1, 2)
        for layer in self.system.decoder.layers:
            normed = layer.self_norm(x)
            placed = normed + position
            x = x + layer.self_out_norm(packed(layer.self_attention, placed, placed, normed))
            placed = layer.word_norm(x) + position
            x = x + layer.word_out_norm(packed(layer.word_attention, placed, keys, words, bias=absent))
            x = x + layer.feed_forward(layer.norm(x))
        return self.system.decoder.norm(x).transpose(1, 2).reshape(len(fused), -1, height, width)

    def head(self, decoded: Tensor, sentence: Tensor) -> Tensor:
        """Returns logits, each convolution on a map that was upsampled before."""
        head = self.system.head
        x = decoded
        for part in head.ups:
            x = functional.relu(part.norm(part.conv(upsampled(x))))
        x = head.pixels(x)
        kernels = head.kernel(sentence)
        rows = [
            functional.conv2d(one[None], kernel[:-1].reshape(1, -1, 3, 3), kernel[-1:], padding=1)[0, 0]
            for one, kernel in zip(x, kernels, strict=True)
        ]
        return torch.stack(rows)


def upsampled(x: Tensor) -> Tensor:
    """Returns a map at twice its size."""
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def attend(query: Tensor, key: Tensor, value: Tensor, *, heads: int, bias: Tensor | None = None) -> Tensor:
    """Returns attention as product, softmax, product, (B, N, C)."""
    query, key, value = (one.unflatten(-1, (heads, -1)).transpose(1, 2) for one in (query, key, value))
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    weights = (scores if bias is None else scores + bias).softmax(dim=-1)
    return (weights @ value).transpose(1, 2).flatten(2)


def packed(layer: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor, *, bias: Any = None) -> Tensor:
    """Returns the output of torch's attention layer, computed by `attend`."""
    weights, biases = layer.in_proj_weight.chunk(3), layer.in_proj_bias.chunk(3)
    query, key, value = (
        functional.linear(one, weight, shift)
        for one, weight, shift in zip((query, key, value), weights, biases, strict=True)
    )
    return layer.out_proj(attend(query, key, value, heads=layer.num_heads, bias=bias))
