"""The names and shapes of a published VLT checkpoint; values are constants, and the long ones take no space on disk."""

from __future__ import annotations

import math
from pathlib import Path

import h5py
import numpy as np

STAGES = ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4))


def darknet_convolutions() -> list[tuple[int, int, int]]:
    """Return (kernel, in, out) of Darknet-53's 52 convolutions and the six of YOLO's first head."""
    layers = [(3, 3, 32)]
    for width, units in STAGES:
        layers.append((3, width // 2, width))
        layers += [(1, width, width // 2), (3, width // 2, width)] * units
    return layers + [(1, 1024, 512), (3, 512, 1024)] * 3


def vlt_shapes(
    *, queries: int = 16, hidden: int = 256, cells: int = 676, text: int = 1024, dim: int = 300, inner: int = 256
) -> dict[str, tuple[int, ...]]:
    """Return `{name: shape}` of a checkpoint, without an order."""
    shapes: dict[str, tuple[int, ...]] = {}

    def norm(number: int, width: int) -> None:
        for leaf in ("gamma", "beta", "moving_mean", "moving_variance"):
            shapes[f"batch_normalization_{number}/batch_normalization_{number}/{leaf}:0"] = (width,)

    def convolution(number: int, kernel: int, inputs: int, outputs: int) -> None:
        shapes[f"conv2d_{number}/conv2d_{number}/kernel:0"] = (kernel, kernel, inputs, outputs)
        if number in (73, 80):
            shapes[f"conv2d_{number}/conv2d_{number}/bias:0"] = (outputs,)
        else:
            norm(number + (0 if number <= 60 else 2 if number <= 72 else 1), outputs)

    rest = [(1, 1024, 512), (3, 512, 1024), (1, 512, 512), (1, 1536, 512), (1, 256, 256), (1, 768, 512)]
    rest += [(1, 512, 256), (3, 256, 512), (1, 1024, 512), (1, 1536, hidden), (1, hidden, hidden)]
    rest += [(3, 518, 518)] * 3 + [(1, 518, queries), (3, queries, hidden)] + [(3, hidden, hidden)] * 5
    for number, layer in enumerate([*darknet_convolutions(), *rest, (3, hidden, 1)], start=1):
        convolution(number, *layer)
    norm(61, 1024)
    norm(62, 1024)
    dense = [(text, text), (text, 1024), (cells, hidden), (text, hidden), *[(hidden, hidden)] * 5]
    dense += [(2 * hidden, hidden), (hidden, 1), (hidden, cells)]
    for number, (inputs, outputs) in enumerate(dense, start=1):
        shapes[f"dense_{number}/dense_{number}/kernel:0"] = (inputs, outputs)
        shapes[f"dense_{number}/dense_{number}/bias:0"] = (outputs,)
    for way in ("forward", "backward"):
        prefix = f"bidirectional_1/gru_module/bidirectional_1/{way}_gru_1"
        shapes[f"{prefix}/kernel:0"] = (dim, 3 * text)
        shapes[f"{prefix}/recurrent_kernel:0"] = (text, 3 * text)
        shapes[f"{prefix}/bias:0"] = (3 * text,)
    attentions = ["multi_head_attention_1"]
    for side, kinds in (("Encoder", ["Self"]), ("Decoder", ["Self", "Query"])):
        for layer in (1, 2):
            own = [f"{side}-{layer}-MultiHead{kind}Attention" for kind in kinds]
            attentions += own
            forward = f"{side}-{layer}-FeedForward"
            for leaf, shape in (("W1", (hidden, inner)), ("b1", (inner,)), ("W2", (inner, hidden)), ("b2", (hidden,))):
                shapes[f"{forward}/{forward}/{forward}_{leaf}:0"] = shape
            for name in (*own, forward):
                shapes[f"{name}-Norm/{name}-Norm/gamma:0"] = shapes[f"{name}-Norm/{name}-Norm/beta:0"] = (hidden,)
    for name in attentions:
        for letter in "qkvo":
            shapes[f"{name}/{name}/{name}_W{letter}:0"] = (hidden, hidden)
            shapes[f"{name}/{name}/{name}_b{letter}:0"] = (hidden,)
    return shapes


def write_h5(path: Path, shapes: dict[str, tuple[int, ...]], *, constants: dict[str, float] | None = None) -> None:
    """Write a Keras weights file in which each array is one constant: that of `constants`, else 0.01 or, if long, 0."""
    layers: dict[str, list[str]] = {}
    with h5py.File(path, "w") as file:
        for full, shape in shapes.items():
            layer, name = full.split("/", 1)
            layers.setdefault(layer, []).append(name)
            value = (constants or {}).get(full)
            if value is None and math.prod(shape) > 2000:
                _reserve(file, full, shape)
            else:
                file.create_dataset(full, data=np.full(shape, 0.01 if value is None else value, dtype=np.float32))
        for layer, names in layers.items():
            file[layer].attrs["weight_names"] = [name.encode() for name in names]
        file.attrs["layer_names"] = [layer.encode() for layer in layers]


def _reserve(file: h5py.File, name: str, shape: tuple[int, ...]) -> None:
    """Add an array of zeros that has its full length in the file, and is a hole on disk."""
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    links.set_create_intermediate_group(True)
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple(shape), plan, links)
