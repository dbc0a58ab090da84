"""Vision backbones of transformers: their strides and channels."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.tiny_transformers import VISUAL, write_visual

from risctl.core.encoders.visual.transformers_backbone import TransformersBackbone, read_config


@pytest.mark.parametrize("kind", VISUAL)
def test_a_transformers_backbone_has_the_strides_and_channels_of_the_model(tmp_path: Path, kind: str) -> None:
    config = read_config(str(write_visual(tmp_path / kind, kind)))
    plain = kind.startswith("dino")
    encoder = TransformersBackbone(config).eval()
    assert encoder.mean.flatten().tolist() == [0.5, 0.5, 0.5]
    assert encoder.strides == ((config.get("patch_size", 16),) * 4 if plain else (4, 8, 16, 32))
    for strides in ((4, 8, 16, 32), (8, 16, 32)):
        encoder = TransformersBackbone(config, strides=strides if plain else ()).eval()
        for size in ((64, 64), (70, 90)):
            clip = torch.rand(1, 2, 3, *size)
            features = encoder(clip, torch.zeros(1, *size, dtype=torch.bool))
            for one, stride, channels in zip(features.maps, features.strides, encoder.channels, strict=True):
                assert one.shape == (1, 2, channels, -(-size[0] // stride), -(-size[1] // stride))
