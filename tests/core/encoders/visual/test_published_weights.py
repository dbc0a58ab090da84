"""Weights that torchvision publishes."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import pytest
import torch

from risctl.core.encoders.load_weights import load_backbone
from risctl.core.encoders.visual import published_weights
from risctl.core.encoders.visual.dilated_resnet import DilatedResNet
from risctl.core.encoders.visual.resnet import ResNet
from risctl.errors import MachineError


def test_imagenet_weights_out_of_reach_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise URLError("no route")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    for name in ("resnet18", "mobilenet_v2"):
        with pytest.raises(MachineError, match=rf"{name}.*no route.*model\.visual\.weights"):
            published_weights.imagenet_state(name)
    with pytest.raises(MachineError):
        load_backbone(ResNet("resnet18"), "resnet18", "imagenet")


def test_the_backbone_of_torchvisions_deeplabv3_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its file, and by its name."""
    from torchvision.models.segmentation import deeplabv3_resnet50

    published = deeplabv3_resnet50(weights=None, weights_backbone=None, aux_loss=True).state_dict()
    torch.save(published, tmp_path / "deeplabv3.pth")
    monkeypatch.setattr(published_weights, "_fetched", lambda weights: published)
    for weights in (str(tmp_path / "deeplabv3.pth"), "deeplabv3"):
        backbone = DilatedResNet("resnet50", depth=4)
        load_backbone(backbone, "resnet50", weights, ignored=("layer4.",))
        assert torch.equal(backbone.layer3[5].conv3.weight, published["backbone.layer3.5.conv3.weight"])
