"""Converts the published ReLA checkpoints (henghuiding/ReLA), of Swin and ResNet-50, to our names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from risctl.core.encoders.visual.swin import NUMBERS
from risctl.core.fusion.deformable_transformer import PUBLISHED_ENCODER_NAMES
from risctl.core.fusion.language_names import CONSTANTS, as_linear, language_backbone_name
from risctl.errors import CheckpointError
from risctl.weights.pytorch_file import read_pytorch, state_of
from risctl.weights.renaming import count_numbered, renamed_state

_PIXELS, _REGIONS = "sem_seg_head.pixel_decoder.", "sem_seg_head.predictor."
_HEADS = 8
_TOPS = (
    (r"text_encoder\.", "text.bert."),
    (rf"{_PIXELS}input_proj\.", "pixel_decoder.projections."),
    (rf"{_PIXELS}transformer\.level_embed$", "pixel_decoder.level"),
    (rf"{_PIXELS}adapter_1\.norm\.", "pixel_decoder.lateral.1."),
    (rf"{_PIXELS}adapter_1\.", "pixel_decoder.lateral.0."),
    (rf"{_PIXELS}layer_1\.norm\.", "pixel_decoder.out.1."),
    (rf"{_PIXELS}layer_1\.", "pixel_decoder.out.0."),
    (rf"{_PIXELS}mask_features\.", "pixel_decoder.mask_features."),
    (rf"{_REGIONS}query_feat\.weight$", "region_decoder.query"),
    (rf"{_REGIONS}query_embed\.weight$", "region_decoder.position"),
    (rf"{_REGIONS}level_embed\.weight$", "region_decoder.level"),
    (rf"{_REGIONS}lang_weight$", "region_decoder.language_gate"),
    (rf"{_REGIONS}lang_proj\.", "region_decoder.words."),
    (rf"{_REGIONS}RLA_lang_att\.(?:multihead_attn|self_attn)\.", "region_decoder.language_attention.attention."),
    (rf"{_REGIONS}RLA_lang_att\.norm\.", "region_decoder.language_attention.norm."),
    (rf"{_REGIONS}RIA_layers\.(\d+)\.multihead_attn\.", r"region_decoder.image_attention.\1.attention."),
    (rf"{_REGIONS}RIA_layers\.(\d+)\.norm\.", r"region_decoder.image_attention.\1.norm."),
    (rf"{_REGIONS}RLA_vision\.(\d+)\.self_attn\.", r"region_decoder.region_attention.\1.attention."),
    (rf"{_REGIONS}RLA_vision\.(\d+)\.norm\.", r"region_decoder.region_attention.\1.norm."),
    (rf"{_REGIONS}transformer_ffn_layers\.(\d+)\.linear1\.", r"region_decoder.feed_forward.\1.first."),
    (rf"{_REGIONS}transformer_ffn_layers\.(\d+)\.linear2\.", r"region_decoder.feed_forward.\1.second."),
    (rf"{_REGIONS}transformer_ffn_layers\.(\d+)\.norm\.", r"region_decoder.feed_forward.\1.norm."),
    (rf"{_REGIONS}decoder_norm\.", "region_decoder.norm."),
    (rf"{_REGIONS}mask_embed\.", "region_decoder.filters."),
    (rf"{_REGIONS}minimap_embed\.", "region_decoder.minimap."),
    (rf"{_REGIONS}nt_embed\.", "region_decoder.no_target."),
    # detectron2 counts the stages of a ResNet from 2 on; its norms stand within the convolutions.
    (r"backbone\.stem\.conv1\.norm\.", "visual.bn1."),
    (r"backbone\.stem\.conv1\.", "visual.conv1."),
)
_STAGE = re.compile(r"backbone\.res([2-5])\.(\d+)\.(conv[123]|shortcut)\.(norm\.)?(.+)$")
_ENCODER = re.compile(rf"{re.escape(_PIXELS)}transformer\.encoder\.layers\.(\d+)\.")
_IGNORED = re.compile(
    # Constants, what old transformers and detectron2 kept beside the weights, and the loss's class weights.
    rf"text_encoder\.embeddings\.(position_ids|token_type_ids)$|pixel_(mean|std)$|criterion\.|{CONSTANTS.pattern}"
    r"|.*num_batches_tracked$"
)
_WIDTHS = {96: "t", 128: "b", 192: "l"}


def read_rela(path: Path) -> dict[str, Tensor]:
    """Reads the tensors of a published checkpoint; no code in the file is run.

    detectron2 writes them under `model`. A text encoder that stands beside them, under `text_encoder` or `bert_model`,
    joins them.

    Raises:
        CheckpointError: There is no such file, or it holds something else.
    """
    what = "a ReLA checkpoint"
    content = read_pytorch(path, what=what)
    whole = content if isinstance(content, Mapping) else {}
    state = _without_wrapper(state_of(whole.get("model", content), path=path, what=what))
    for key in ("text_encoder", "bert_model"):
        if key in whole and "model" in whole:
            text = _without_wrapper(state_of(whole[key], path=path, what=what))
            state |= {f"text_encoder.{name.removeprefix('text_encoder.')}": value for name, value in text.items()}
    return state


def _without_wrapper(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors without what a training script may have put before every name."""
    for prefix in ("model.", "_orig_mod."):
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def rela_model(state: Mapping[str, Tensor], *, source: Path) -> dict[str, Any]:
    """Infers the recipe's `model` section from the shapes of a published checkpoint.

    What no shape shows gets its published value.

    Raises:
        CheckpointError: The tensors are not those of ReLA.
    """

    def shape(name: str, axes: int) -> tuple[int, ...]:
        if name not in state or state[name].ndim != axes:
            raise CheckpointError(f"{source} is no ReLA checkpoint: expected {name} with {axes} axes")
        return tuple(state[name].shape)

    regions, hidden = shape(f"{_REGIONS}query_feat.weight", 2)
    side = round(regions**0.5)
    if side * side != regions:
        raise CheckpointError(f"{source}: expected a square number of regions, got {regions}")
    levels = shape(f"{_PIXELS}transformer.level_embed", 2)[0]
    if levels != 3:
        raise CheckpointError(f"{source}: expected 3 feature levels, got {levels}")
    words = shape("text_encoder.embeddings.word_embeddings.weight", 2)
    weights = shape(f"{_PIXELS}transformer.encoder.layers.0.self_attn.attention_weights.weight", 2)[0]
    visual = _backbone(state, source=source)
    return {
        "system": "rela",
        "regions": side,
        "hidden": hidden,
        "heads": _HEADS,
        "pixel_layers": count_numbered(state, _ENCODER.pattern),
        "pixel_feed_forward": shape(f"{_PIXELS}transformer.encoder.layers.0.linear1.weight", 2)[0],
        "points": weights // (_HEADS * levels),
        "mask_channels": shape(f"{_PIXELS}mask_features.weight", 4)[0],
        "layers": count_numbered(state, rf"{re.escape(_REGIONS)}RIA_layers\.(\d+)\."),
        "feed_forward": shape(f"{_REGIONS}transformer_ffn_layers.0.linear1.weight", 2)[0],
        "visual": visual,
        "language_gates": visual["name"].startswith("swin_"),
        "text": {
            "name": "bert",
            "weights": None,
            "layers": count_numbered(state, r"text_encoder\.encoder\.layer\.(\d+)\."),
            "width": words[1],
            "heads": max(1, words[1] // 64),
            "feed_forward": shape("text_encoder.encoder.layer.0.intermediate.dense.weight", 2)[0],
        },
    }


def _backbone(state: Mapping[str, Tensor], *, source: Path) -> dict[str, Any]:
    if "backbone.patch_embed.proj.weight" in state:
        width = state["backbone.patch_embed.proj.weight"].shape[0]
        depth = count_numbered(state, r"backbone\.layers\.2\.blocks\.(\d+)\.")
        size = "s" if (width, depth) == (96, 18) else _WIDTHS.get(width, "")
        numbers = NUMBERS.get(f"swin_{size}")
        table = state.get("backbone.layers.0.blocks.0.attn.relative_position_bias_table")
        if numbers is None or numbers.depths[2] != depth or table is None or table.ndim != 2:
            raise CheckpointError(
                f"{source}: no Swin known here is {width} wide with {depth} blocks in its third stage"
            )
        # A window of n has (2n - 1)² relative positions.
        return {"name": f"swin_{size}", "window": (round(len(table) ** 0.5) + 1) // 2}
    blocks = count_numbered(state, r"backbone\.res4\.(\d+)\.")
    if "backbone.stem.conv1.weight" in state and blocks in (6, 23):
        return {"name": "resnet50" if blocks == 6 else "resnet101"}
    raise CheckpointError(f"{source} is no ReLA checkpoint: expected a Swin or a ResNet under backbone.")


def rela_state(published: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, source: Path) -> dict[str, Tensor]:
    """Returns the published tensors by our names.

    Args:
        published: The tensors of a published checkpoint.
        expected: The state of the model that they are for.
        source: The checkpoint's file, for messages.

    Raises:
        CheckpointError: Tensors are unknown or of another shape (listed by their published names), or missing (listed
            by ours).
    """
    return renamed_state(published, expected, rename=our_name, source=source, ignored=_IGNORED, reshape=as_linear)


def our_name(name: str) -> str | None:
    """Returns our name of a published key, None if it has none."""
    match = _ENCODER.match(name)
    if match:
        rest = name[match.end() :]
        for theirs, ours in PUBLISHED_ENCODER_NAMES.items():
            if rest.startswith(f"{theirs}."):
                return f"pixel_decoder.encoder.{match[1]}.{ours}{rest[len(theirs) :]}"
        return None
    match = _STAGE.match(name)
    if match:
        stage, block, part, norm, rest = match.groups()
        if part == "shortcut":
            inner = "downsample.1" if norm else "downsample.0"
        else:
            inner = part.replace("conv", "bn") if norm else part
        return f"visual.layer{int(stage) - 1}.{block}.{inner}.{rest}"
    for pattern, prefix in _TOPS:
        match = re.match(pattern, name)
        if match:
            return match.expand(prefix) + name[match.end() :]
    swin = language_backbone_name(name.removeprefix("backbone.")) if name.startswith("backbone.") else None
    return None if swin is None else f"visual.{swin}"
