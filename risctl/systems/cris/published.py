"""Converts published CRIS checkpoints (DerrickWang005/CRIS.pytorch), of every CLIP ResNet, to our names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from risctl.core.encoders.clip_weights import HEAD_CHANNELS, blocks_in, stages_in, text_state
from risctl.core.encoders.visual.clip_resnet_maps import NUMBERS
from risctl.errors import CheckpointError, nearest
from risctl.weights.pytorch_file import read_state
from risctl.weights.renaming import count_numbered

_BACKBONE = "backbone."
_CONNECT = "backbone.visual.attnpool.connect."
_UNUSED = "backbone.logit_scale"
"""CLIP's temperature, which CRIS never uses."""

_NECK = {
    "txt_proj.0": "sentence",
    "txt_proj.1": "sentence_norm",
    "f1_v_proj": "coarse",
    "norm_layer.0": "product_norm",
    "f2_v_proj": "middle",
    "f2_cat.0": "join_middle.conv",
    "f2_cat.1": "join_middle.norm",
    "f3_v_proj": "fine",
    "f3_cat.0": "join_fine.conv",
    "f3_cat.1": "join_fine.norm",
    "f4_proj5": "refine_coarse",
    "f4_proj4": "refine_middle",
    "f4_proj3": "refine_fine",
    "aggr.0": "join.conv",
    "aggr.1": "join.norm",
    "coordconv.0.conv1": "place",
    "coordconv.1": "out",
}
_LAYER = {
    "norm1": "self_norm",
    "self_attn": "self_attention",
    "self_attn_norm": "self_out_norm",
    "norm2": "word_norm",
    "multihead_attn": "word_attention",
    "cross_attn_norm": "word_out_norm",
    "norm3": "norm",
    "ffn": "feed_forward",
}
_HEAD = {
    "vis.1.0": "ups.0.conv",
    "vis.1.1": "ups.0.norm",
    "vis.3.0": "ups.1.conv",
    "vis.3.1": "ups.1.norm",
    "vis.4": "pixels",
    "txt": "kernel",
}


def read_cris(path: Path) -> dict[str, Tensor]:
    """Reads the tensors under `state_dict` of a published checkpoint, `module.` left out; no code in it is run.

    Raises:
        CheckpointError: There is no such file, or it holds something else.
    """
    return read_state(path, what="a CRIS checkpoint", inside=("state_dict",))


def cris_model(state: Mapping[str, Tensor], *, source: Path) -> dict[str, Any]:
    """Infers the recipe's `model` section from the shapes of a published checkpoint.

    What no shape shows is left out: the input's size, the length of texts, and the heads, which were always 8.

    Raises:
        CheckpointError: The tensors are not those of CRIS.
    """

    def shape(name: str, axes: int) -> tuple[int, ...]:
        if name not in state or state[name].ndim != axes:
            hint = nearest(name, state)
            near = f"; nearest is {hint}" if hint else ""
            raise CheckpointError(f"{source} is no CRIS checkpoint: expected {name} with {axes} axes{near}")
        return tuple(state[name].shape)

    width, projection = shape("backbone.text_projection", 2)
    return {
        "system": "cris",
        "hidden": shape("neck.f2_v_proj.0.weight", 4)[0],
        "decoder_layers": count_numbered(state, r"decoder\.layers\.(\d+)\."),
        "feed_forward": shape("decoder.layers.0.ffn.0.weight", 2)[0],
        "visual": {"name": _backbone(state, shape, source=source)},
        "text": {
            "name": "clip",
            "weights": None,
            "layers": blocks_in(state, "backbone.transformer."),
            "width": width,
            "heads": max(1, width // HEAD_CHANNELS),
            "feed_forward": shape("backbone.transformer.resblocks.0.mlp.c_fc.weight", 2)[0],
            "projection": projection,
        },
    }


def cris_state(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the published tensors by our names. Unknown ones keep theirs, for whoever loads them to report."""
    state: dict[str, Tensor] = {}
    for name, value in published.items():
        if name == _UNUSED:
            continue
        if name.startswith(_CONNECT):
            state[f"visual.connect.{name.removeprefix(_CONNECT)}"] = value
        elif name.startswith("backbone.visual."):
            state[f"visual.resnet.{name.removeprefix('backbone.visual.')}"] = value
        elif name.startswith(_BACKBONE):
            state |= text_state({name.removeprefix(_BACKBONE): value}, prefix="text.clip.") or {name: value}
        else:
            state[our_name(name) or name] = value
    return state


def our_name(name: str) -> str | None:
    """Returns our name of a published key outside the backbone, None if it has none."""
    if name.startswith("decoder.norm."):
        return name
    for pattern, table, prefix in (
        (r"neck\.", _NECK, "neck."),
        (r"decoder\.layers\.(\d+)\.", _LAYER, r"decoder.layers.\1."),
        (r"proj\.", _HEAD, "head."),
    ):
        match = re.match(pattern, name)
        if match:
            rest = name[match.end() :]
            for theirs, ours in table.items():
                if rest.startswith(f"{theirs}."):
                    return match.expand(prefix) + ours + rest[len(theirs) :]
    return None


def _backbone(state: Mapping[str, Tensor], shape: Any, *, source: Path) -> str:
    channels = shape("backbone.visual.layer1.0.conv1.weight", 4)[0]
    cells = shape("backbone.visual.attnpool.positional_embedding", 2)[0] - 1
    found = (
        stages_in(state, "backbone.visual."),
        channels,
        shape("backbone.visual.attnpool.c_proj.weight", 2)[0],
        32 * round(cells**0.5),
    )
    for name, numbers in NUMBERS.items():
        if found == (numbers.layers, numbers.channels, numbers.width, numbers.resolution):
            return name
    layers, channels, width, resolution = found
    raise CheckpointError(
        f"{source}: expected one of CLIP's ResNets ({', '.join(NUMBERS)}), got one of {'-'.join(map(str, layers))} "
        f"blocks, {channels} channels, an embedding of {width} and an input of {resolution}"
    )
