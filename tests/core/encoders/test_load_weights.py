"""Weights from files, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from risctl.core.encoders.load_weights import load_backbone
from risctl.core.encoders.visual.resnet import ResNet
from risctl.core.encoders.visual.small_cnn import SmallCNN
from risctl.errors import CheckpointError


def test_weights_from_files(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source, other = SmallCNN(), SmallCNN()
    save_file(source.state_dict(), tmp_path / "backbone.safetensors")
    load_backbone(other, "small_cnn", str(tmp_path / "backbone.safetensors"))
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in source.state_dict().items())

    backbone = ResNet("resnet18")
    torch.save({**backbone.state_dict(), "fc.weight": torch.zeros(3), "fc.bias": torch.zeros(3)}, tmp_path / "r.pth")
    load_backbone(ResNet("resnet18"), "resnet18", str(tmp_path / "r.pth"))


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    backbone = SmallCNN()
    with pytest.raises(CheckpointError, match="found no file"):
        load_backbone(backbone, "small_cnn", str(tmp_path / "absent.safetensors"))
    with pytest.raises(CheckpointError, match="risctl import darknet53"):
        (tmp_path / "yolov3.weights").write_bytes(b"x")
        load_backbone(backbone, "darknet53", str(tmp_path / "yolov3.weights"))
    (tmp_path / "damaged.safetensors").write_bytes(b"x" * 100)
    (tmp_path / "damaged.pth").write_bytes(b"x" * 100)
    for name in ("damaged.safetensors", "damaged.pth"):
        with pytest.raises(CheckpointError, match="cannot be read"):
            load_backbone(backbone, "small_cnn", str(tmp_path / name))
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="expected tensors by name"):
        load_backbone(backbone, "small_cnn", str(tmp_path / "list.pth"))
    state = backbone.state_dict()
    changed = {name.replace("stem.0", "stam.0"): value for name, value in state.items()}
    changed["quarter.first.weight"] = torch.zeros(1, 1, 1, 1)
    save_file(changed, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"1 missing \(stem.0.weight\).*1 unknown.*resembles.*1 of another shape"):
        load_backbone(backbone, "small_cnn", str(tmp_path / "other.safetensors"))
