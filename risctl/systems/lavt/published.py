"""Converts the published LAVT and LAVT-One checkpoints (yz93/LAVT-RIS), of all Swin backbones, to our names."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from risctl.core.fusion.language_names import CONSTANTS, as_linear, language_backbone_name
from risctl.errors import CheckpointError
from risctl.weights.pytorch_file import read_pytorch, state_of
from risctl.weights.renaming import count_numbered, renamed_state

_WHAT = "a LAVT checkpoint"
_TEXT = "text_encoder."
_DECODER = re.compile(r"classifier\.(conv|bn)([12])_([432])\.(.+)$")
# Constants, counters, the position ids of old transformers, and a pooler, which nothing reads.
_IGNORED = re.compile(rf"{CONSTANTS.pattern}|.*num_batches_tracked$|text_encoder\.(embeddings\.position_ids$|pooler\.)")
_SIZES = {(96, 6): "swin_t", (96, 18): "swin_s", (128, 18): "swin_b", (192, 18): "swin_l"}
"""Width and blocks of the third stage."""
_BERT_HEAD = 64
"""Channels of an attention head of every published BERT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedLAVT:
    """A published checkpoint.

    Attributes:
        state: The tensors by name, those of a separate text encoder after `text_encoder.`, where LAVT-One has them.
        one: Whether the text encoder stood among the model's tensors: LAVT-One.
        heads: The attention heads of the four stages, as the training arguments say; None if they do not.
    """

    state: dict[str, Tensor] = field(repr=False)
    one: bool
    heads: tuple[int, ...] | None = None


def read_lavt(path: Path) -> PublishedLAVT:
    """Reads a published checkpoint; no code in the file is run.

    Raises:
        CheckpointError: There is no such file, or it holds something else.
    """
    # The published files keep their training arguments beside the weights.
    content = read_pytorch(path, what=_WHAT, allowed=[argparse.Namespace])
    model = content.get("model", content) if isinstance(content, Mapping) else content
    state = state_of(model, path=path, what=_WHAT)
    one = any(name.startswith(_TEXT) for name in state)
    separate = content.get("bert_model") if isinstance(content, Mapping) else None
    if separate is not None and not one:
        text = state_of(separate, path=path, what=_WHAT)
        state |= {f"{_TEXT}{name}": value for name, value in text.items()}
    arguments = content.get("args") if isinstance(content, Mapping) else None
    return PublishedLAVT(state=state, one=one, heads=_heads(getattr(arguments, "mha", None)))


def lavt_model(
    published: PublishedLAVT, *, source: Path, heads: tuple[int, ...] | None = None, input_size: int = 480
) -> dict[str, Any]:
    """Infers the recipe's `model` section from the shapes of a published checkpoint.

    Args:
        published: The checkpoint.
        source: Its file, for messages.
        heads: The attention heads of the four stages, which no shape shows; None: as the training arguments say,
            else 1.
        input_size: Side of the input, which no shape shows either.

    Raises:
        CheckpointError: The tensors are not those of LAVT with a text encoder.
    """
    state = published.state

    def shape(name: str, axes: int) -> tuple[int, ...]:
        if name not in state or state[name].ndim != axes:
            raise CheckpointError(f"{source} is no LAVT checkpoint: expected {name} with {axes} axes")
        return tuple(state[name].shape)

    width = shape("backbone.patch_embed.proj.weight", 4)[0]
    blocks = count_numbered(state, r"backbone\.layers\.2\.blocks\.(\d+)\.")
    if (width, blocks) not in _SIZES:
        raise CheckpointError(
            f"{source}: the backbone, {width} channels and {blocks} blocks in its third stage, is none of "
            f"{', '.join(_SIZES.values())}"
        )
    table = "backbone.layers.0.blocks.0.attn.relative_position_bias_table"
    positions = math.isqrt(shape(table, 2)[0])
    if not positions % 2 or positions**2 != shape(table, 2)[0]:
        raise CheckpointError(f"{source}: {table} has {shape(table, 2)[0]} rows, not the (2 w - 1)^2 of any window w")
    text_width = shape(f"{_TEXT}embeddings.word_embeddings.weight", 2)[1]
    return {
        "system": "lavt",
        "input_size": input_size,
        "fusion_heads": list(heads or published.heads or (1, 1, 1, 1)),
        "decoder_channels": shape("classifier.conv1_4.weight", 4)[0],
        "visual": {"name": _SIZES[width, blocks], "window": (positions + 1) // 2, "drop_path": 0.3},
        "text": {
            "name": "bert",
            "weights": None,
            "layers": count_numbered(state, rf"{re.escape(_TEXT)}encoder\.layer\.(\d+)\."),
            "width": text_width,
            "heads": max(1, text_width // _BERT_HEAD),
            "feed_forward": shape(f"{_TEXT}encoder.layer.0.intermediate.dense.weight", 2)[0],
            "dropout": 0.1 if published.one else 0.0,
        },
    }


def lavt_state(published: PublishedLAVT, expected: Mapping[str, Tensor], *, source: Path) -> dict[str, Tensor]:
    """Returns the published tensors by our names.

    Args:
        published: The checkpoint.
        expected: The state of the model that it is for.
        source: The checkpoint's file, for messages.

    Raises:
        CheckpointError: Tensors are unknown, missing or of another shape; all are named.
    """
    return renamed_state(published.state, expected, rename=our_name, source=source, ignored=_IGNORED, reshape=as_linear)


def our_name(name: str) -> str | None:
    """Returns our name of a published key, None if it has none."""
    if name.startswith(_TEXT):
        return f"text.bert.{name.removeprefix(_TEXT)}"
    if name.startswith("backbone."):
        inner = language_backbone_name(name.removeprefix("backbone."))
        return None if inner is None else f"visual.{inner}"
    if name.startswith("classifier.conv1_1."):
        return f"decoder.out.{name.removeprefix('classifier.conv1_1.')}"
    match = _DECODER.match(name)
    if match is None:
        return None
    kind, number, level, rest = match.groups()
    return f"decoder.joins.{4 - int(level)}.{3 * (int(number) - 1) + (kind == 'bn')}.{rest}"


def _heads(text: Any) -> tuple[int, ...] | None:
    """Returns the heads of the published option `--mha a-b-c-d`."""
    if not isinstance(text, str) or not re.fullmatch(r"\d{1,2}(-\d{1,2}){3}", text):
        return None
    return tuple(int(part) for part in text.split("-"))
