"""Reads OpenAI's CLIP checkpoints, and gives their tensors the names of this package's encoders.

OpenCLIP's `.pt` files with the same names are read as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from risctl.weights.budget import check_regular
from risctl.weights.pytorch_file import read_state, state_of
from risctl.weights.torchscript import is_torchscript, read_torchscript

MEAN = (0.48145466, 0.4578275, 0.40821073)
STANDARD_DEVIATION = (0.26862954, 0.26130258, 0.27577711)

HEAD_CHANNELS = 64
"""Channels of an attention head, in all published models."""

VISUAL_TOWER = {
    "class_embedding": "embeddings.class_embedding",
    "positional_embedding": "embeddings.position_embedding.weight",
    "conv1.weight": "embeddings.patch_embedding.weight",
    "ln_pre.weight": "pre_layrnorm.weight",
    "ln_pre.bias": "pre_layrnorm.bias",
    "ln_post.weight": "post_layernorm.weight",
    "ln_post.bias": "post_layernorm.bias",
}
TEXT_TOWER = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
_IN_BLOCK = {
    "attn.out_proj": "self_attn.out_proj",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_TEXT = re.compile(r"(token_embedding|positional_embedding|ln_final|text_projection|transformer)\b")
_HALVED = re.compile(
    r"(?:.*\.)?(?:conv\d\.weight|downsample\.0\.weight|[kqvc]_proj\.(?:weight|bias)"
    r"|attn\.(?:in_proj_|out_proj\.)(?:weight|bias)|mlp\.c_(?:fc|proj)\.(?:weight|bias)|text_projection|proj)$"
)
"""The weights that OpenAI's code turns to float16: convolutions, linear layers, attention and projections."""


def read_published_clip(path: Path) -> dict[str, Tensor]:
    """Reads the tensors of a `.pt` file, a state dict or a TorchScript archive; no code in the file is run.

    Returns:
        The tensors by OpenAI's names, in float32.

    Raises:
        CheckpointError: The file is missing, damaged or something else.
    """
    what = "a CLIP checkpoint"
    check_regular(path, what=what)
    if is_torchscript(path):
        tensors = state_of(read_torchscript(path), path=path, what=what)
    else:
        tensors = read_state(path, what=what, inside=("state_dict",))
    return {name: one.float() if one.is_floating_point() else one for name, one in tensors.items()}


def through_half(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns float32 tensors by OpenAI's names, rounded to float16 where OpenAI's code keeps them so."""
    return {
        name: value.half().float() if _HALVED.match(name) and value.is_floating_point() else value
        for name, value in state.items()
    }


def tower_names(name: str, value: Tensor, names: Mapping[str, str], prefix: str) -> dict[str, Tensor]:
    """Returns a tensor of a transformer under the names of Hugging Face's modules; an unknown name stays.

    Args:
        name: OpenAI's name within the transformer's tower.
        value: The tensor. Queries, keys and values, which OpenAI packs, become three.
        names: The names outside the blocks: `VISUAL_TOWER` or `TEXT_TOWER`.
        prefix: What the new names begin with.
    """
    if name in names:
        return {prefix + names[name]: value}
    match = re.fullmatch(r"transformer\.resblocks\.(\d+)\.(.+)[._](weight|bias)", name)
    if match is None:
        return {prefix + name: value}
    number, part, leaf = match.groups()
    layer = f"{prefix}encoder.layers.{number}"
    if part == "attn.in_proj":
        pieces = zip("qkv", value.chunk(3), strict=True)
        return {f"{layer}.self_attn.{letter}_proj.{leaf}": piece for letter, piece in pieces}
    return {f"{layer}.{_IN_BLOCK.get(part, part)}.{leaf}": value}


def text_state(state: Mapping[str, Tensor], *, prefix: str = "") -> dict[str, Tensor]:
    """Returns the text encoder of a CLIP by OpenAI's names under those of `CLIPText`, each after `prefix`."""
    named: dict[str, Tensor] = {}
    for name, value in state.items():
        if name == "text_projection":
            named[f"{prefix}projection.weight"] = value.T
        elif _TEXT.match(name):
            named |= tower_names(name, value, TEXT_TOWER, f"{prefix}model.")
    return named


def blocks_in(state: Mapping[str, Tensor], prefix: str) -> int:
    """Returns the number of blocks of the transformer whose names begin with `prefix`."""
    return len({name.removeprefix(prefix).split(".")[1] for name in state if name.startswith(f"{prefix}resblocks.")})


def stages_in(state: Mapping[str, Tensor], prefix: str = "visual.") -> tuple[int, ...]:
    """Returns the blocks of the four stages of a ResNet whose names begin with `prefix`."""
    return tuple(
        len({name.split(".")[prefix.count(".") + 1] for name in state if name.startswith(f"{prefix}layer{number}.")})
        for number in range(1, 5)
    )
