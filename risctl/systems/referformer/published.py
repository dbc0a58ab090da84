"""Converts the published ReferFormer checkpoints (wjn922/ReferFormer), of all nine backbones, to our names."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from risctl.core.encoders.visual.swin_names import swin_name
from risctl.core.fusion.deformable_transformer import PUBLISHED_ENCODER_NAMES
from risctl.errors import CheckpointError
from risctl.weights.pytorch_file import read_state
from risctl.weights.renaming import count_numbered, renamed_state

_DECODER = {
    "cross_attn.sampling_offsets": "attention.offsets",
    "cross_attn.attention_weights": "attention.weights",
    "cross_attn.value_proj": "attention.value",
    "cross_attn.output_proj": "attention.out",
    "norm1": "norm",
    "self_attn": "self_attention",
    "norm2": "self_norm",
    "linear1": "feed_forward.first",
    "linear2": "feed_forward.second",
    "norm3": "feed_forward.norm",
}
_PYRAMID = {
    "self_attn": "self_attention",
    "norm1": "self_norm",
    "multihead_attn": "attention",
    "norm2": "norm",
    "linear1": "feed_forward.first",
    "linear2": "feed_forward.second",
    "norm3": "feed_forward.norm",
}
_TOPS = (
    (r"transformer\.level_embed$", "transformer.level"),
    (r"transformer\.reference_points\.", "transformer.reference."),
    (r"class_embed\.", "classes."),
    (r"bbox_embed\.", "boxes."),
    (r"query_embed\.weight$", "query_embedding"),
    (r"input_proj\.", "projections."),
    (r"text_encoder\.", "text.roberta."),
    (r"resizer\.fc\.", "text.resizer.0."),
    (r"resizer\.layer_norm\.", "text.resizer.1."),
    (r"fusion_module\.multihead_attn\.", "fusion.attention."),
    (r"pixel_decoder\.mask_features\.", "pyramid.out."),
    (r"controller\.", "mask_head.controller."),
    (r"backbone\.0\.body\.((?:conv|bn)1\.|layer\d\.)", r"visual.\1"),
)
_IGNORED = re.compile(
    # Repeats of bbox_embed, constants, and the position ids of old transformers.
    r"transformer\.decoder\.(bbox|class)_embed\.|.*\.relative_position_index$|.*\.attn_mask$"
    r"|.*num_batches_tracked$|text_encoder\.embeddings\.(position_ids|token_type_ids)$"
)
_BODY = "backbone.0.body."
_WIDTHS = {96: "s", 128: "b", 192: "l"}


def read_referformer(path: Path) -> dict[str, Tensor]:
    """Reads the tensors under `model` in a published checkpoint; no code in the file is run.

    Raises:
        CheckpointError: There is no such file, or it holds something else.
    """
    # The published files keep their training arguments beside the weights.
    return read_state(path, what="a ReferFormer checkpoint", inside=("model",), allowed=[argparse.Namespace])


def referformer_model(state: Mapping[str, Tensor], *, source: Path) -> dict[str, Any]:
    """Infers the recipe's `model` section from the shapes of a published checkpoint.

    What no shape shows gets its published value.

    Raises:
        CheckpointError: The tensors are not those of ReferFormer.
    """

    def shape(name: str) -> tuple[int, ...]:
        if name not in state:
            raise CheckpointError(f"{source} is no ReferFormer checkpoint: it has no {name}")
        return tuple(state[name].shape)

    levels, hidden = shape("transformer.level_embed")
    if levels != 4:
        raise CheckpointError(f"{source}: expected 4 feature levels, got {levels}")
    width = shape("text_encoder.embeddings.word_embeddings.weight")[1]
    feed_forward = shape("transformer.encoder.layers.0.linear1.weight")[0]
    heads = 8
    return {
        "system": "referformer",
        "queries": shape("query_embed.weight")[0],
        "classes": shape("class_embed.0.weight")[0],
        "hidden": hidden,
        "heads": heads,
        "encoder_layers": count_numbered(state, r"transformer\.encoder\.layers\.(\d+)\."),
        "decoder_layers": count_numbered(state, r"transformer\.decoder\.layers\.(\d+)\."),
        "feed_forward": feed_forward,
        "points": shape("transformer.encoder.layers.0.self_attn.attention_weights.weight")[0] // (heads * levels),
        "mask_channels": shape("pixel_decoder.mask_features.weight")[0],
        "visual": {"name": _backbone(state, source=source)},
        "text": {
            "tokens": "roberta-base",
            "weights": None,
            "layers": count_numbered(state, r"text_encoder\.encoder\.layer\.(\d+)\."),
            "width": width,
            "heads": max(1, width // 64),
            "feed_forward": shape("text_encoder.encoder.layer.0.intermediate.dense.weight")[0],
        },
    }


def referformer_state(
    published: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, source: Path, new_classes: bool = False
) -> dict[str, Tensor]:
    """Returns the published tensors by our names.

    Args:
        published: The tensors of a published checkpoint.
        expected: The state of the model that they are for.
        source: The checkpoint's file, for messages.
        new_classes: Keep the class heads of `expected`.

    Raises:
        CheckpointError: Tensors are unknown or of another shape (listed by their published names), or missing (listed
            by ours).
    """
    return renamed_state(
        published,
        expected,
        rename=our_name,
        source=source,
        ignored=_IGNORED,
        reshape=_summed_patches,
        kept=("classes.",) if new_classes else (),
    )


def _summed_patches(ours: str, value: Tensor) -> Tensor:
    # Video Swin's patches span one frame here; the Kinetics weights span two and are summed over them.
    return value.sum(2) if ours == "visual.patches.weight" and value.ndim == 5 else value


def our_name(name: str) -> str | None:
    """Returns our name of a published key, None if it has none."""
    for pattern, table, prefix in (
        (r"transformer\.encoder\.layers\.(\d+)\.", PUBLISHED_ENCODER_NAMES, r"transformer.encoder.\1."),
        (r"transformer\.decoder\.layers\.(\d+)\.", _DECODER, r"transformer.decoder.\1."),
    ):
        match = re.match(pattern, name)
        if match:
            return _replaced(name[match.end() :], table, match.expand(prefix))
    match = re.match(r"pixel_decoder\.(adapter|layer|cross_attn)_([1-4])\.", name)
    if match:
        kind, stage, rest = match[1], f"pyramid.stages.{int(match[2]) - 1}.", name[match.end() :]
        if kind == "cross_attn":
            return _replaced(rest, _PYRAMID, f"{stage}block.")
        part = "adapter" if kind == "adapter" else "smooth"
        return f"{stage}{part}.{rest if rest.startswith('norm.') else f'conv.{rest}'}"
    for pattern, prefix in _TOPS:
        match = re.match(pattern, name)
        if match:
            return match.expand(prefix) + name[match.end() :]
    swin = swin_name(name.removeprefix(_BODY)) if name.startswith(_BODY) else None
    return None if swin is None else f"visual.{swin}"


def _replaced(rest: str, table: Mapping[str, str], prefix: str) -> str | None:
    for theirs, ours in table.items():
        if rest == theirs or rest.startswith(f"{theirs}."):
            return prefix + ours + rest[len(theirs) :]
    return None


def _backbone(state: Mapping[str, Tensor], *, source: Path) -> str:
    if f"{_BODY}layer1.0.conv1.weight" in state:
        blocks = count_numbered(state, rf"{re.escape(_BODY)}layer3\.(\d+)\.")
        for name, depth in (("resnet50", 6), ("resnet101", 23)):
            if blocks == depth:
                return name
    elif f"{_BODY}patch_embed.proj.weight" in state:
        patches = state[f"{_BODY}patch_embed.proj.weight"]
        blocks = count_numbered(state, rf"{re.escape(_BODY)}layers\.2\.blocks\.(\d+)\.")
        size = "t" if blocks == 6 else _WIDTHS.get(patches.shape[0])
        if size is not None:
            return f"{'video_' if patches.ndim == 5 else ''}swin_{size}"
    raise CheckpointError(f"{source}: the backbone under {_BODY} is none of the nine published ones")
