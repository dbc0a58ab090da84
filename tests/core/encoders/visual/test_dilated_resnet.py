"""The dilated ResNet is torchvision's."""

from __future__ import annotations

import torch

from risctl.core.encoders.load_weights import load_state
from risctl.core.encoders.visual.dilated_resnet import DilatedResNet

TOLERANCE = 1e-5


def test_the_backbone_is_torchvisions() -> None:
    """Its dilated ResNet-101 gives the same maps, from the same names."""
    from torchvision.models import resnet101

    torch.manual_seed(0)
    published = resnet101(weights=None, replace_stride_with_dilation=[False, True, True]).eval()
    backbone = DilatedResNet("resnet101").eval()
    load_state(backbone, published.state_dict(), source="torchvision", ignored=("fc.",))
    images = torch.rand(1, 3, 64, 48)
    with torch.no_grad():
        maps = backbone(images, torch.zeros(1, 64, 48, dtype=torch.bool)).maps
        x = published.maxpool(
            published.relu(published.bn1(published.conv1((images - backbone.mean) / backbone.deviation)))
        )
        for layer, one in zip(("layer1", "layer2", "layer3", "layer4", ""), maps, strict=True):
            assert torch.allclose(x, one, atol=TOLERANCE * float(x.abs().max()))
            x = getattr(published, layer)(x) if layer else x
