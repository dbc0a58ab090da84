"""Converts OpenAI's CLIP checkpoints, and OpenCLIP's `.pt` with the same names, to Hugging Face's names.

Sizes follow from shapes; attention heads have 64 channels in all published models.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModel

from risctl.core.encoders.clip import CLIP
from risctl.core.encoders.clip_weights import (
    HEAD_CHANNELS,
    TEXT_TOWER,
    VISUAL_TOWER,
    blocks_in,
    stages_in,
    tower_names,
)
from risctl.core.encoders.load_weights import check_state, load_state
from risctl.core.encoders.text.clip_text import CLIPText
from risctl.core.encoders.visual.clip_resnet import CLIPResNet
from risctl.core.encoders.visual.clip_vit import CLIPViT
from risctl.errors import CheckpointError
from risctl.weights.skeleton import build_skeleton, without_initial_values

_SETTINGS = ("input_resolution", "context_length", "vocab_size")


def build_published_clip(state: Mapping[str, Tensor], *, source: str) -> CLIP:
    """Builds the CLIP of a published state.

    Args:
        state: Tensors by OpenAI's names.
        source: Where they come from, for messages.

    Returns:
        The model in evaluation mode.

    Raises:
        CheckpointError: Names are missing or unknown, or shapes are not those of a CLIP.
    """
    state = {name: one for name, one in state.items() if name not in _SETTINGS}
    scale = state.get("logit_scale")
    if scale is None or scale.numel() != 1:
        raise CheckpointError(f"{source} is no CLIP by OpenAI's names: it has no number logit_scale")
    named = _named(state)

    def build() -> CLIP:
        visual = _resnet(state) if "visual.layer1.0.conv1.weight" in state else _vit(state)
        return CLIP(visual=visual, text=_text(state), logit_scale=torch.zeros(()))

    try:
        # The sizes of a crafted file may fit together in no model, or in one much larger than the file.
        skeleton = build_skeleton(build, tensors=len(named), source=source)
    except CheckpointError as error:
        raise CheckpointError(f"{source} is no CLIP by OpenAI's names: {error}") from None
    check_state(skeleton, named, source=source)
    with without_initial_values():
        model = build()
    load_state(model, named, source=source)
    return model.eval()


def _text(state: Mapping[str, Tensor]) -> CLIPText:
    vocabulary, width = state["token_embedding.weight"].shape
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=state["transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
        num_hidden_layers=blocks_in(state, "transformer."),
        num_attention_heads=width // HEAD_CHANNELS,
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
        num_hidden_layers=blocks_in(state, "visual.transformer."),
        num_attention_heads=width // HEAD_CHANNELS,
        image_size=patch * round(cells**0.5),
        patch_size=patch,
        hidden_act="quick_gelu",
    )
    return CLIPViT(CLIPVisionModel(config), nn.Linear(width, state["visual.proj"].shape[1], bias=False))


def _resnet(state: Mapping[str, Tensor]) -> CLIPResNet:
    channels = state["visual.layer1.0.conv1.weight"].shape[0]
    layers = stages_in(state)
    cells = state["visual.attnpool.positional_embedding"].shape[0] - 1
    return CLIPResNet(
        layers,
        channels=channels,
        width=state["visual.attnpool.c_proj.weight"].shape[0],
        heads=channels * 32 // HEAD_CHANNELS,
        resolution=32 * round(cells**0.5),
    )


def _named(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors by the names of `CLIP`; an unknown name stays, for `load_state` to report."""
    is_resnet = "visual.layer1.0.conv1.weight" in state
    named: dict[str, Tensor] = {}
    for name, value in state.items():
        if name == "logit_scale":
            named[name] = value.reshape(())
        elif name == "text_projection":
            named["text.projection.weight"] = value.T
        elif name == "visual.proj":
            named["visual.projection.weight"] = value.T
        elif name.startswith("visual.") and is_resnet:
            named[name] = value
        elif name.startswith("visual."):
            named |= tower_names(name.removeprefix("visual."), value, VISUAL_TOWER, "visual.model.")
        else:
            named |= tower_names(name, value, TEXT_TOWER, "text.model.")
    return named
