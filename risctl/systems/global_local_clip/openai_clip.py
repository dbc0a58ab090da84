"""OpenAI's CLIP checkpoints (also OpenCLIP's own `.pt`, which has the same names): their names to Hugging Face's.

The sizes follow from the shapes; heads are 64 channels wide, as everywhere in the published family.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModel

from risctl.core.encoders.clip import CLIP
from risctl.core.encoders.load_weights import load_state
from risctl.core.encoders.text.clip_text import CLIPText
from risctl.core.encoders.visual.clip_resnet import CLIPResNet
from risctl.core.encoders.visual.clip_vit import CLIPViT
from risctl.errors import CheckpointError
from risctl.weights.torchscript import is_torchscript, read_torchscript

_HEAD = 64
_SETTINGS = ("input_resolution", "context_length", "vocab_size")
_IN_BLOCK = {
    "attn.out_proj": "self_attn.out_proj",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_VISUAL = {
    "class_embedding": "embeddings.class_embedding",
    "positional_embedding": "embeddings.position_embedding.weight",
    "conv1.weight": "embeddings.patch_embedding.weight",
    "ln_pre.weight": "pre_layrnorm.weight",
    "ln_pre.bias": "pre_layrnorm.bias",
    "ln_post.weight": "post_layernorm.weight",
    "ln_post.bias": "post_layernorm.bias",
}
_TEXT = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}


def read_openai_clip(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a `.pt` file, a state dict or a TorchScript archive, by OpenAI's names, in float32.

    Neither runs anything in the file. Raises `CheckpointError` if it is missing, damaged or something else.
    """
    if not path.is_file():
        raise CheckpointError(f"expected a CLIP checkpoint at {path}, found no file")
    if is_torchscript(path):
        found = read_torchscript(path)
    else:
        try:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CheckpointError(f"{path} cannot be read as a CLIP checkpoint: {first}") from error
        state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
        if not isinstance(state, dict) or not all(isinstance(one, Tensor) for one in state.values()):
            raise CheckpointError(f"expected a state dict of tensors in {path}, got {type(loaded).__name__}")
        found = state
    tensors = {name.removeprefix("module."): one for name, one in found.items()}
    return {name: one.float() if one.is_floating_point() else one for name, one in tensors.items()}


def openai_clip(state: Mapping[str, Tensor], *, source: str) -> CLIP:
    """Return the CLIP, in evaluation mode, whose tensors `state` has by OpenAI's names.

    Raises `CheckpointError` naming what is missing, unknown or of a shape that no CLIP has.
    """
    state = {name: one for name, one in state.items() if name not in _SETTINGS}
    try:
        text, visual = _text(state), _resnet(state) if "visual.layer1.0.conv1.weight" in state else _vit(state)
        scale = state["logit_scale"]
    except (KeyError, ValueError, ZeroDivisionError, IndexError) as error:
        raise CheckpointError(f"{source} is no CLIP by OpenAI's names: {error}") from None
    model = CLIP(visual=visual, text=text, logit_scale=scale)
    load_state(model, _named(state), source=source)
    return model.eval()


def _text(state: Mapping[str, Tensor]) -> CLIPText:
    vocabulary, width = state["token_embedding.weight"].shape
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=state["transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
        num_hidden_layers=_blocks(state, "transformer."),
        num_attention_heads=width // _HEAD,
        max_position_embeddings=state["positional_embedding"].shape[0],
        hidden_act="quick_gelu",
    )
    return CLIPText(CLIPTextModel(config), nn.Linear(width, state["text_projection"].shape[1], bias=False))


def _vit(state: Mapping[str, Tensor]) -> CLIPViT:
    width, _, patch, _ = state["visual.conv1.weight"].shape
    cells = state["visual.positional_embedding"].shape[0] - 1
    config = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=state["visual.transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
        num_hidden_layers=_blocks(state, "visual.transformer."),
        num_attention_heads=width // _HEAD,
        image_size=patch * round(cells**0.5),
        patch_size=patch,
        hidden_act="quick_gelu",
    )
    return CLIPViT(CLIPVisionModel(config), nn.Linear(width, state["visual.proj"].shape[1], bias=False))


def _resnet(state: Mapping[str, Tensor]) -> CLIPResNet:
    channels = state["visual.layer1.0.conv1.weight"].shape[0]
    layers = [
        len({name.split(".")[2] for name in state if name.startswith(f"visual.layer{number}.")})
        for number in range(1, 5)
    ]
    cells = state["visual.attnpool.positional_embedding"].shape[0] - 1
    return CLIPResNet(
        layers,
        channels=channels,
        width=state["visual.attnpool.c_proj.weight"].shape[0],
        heads=channels * 32 // _HEAD,
        resolution=32 * round(cells**0.5),
    )


def _blocks(state: Mapping[str, Tensor], prefix: str) -> int:
    found = {name.removeprefix(prefix).split(".")[1] for name in state if name.startswith(f"{prefix}resblocks.")}
    return len(found)


def _named(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors by the names of our `CLIP`; a name that is not known stays, for `load_state` to tell."""
    is_resnet = "visual.layer1.0.conv1.weight" in state
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        if name == "logit_scale":
            found[name] = value.reshape(())
        elif name == "text_projection":
            found["text.projection.weight"] = value.T
        elif name == "visual.proj":
            found["visual.projection.weight"] = value.T
        elif name.startswith("visual.") and is_resnet:
            found[name] = value
        elif name.startswith("visual."):
            found |= _tower(name.removeprefix("visual."), value, _VISUAL, "visual.model.")
        else:
            found |= _tower(name, value, _TEXT, "text.model.")
    return found


def _tower(name: str, value: Tensor, names: Mapping[str, str], prefix: str) -> dict[str, Tensor]:
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
