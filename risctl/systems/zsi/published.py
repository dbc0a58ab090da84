"""Converts the published ZSI checkpoints (zhengye1995/Zero-shot-Instance-Segmentation, mmdetection 1) to our names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from risctl.errors import CheckpointError
from risctl.weights.pytorch_file import read_state

PUBLISHED_VECTORS = "GoogleNews-vectors-negative300.bin"
"""The word vectors that the published checkpoints were trained with."""

_PREFIXES = {
    "backbone.": "visual.",
    "rpn_head.rpn_conv.": "rpn.conv.",
    "rpn_head.rpn_cls_conv_T.": "rpn.to_words.",
    "rpn_head.vec_fb.": "rpn.compare.",
    "rpn_head.rpn_reg.": "rpn.deltas.",
    "bbox_head.shared_fcs.": "box_head.shared.",
    "bbox_head.fc_semantic.": "box_head.to_words.",
    "bbox_head.kernel_semantic.": "box_head.from_vocabulary.",
    "bbox_head.d_kernel_semantic.": "box_head.to_vocabulary.",
    "bbox_head.d_fc_semantic.": "box_head.from_words.",
    "bbox_head.fc_reg.": "box_head.deltas.",
    "mask_head.upsample.": "mask_head.up.",
    "mask_head.convT.conv.": "mask_head.to_words.",
    "mask_head.kernel_semantic.": "mask_head.encode.",
    "mask_head.d_kernel_semantic.": "mask_head.decode.",
    "mask_head.dconvT.conv.": "mask_head.from_words.",
    **{f"neck.lateral_convs.{level}.conv.": f"neck.inner_blocks.{level}.0." for level in range(4)},
    **{f"neck.fpn_convs.{level}.conv.": f"neck.layer_blocks.{level}.0." for level in range(4)},
    **{f"mask_head.convs.{number}.conv.": f"mask_head.convs.{number}." for number in range(4)},
}
_UNUSED = ("bbox_head.fc_res.", "mask_head.con_vec_t.")
_SEEN, _UNSEEN = "mask_head.conv_vec.weight", "mask_head.conv_vec_unseen.weight"
_DEPTHS = {(2, False): "resnet18", (6, True): "resnet50", (23, True): "resnet101"}
_CLASSES = {49: "48_17", 66: "65_15"}


def read_zsi(path: Path) -> dict[str, Tensor]:
    """Reads the tensors of a published checkpoint (`.pth`), by their published names; no code in the file is run.

    Raises:
        CheckpointError: The file is missing, damaged or something else.
    """
    return read_state(path, what="a ZSI checkpoint", inside=("state_dict",))


def zsi_model(arrays: Mapping[str, Tensor], *, source: str) -> dict[str, Any]:
    """Infers the recipe's `model` section from the shapes of a published checkpoint.

    Raises:
        CheckpointError: The tensors are not those of ZSI.
    """

    def shape(name: str, axes: int) -> tuple[int, ...]:
        if name not in arrays or arrays[name].ndim != axes:
            raise CheckpointError(f"{source} is no ZSI checkpoint: expected {name} with {axes} axes")
        return tuple(arrays[name].shape)

    classes, dim = shape(_SEEN, 4)[:2]
    if classes not in _CLASSES:
        raise CheckpointError(f"{source} has {classes - 1} seen classes; the published splits have 48 and 65")
    blocks = len({name.split(".")[2] for name in arrays if name.startswith("backbone.layer3.")})
    backbone = (blocks, "backbone.layer3.0.conv3.weight" in arrays)
    if backbone not in _DEPTHS:
        raise CheckpointError(f"{source}: expected a ResNet-18, -50 or -101 backbone, got {blocks} blocks in layer3")
    return {
        "system": "zsi",
        "split": _CLASSES[classes],
        "conventions": "mmdet1",
        "tower": "reference",
        "encoder_kernel": shape("mask_head.kernel_semantic.weight", 4)[2],
        "mask_background_sync": "generalised" if _CLASSES[classes] == "48_17" else "always",
        "unseen_boxes": "reference",
        "channels": shape("rpn_head.rpn_conv.weight", 4)[0],
        "hidden": shape("bbox_head.fc_semantic.weight", 2)[1],
        "vocabulary_words": shape("bbox_head.kernel_semantic.weight", 2)[1],
        "visual": {"name": _DEPTHS[backbone]},
        "text": {"vectors": PUBLISHED_VECTORS, "dim": dim},
    }


def zsi_state(arrays: Mapping[str, Tensor], *, source: str) -> dict[str, Tensor]:
    """Returns the state of our `ZSI` as far as a published checkpoint holds it; none holds the vocabulary.

    "seen" is always there, "unseen" only in a checkpoint of the test configuration.

    Raises:
        CheckpointError: Names are unknown.
    """
    state: dict[str, Tensor] = {}
    unknown = []
    for name, values in arrays.items():
        prefix = next((one for one in _PREFIXES if name.startswith(one)), None)
        values = values.float() if values.is_floating_point() else values
        if prefix is not None:
            state[_PREFIXES[prefix] + name.removeprefix(prefix)] = values
        elif name in (_SEEN, _UNSEEN):
            state["seen" if name == _SEEN else "unseen"] = values[:, :, 0, 0]
        elif not name.startswith(_UNUSED):
            unknown.append(name)
    if unknown:
        raise CheckpointError(f"{source} is no ZSI checkpoint: {len(unknown)} unknown names, such as {unknown[0]}")
    return state
