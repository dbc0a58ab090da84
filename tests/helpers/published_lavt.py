"""The names and shapes in published LAVT checkpoints, written out from their modules' own structure."""

from __future__ import annotations

import argparse
from typing import Any

import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]

SWINS = {
    "swin_t": (96, (2, 2, 6, 2), 3),
    "swin_s": (96, (2, 2, 18, 2), 3),
    "swin_b": (128, (2, 2, 18, 2), 4),
    "swin_l": (192, (2, 2, 18, 2), 6),
}
"""Width, blocks and heads of the first stage."""


def lavt_shapes(name: str, *, window: int, words: int = 768) -> Shapes:
    """Return the names and shapes under `model` of a LAVT, without a text encoder."""
    width, depths, heads = SWINS[name]
    shapes: Shapes = {
        "backbone.patch_embed.proj.weight": (width, 3, 4, 4),
        **_affine("backbone.patch_embed.proj", width, weight=False),
        **_affine("backbone.patch_embed.norm", width),
    }
    for stage, depth in enumerate(depths):
        channels, layer = width * 2**stage, f"backbone.layers.{stage}."
        for block in range(depth):
            shapes |= _block(f"{layer}blocks.{block}.", channels, heads * 2**stage, window)
        for part, inputs in (
            ("vis_project.0", channels),
            ("image_lang_att.f_key.0", words),
            ("image_lang_att.f_query.0", channels),
            ("image_lang_att.f_value.0", words),
            ("image_lang_att.W.0", channels),
            ("project_mm.0", channels),
        ):
            shapes[f"{layer}fusion.{part}.weight"] = (channels, inputs, 1)
            shapes[f"{layer}fusion.{part}.bias"] = (channels,)
        shapes |= {f"{layer}res_gate.{number}.weight": (channels, channels) for number in (0, 2)}
        if stage < 3:
            shapes[f"{layer}downsample.reduction.weight"] = (2 * channels, 4 * channels)
            shapes |= _affine(f"{layer}downsample.norm", 4 * channels)
    for stage in range(4):
        shapes |= _affine(f"backbone.norm{stage}", width * 2**stage)
    return shapes | _decoder(width)


def bert_shapes(*, vocabulary: int, layers: int, width: int = 768, feed_forward: int = 3072) -> Shapes:
    """Return the names and shapes of a BERT without its pooler."""
    shapes: Shapes = {
        "embeddings.word_embeddings.weight": (vocabulary, width),
        "embeddings.position_embeddings.weight": (512, width),
        "embeddings.token_type_embeddings.weight": (2, width),
        **_affine("embeddings.LayerNorm", width),
    }
    for number in range(layers):
        layer = f"encoder.layer.{number}."
        for part in ("query", "key", "value"):
            shapes |= _linear(f"{layer}attention.self.{part}", width, width)
        shapes |= _linear(f"{layer}attention.output.dense", width, width)
        shapes |= _affine(f"{layer}attention.output.LayerNorm", width)
        shapes |= _linear(f"{layer}intermediate.dense", feed_forward, width)
        shapes |= _linear(f"{layer}output.dense", width, feed_forward)
        shapes |= _affine(f"{layer}output.LayerNorm", width)
    return shapes


def published_file(
    *, vocabulary: int, name: str = "swin_t", window: int = 7, one: bool = False, mha: str = ""
) -> dict[str, Any]:
    """Return what a published file holds, with a small BERT; random numbers."""
    generator = torch.Generator().manual_seed(0)

    def filled(shapes: Shapes) -> dict[str, Tensor]:
        # Views of one small tensor would not be read back as such; small random numbers in every tensor.
        state = {key: torch.randn(shape, generator=generator) * 0.05 for key, shape in shapes.items()}
        return state | {key: value.abs() + 1 for key, value in state.items() if key.endswith("running_var")}

    text = filled(bert_shapes(vocabulary=vocabulary, layers=1, width=64, feed_forward=32))
    model = filled(lavt_shapes(name, window=window, words=64))
    cells = window**2
    model["backbone.layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(cells, cells, dtype=torch.int64)
    model["classifier.bn1_4.num_batches_tracked"] = torch.tensor(7)
    if one:
        model |= {f"text_encoder.{key}": value for key, value in text.items()}
    return {
        "model": model,
        **({} if one else {"bert_model": text}),
        "optimizer": {"state": {}, "param_groups": [{"lr": 5e-5}]},
        "lr_scheduler": {"last_epoch": 39},
        "epoch": 39,
        "args": argparse.Namespace(model="lavt_one" if one else "lavt", mha=mha, swin_type="tiny", window12=False),
    }


def _decoder(width: int) -> Shapes:
    shapes: Shapes = {}
    hidden = 4 * width
    for level, inputs in ((4, 12 * width), (3, hidden + 2 * width), (2, hidden + width)):
        for number, channels in ((1, inputs), (2, hidden)):
            shapes[f"classifier.conv{number}_{level}.weight"] = (hidden, channels, 3, 3)
            for part in ("weight", "bias", "running_mean", "running_var"):
                shapes[f"classifier.bn{number}_{level}.{part}"] = (hidden,)
    return shapes | {"classifier.conv1_1.weight": (2, hidden, 1, 1), "classifier.conv1_1.bias": (2,)}


def _block(prefix: str, channels: int, heads: int, window: int) -> Shapes:
    return {
        **_affine(f"{prefix}norm1", channels),
        f"{prefix}attn.relative_position_bias_table": ((2 * window - 1) ** 2, heads),
        **_linear(f"{prefix}attn.qkv", 3 * channels, channels),
        **_linear(f"{prefix}attn.proj", channels, channels),
        **_affine(f"{prefix}norm2", channels),
        **_linear(f"{prefix}mlp.fc1", 4 * channels, channels),
        **_linear(f"{prefix}mlp.fc2", channels, 4 * channels),
    }


def _linear(name: str, outputs: int, inputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _affine(name: str, channels: int, *, weight: bool = True) -> Shapes:
    shapes: Shapes = {f"{name}.weight": (channels,)} if weight else {}
    return shapes | {f"{name}.bias": (channels,)}
