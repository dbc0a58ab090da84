"""ResNet's maps are torchvision's."""

from __future__ import annotations

import torch

from risctl.core.encoders.visual.resnet import ResNet


def test_resnet_norms_the_image_itself() -> None:
    backbone = ResNet("resnet18").eval()
    seen: list[torch.Tensor] = []
    backbone.conv1.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    backbone(mean.expand(1, 3, 32, 32), torch.zeros(1, 32, 32, dtype=torch.bool))
    assert seen[0].abs().max() < 1e-6


def test_resnet_maps_are_torchvisions() -> None:
    from torchvision.models import resnet18

    torch.manual_seed(0)
    published = resnet18().eval()
    backbone = ResNet("resnet18").eval()
    state = {key: value for key, value in published.state_dict().items() if not key.startswith("fc.")}
    backbone.load_state_dict(state, strict=True)
    images = torch.rand(1, 3, 64, 64)
    x = (images - backbone.mean) / backbone.deviation
    for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
        x = getattr(published, name)(x)
    with torch.no_grad():
        assert torch.allclose(backbone(images, torch.zeros(1, 64, 64)).maps[2], x, atol=1e-5)
