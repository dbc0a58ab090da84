"""The names and shapes of a published CRIS checkpoint, with small random values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from helpers.published_shapes import Shapes, attention, linear, norm
from torch import Tensor


def cris_shapes(
    *,
    layers: Sequence[int] = (3, 4, 6, 3),
    channels: int = 64,
    projection: int = 1024,
    grid: int = 7,
    vocabulary: int = 49_408,
    width: int = 512,
    text_layers: int = 12,
    hidden: int = 512,
    decoder_layers: int = 3,
    feed_forward: int = 2048,
) -> Shapes:
    """Return `{name: shape}`, names without `module.`; the defaults are those of ResNet-50."""
    shapes: Shapes = {
        "backbone.positional_embedding": (77, width),
        "backbone.text_projection": (width, projection),
        "backbone.logit_scale": (),
    }
    _resnet(shapes, layers, channels, projection, grid)
    for number in range(text_layers):
        block = f"backbone.transformer.resblocks.{number}"
        attention(shapes, f"{block}.attn.", width)
        norm(shapes, f"{block}.ln_1", width)
        linear(shapes, f"{block}.mlp.c_fc", width, 4 * width)
        linear(shapes, f"{block}.mlp.c_proj", 4 * width, width)
        norm(shapes, f"{block}.ln_2", width)
    shapes["backbone.token_embedding.weight"] = (vocabulary, width)
    norm(shapes, "backbone.ln_final", width)
    _neck(shapes, channels, projection, hidden)
    for number in range(decoder_layers):
        layer = f"decoder.layers.{number}"
        for name in ("self_attn_norm", "cross_attn_norm", "norm1", "norm2", "norm3"):
            norm(shapes, f"{layer}.{name}", hidden)
        attention(shapes, f"{layer}.self_attn.", hidden)
        attention(shapes, f"{layer}.multihead_attn.", hidden)
        linear(shapes, f"{layer}.ffn.0", hidden, feed_forward)
        norm(shapes, f"{layer}.ffn.3", feed_forward)
        linear(shapes, f"{layer}.ffn.4", feed_forward, hidden)
    norm(shapes, "decoder.norm", hidden)
    _block(shapes, "proj.vis.1", hidden, hidden, 3)
    _block(shapes, "proj.vis.3", hidden, hidden // 2, 3)
    shapes |= {"proj.vis.4.weight": (hidden // 2, hidden // 2, 1, 1), "proj.vis.4.bias": (hidden // 2,)}
    linear(shapes, "proj.txt", projection, hidden // 2 * 9 + 1)
    return shapes


def write_cris(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Write a checkpoint as published, and return its tensors without `module.`."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.zeros((), dtype=torch.int64)
        elif name.endswith("running_var"):
            state[name] = torch.rand(shape, generator=generator) + 0.5
        else:
            state[name] = 0.2 * torch.randn(shape, generator=generator)
    content = {
        "epoch": 3, "cur_iou": 0.5, "best_iou": 0.5, "prec": {"Pr@50": 0.6},
        "state_dict": {f"module.{name}": value for name, value in state.items()},
        "optimizer": {"state": {}, "param_groups": []}, "scheduler": {"milestones": [35]},
    }  # fmt: skip
    torch.save(content, path)
    return state


def _resnet(shapes: Shapes, layers: Sequence[int], channels: int, projection: int, grid: int) -> None:
    visual = "backbone.visual"
    for number, (inputs, outputs) in enumerate(
        ((3, channels // 2), (channels // 2, channels // 2), (channels // 2, channels)), start=1
    ):
        shapes[f"{visual}.conv{number}.weight"] = (outputs, inputs, 3, 3)
        _batch_norm(shapes, f"{visual}.bn{number}", outputs)
    inputs = channels
    for stage, blocks in enumerate(layers, start=1):
        inner = channels * 2 ** (stage - 1)
        for number in range(blocks):
            block = f"{visual}.layer{stage}.{number}"
            for index, (taken, given, kernel) in enumerate(
                ((inputs, inner, 1), (inner, inner, 3), (inner, 4 * inner, 1)), start=1
            ):
                shapes[f"{block}.conv{index}.weight"] = (given, taken, kernel, kernel)
                _batch_norm(shapes, f"{block}.bn{index}", given)
            if number == 0:
                shapes[f"{block}.downsample.0.weight"] = (4 * inner, inputs, 1, 1)
                _batch_norm(shapes, f"{block}.downsample.1", 4 * inner)
            inputs = 4 * inner
    shapes[f"{visual}.attnpool.positional_embedding"] = (grid * grid + 1, inputs)
    for name, outputs in (("k_proj", inputs), ("q_proj", inputs), ("v_proj", inputs), ("c_proj", projection)):
        linear(shapes, f"{visual}.attnpool.{name}", inputs, outputs)
    shapes[f"{visual}.attnpool.connect.0.weight"] = (projection, inputs, 1, 1)
    _batch_norm(shapes, f"{visual}.attnpool.connect.1", projection)


def _neck(shapes: Shapes, channels: int, projection: int, hidden: int) -> None:
    shapes["neck.txt_proj.0.weight"] = (2 * hidden, projection)
    _batch_norm(shapes, "neck.txt_proj.1", 2 * hidden)
    _batch_norm(shapes, "neck.norm_layer.0", 2 * hidden)
    for name, inputs, outputs, kernel in (
        ("f1_v_proj", projection, 2 * hidden, 1),
        ("f2_v_proj", 16 * channels, hidden, 3),
        ("f2_cat", 3 * hidden, hidden, 1),
        ("f3_v_proj", 8 * channels, hidden // 2, 3),
        ("f3_cat", hidden // 2 + hidden, hidden, 1),
        ("f4_proj5", 2 * hidden, hidden, 3),
        ("f4_proj4", hidden, hidden, 3),
        ("f4_proj3", hidden, hidden, 3),
        ("aggr", 3 * hidden, hidden, 1),
        ("coordconv.0.conv1", hidden + 2, hidden, 3),
        ("coordconv.1", hidden, hidden, 3),
    ):
        _block(shapes, f"neck.{name}", inputs, outputs, kernel)


def _block(shapes: Shapes, name: str, inputs: int, outputs: int, kernel: int) -> None:
    shapes[f"{name}.0.weight"] = (outputs, inputs, kernel, kernel)
    _batch_norm(shapes, f"{name}.1", outputs)


def _batch_norm(shapes: Shapes, name: str, width: int) -> None:
    for leaf in ("weight", "bias", "running_mean", "running_var"):
        shapes[f"{name}.{leaf}"] = (width,)
    shapes[f"{name}.num_batches_tracked"] = ()
