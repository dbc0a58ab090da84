"""Converts the published VLT checkpoints (Keras h5, henghuiding/Vision-Language-Transformer) to our names.

Keras numbers layers in the order of their creation, which is not that of the forward pass: convolution i is followed by
batch norm i up to 60, by i + 2 from 61 to 72 (61 and 62 normalise the sentence and the product), and by i + 1 from 74
to 79; 73 and 80 have a bias instead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from risctl.core.encoders.visual.darknet53_weights import blocks_from_keras, norm_from_keras
from risctl.errors import CheckpointError
from risctl.weights.pairing import WeightReader, kernel, matrix, tensor

CONVOLUTIONS = {
    59: "pyramid.coarse.0",
    60: "pyramid.coarse.1",
    61: "pyramid.middle",
    62: "pyramid.join_middle",
    63: "pyramid.fine",
    64: "pyramid.join_fine",
    65: "pyramid.refine.0",
    66: "pyramid.refine.1",
    67: "pyramid.reduce",
    68: "pyramid.fuse.0",
    69: "pyramid.fuse.1",
    70: "queries.visual.blocks.0",
    71: "queries.visual.blocks.1",
    72: "queries.visual.blocks.2",
    73: "queries.visual.reduce",
    74: "head.blocks.0",
    75: "head.blocks.1",
    76: "head.blocks.2",
    77: "head.ups.0",
    78: "head.ups.1",
    79: "head.ups.2",
    80: "head.out",
}
BIASED = (73, 80)
NORMS = {61: "pyramid.sentence_norm", 62: "pyramid.product_norm"}
DENSE = {
    1: "text.attention",
    2: "pyramid.sentence",
    3: "queries.visual.project",
    4: "queries.words",
    5: "queries.query",
    6: "queries.key",
    7: "queries.value",
    8: "balance.query",
    9: "balance.answer",
    10: "balance.join",
    11: "balance.score",
    12: "head.project",
}


def vlt_model(arrays: Mapping[str, np.ndarray], *, source: Path) -> dict[str, Any]:
    """Infers the recipe's `model` section from the shapes of a published checkpoint.

    What no shape shows is left out: `max_words`, and `heads`, which was always 8.

    Raises:
        CheckpointError: The arrays are not those of VLT.
    """

    def shape(name: str, axes: int) -> tuple[int, ...]:
        if name not in arrays or arrays[name].ndim != axes:
            raise CheckpointError(f"{source} is no VLT checkpoint: expected {name} with {axes} axes")
        return arrays[name].shape

    queries = shape("conv2d_73/conv2d_73/kernel:0", 4)[3]
    hidden, cells = shape("dense_12/dense_12/kernel:0", 2)
    dim, gates = shape(f"{_GRU}/forward_gru_1/kernel:0", 2)
    width = shape("conv2d_59/conv2d_59/kernel:0", 4)[3]
    inner = shape("Encoder-1-FeedForward/Encoder-1-FeedForward/Encoder-1-FeedForward_W1:0", 2)[1]
    grid = math.isqrt(cells)
    if grid * grid != cells or grid % 2:
        raise CheckpointError(f"{source}: expected dense_12 over the cells of a square map of even side, got {cells}")
    return {
        "system": "vlt",
        "input_size": 16 * grid,
        "queries": queries,
        "hidden": hidden,
        "encoder_layers": _layers(arrays, "Encoder"),
        "decoder_layers": _layers(arrays, "Decoder"),
        "feed_forward": inner,
        "fusion_channels": width,
        "head_channels": shape("conv2d_74/conv2d_74/kernel:0", 4)[3],
        "visual": {"name": "darknet53"},
        "text": {"hidden": gates // 3, "dim": dim},
    }


def vlt_state(arrays: Mapping[str, np.ndarray], *, source: Path) -> dict[str, Tensor]:
    """Returns the state of our `VLT` (reference variant) without word vectors, which no checkpoint holds.

    Raises:
        CheckpointError: Arrays are missing or unknown; all of them are named.
    """
    reader = WeightReader(arrays, source=source)
    state = blocks_from_keras(reader, "visual.")
    for number, ours in CONVOLUTIONS.items():
        layer = f"conv2d_{number}"
        if number in BIASED:
            state[f"{ours}.weight"] = kernel(reader.take(f"{layer}/{layer}/kernel:0"))
            state[f"{ours}.bias"] = tensor(reader.take(f"{layer}/{layer}/bias:0"))
        else:
            state[f"{ours}.conv.weight"] = kernel(reader.take(f"{layer}/{layer}/kernel:0"))
            state |= norm_from_keras(reader, f"batch_normalization_{_norm_of(number)}", f"{ours}.norm")
    for number, ours in NORMS.items():
        state |= norm_from_keras(reader, f"batch_normalization_{number}", ours)
    for number, ours in DENSE.items():
        layer = f"dense_{number}"
        state[f"{ours}.weight"] = matrix(reader.take(f"{layer}/{layer}/kernel:0"))
        state[f"{ours}.bias"] = tensor(reader.take(f"{layer}/{layer}/bias:0"))
    state |= _gru(reader)
    state |= _attention(reader, "multi_head_attention_1", "queries.attention")
    for number in range(_layers(arrays, "Encoder")):
        ours = f"transformer.encoder.{number}"
        theirs = f"Encoder-{number + 1}"
        state |= _attention(reader, f"{theirs}-MultiHeadSelfAttention", f"{ours}.attention", norm=True)
        state |= _feed_forward(reader, f"{theirs}-FeedForward", f"{ours}.feed_forward")
    for number in range(_layers(arrays, "Decoder")):
        ours = f"transformer.decoder.{number}"
        theirs = f"Decoder-{number + 1}"
        state |= _attention(reader, f"{theirs}-MultiHeadSelfAttention", f"{ours}.self_attention", norm=True)
        state |= _attention(reader, f"{theirs}-MultiHeadQueryAttention", f"{ours}.memory_attention", norm=True)
        state |= _feed_forward(reader, f"{theirs}-FeedForward", f"{ours}.feed_forward")
    reader.finish()
    return state


_GRU = "bidirectional_1/gru_module/bidirectional_1"


def _norm_of(convolution: int) -> int:
    if convolution <= 60:
        return convolution
    return convolution + (2 if convolution <= 72 else 1)


def _layers(arrays: Mapping[str, np.ndarray], kind: str) -> int:
    number = 0
    while any(name.startswith(f"{kind}-{number + 1}-") for name in arrays):
        number += 1
    return number


def _gru(reader: WeightReader) -> dict[str, Tensor]:
    names = {"kernel": "kernel", "recurrent": "recurrent_kernel", "bias": "bias"}
    return {
        f"text.gru.{ours}": torch.stack(
            [tensor(reader.take(f"{_GRU}/{way}_gru_1/{theirs}:0")) for way in ("forward", "backward")]
        )
        for ours, theirs in names.items()
    }


def _attention(reader: WeightReader, theirs: str, ours: str, *, norm: bool = False) -> dict[str, Tensor]:
    state = {}
    for name, letter in (("query", "q"), ("key", "k"), ("value", "v"), ("out", "o")):
        state[f"{ours}.{name}.weight"] = matrix(reader.take(f"{theirs}/{theirs}/{theirs}_W{letter}:0"))
        state[f"{ours}.{name}.bias"] = tensor(reader.take(f"{theirs}/{theirs}/{theirs}_b{letter}:0"))
    return state | (_layer_norm(reader, theirs, ours) if norm else {})


def _feed_forward(reader: WeightReader, theirs: str, ours: str) -> dict[str, Tensor]:
    state = {}
    for name, number in (("first", 1), ("second", 2)):
        state[f"{ours}.{name}.weight"] = matrix(reader.take(f"{theirs}/{theirs}/{theirs}_W{number}:0"))
        state[f"{ours}.{name}.bias"] = tensor(reader.take(f"{theirs}/{theirs}/{theirs}_b{number}:0"))
    return state | _layer_norm(reader, theirs, ours)


def _layer_norm(reader: WeightReader, theirs: str, ours: str) -> dict[str, Tensor]:
    layer = f"{theirs}-Norm"
    return {
        f"{ours}_norm.weight": tensor(reader.take(f"{layer}/{layer}/gamma:0")),
        f"{ours}_norm.bias": tensor(reader.take(f"{layer}/{layer}/beta:0")),
    }
