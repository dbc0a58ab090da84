"""A small ZSI checkpoint with the published names."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torchvision.models import resnet18

WORDS = ("cat", "zebra", "tennis", "xyzzy", "cup")


def zsi_shapes(*, classes: int = 49, dim: int = 6, channels: int = 8, hidden: int = 8, words: int = len(WORDS)) -> dict:
    """Return names and shapes of the training form, with a ResNet-18; the published one has a ResNet-101."""
    shapes = {
        f"backbone.{name}": tuple(values.shape)
        for name, values in resnet18(weights=None).state_dict().items()
        if not name.startswith("fc.")
    }
    layers = {
        **{f"neck.lateral_convs.{n}.conv": (channels, 64 << n, 1, 1) for n in range(4)},
        **{f"neck.fpn_convs.{n}.conv": (channels, channels, 3, 3) for n in range(4)},
        "rpn_head.rpn_conv": (channels, channels, 3, 3),
        "rpn_head.rpn_cls_conv_T": (dim, channels, 1, 1),
        "rpn_head.rpn_reg": (12, channels, 1, 1),
        "bbox_head.fc_reg": (4 * classes, hidden),
        "bbox_head.fc_semantic": (dim, hidden),
        "bbox_head.kernel_semantic": (dim, words),
        "bbox_head.shared_fcs.0": (hidden, channels * 49),
        "bbox_head.shared_fcs.1": (hidden, hidden),
        "bbox_head.d_fc_semantic": (hidden, dim),
        "bbox_head.d_kernel_semantic": (words, dim),
        "bbox_head.fc_res": (dim, dim),
        **{f"mask_head.convs.{n}.conv": (channels, channels, 3, 3) for n in range(4)},
        "mask_head.convT.conv": (dim, channels, 3, 3),
        "mask_head.dconvT.conv": (channels, dim, 3, 3),
        "mask_head.upsample": (channels, channels, 2, 2),
        "mask_head.kernel_semantic": (dim, dim, 3, 3),
        "mask_head.d_kernel_semantic": (dim, dim, 3, 3),
    }
    for name, shape in layers.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return shapes | {"rpn_head.vec_fb.weight": (6, dim, 1, 1), "mask_head.conv_vec.weight": (classes, dim, 1, 1)}


def write_checkpoint(path: Path, **numbers: int) -> dict[str, Tensor]:
    """Write one as mmdetection saves it, and return its tensors."""
    generator = torch.Generator().manual_seed(0)
    state = {
        name: 0.1 * torch.rand(shape, generator=generator) if shape else torch.zeros((), dtype=torch.int64)
        for name, shape in zsi_shapes(**numbers).items()
    }
    torch.save({"meta": {"epoch": 12}, "state_dict": state}, path)
    return state


def write_vectors(path: Path, *, dim: int = 6) -> None:
    """Write word vectors for all of `WORDS` but "xyzzy", and for two more."""
    generator = torch.Generator().manual_seed(1)
    lines = [
        " ".join([word, *(f"{number:.4f}" for number in torch.randn(dim, generator=generator).tolist())])
        for word in (*WORDS, "castle", "the")
        if word != "xyzzy"
    ]
    path.write_text("\n".join(lines) + "\n")
