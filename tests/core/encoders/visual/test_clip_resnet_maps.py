"""CLIP's ResNet as a backbone: its maps, its pool kept spatial, and its start from OpenAI's files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import torch
from helpers.tiny_clip import SIDE, openai_state

from risctl.core.encoders.clip_weights import through_half
from risctl.core.encoders.load_weights import load_backbone
from risctl.core.encoders.visual.clip_resnet_maps import CLIPResNetMaps, CLIPResNetNumbers
from risctl.errors import CheckpointError

NUMBERS = CLIPResNetNumbers(layers=(1, 1, 1, 1), channels=8, width=32, resolution=SIDE)


def test_maps_are_those_of_the_stages_and_the_last_one_may_be_pooled() -> None:
    images, padding = torch.rand(2, 3, 64, 96), torch.zeros(2, 64, 96, dtype=torch.bool)
    plain = CLIPResNetMaps(NUMBERS).eval()
    pooled = CLIPResNetMaps(NUMBERS, strides=(8, 16, 32), pooled=True).eval()
    assert (plain.channels, pooled.channels) == ((32, 64, 128, 256), (64, 128, 32))
    for encoder in (plain, pooled):
        maps = encoder(images, padding).maps
        sizes = [(one.shape[1], 64 // one.shape[2], 96 // one.shape[3]) for one in maps]
        assert sizes == [(channel, stride, stride) for channel, stride in zip(encoder.channels, encoder.strides)]
    assert not any(name.startswith("resnet.attnpool") for name in plain.state_dict())


def test_the_pool_of_a_square_map_attends_as_the_pool_with_its_positions_does() -> None:
    """Against torch's own attention, whose projections are packed; positions need no resizing at CLIP's own size."""
    torch.manual_seed(0)
    pool = CLIPResNetMaps(NUMBERS, pooled=True).resnet.attnpool
    maps = torch.randn(1, 256, 2, 2)
    tokens = maps.flatten(2).permute(2, 0, 1) + pool.positional_embedding[1:, None]
    biases = torch.cat([pool.q_proj.bias, pool.k_proj.bias, pool.v_proj.bias])
    expected, _ = torch.nn.functional.multi_head_attention_forward(
        *(tokens, tokens, tokens, 256, pool.heads, None, biases, None, None, False, 0.0),
        pool.c_proj.weight,
        pool.c_proj.bias,
        training=False,
        use_separate_proj_weight=True,
        q_proj_weight=pool.q_proj.weight,
        k_proj_weight=pool.k_proj.weight,
        v_proj_weight=pool.v_proj.weight,
    )
    assert torch.allclose(pool.spatial(maps), expected.permute(1, 2, 0).unflatten(2, (2, 2)), atol=1e-5)


@pytest.mark.parametrize("pooled", [False, True])
def test_it_starts_from_openais_file_through_half_precision(tmp_path: Path, pooled: bool) -> None:
    state = openai_state("resnet")
    torch.save(state, tmp_path / "RN.pt")
    encoder = CLIPResNetMaps(NUMBERS, pooled=pooled)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    load_backbone(encoder, "clip_resnet50", str(tmp_path / "RN.pt"))
    halved = through_half(state)
    for name, value in encoder.state_dict().items():
        if name.startswith("connect."):
            assert torch.equal(value, before[name])
        else:
            assert torch.equal(value, halved[f"visual.{name.removeprefix('resnet.')}"]), name
    convolution, norm = "visual.conv1.weight", "visual.bn1.weight"
    assert not torch.equal(halved[convolution], state[convolution]) and halved[norm] is state[norm]


def test_another_clip_is_refused(tmp_path: Path) -> None:
    torch.save(openai_state("resnet"), tmp_path / "RN.pt")
    other = CLIPResNetNumbers(layers=(1, 2, 1, 1), channels=8, width=32, resolution=SIDE)
    with pytest.raises(CheckpointError, match="of another model"):
        load_backbone(CLIPResNetMaps(other, pooled=True), "clip_resnet50", str(tmp_path / "RN.pt"))


@pytest.mark.parametrize("norms", ["trained", "frozen", "scales"])
def test_norms_train_as_the_fusion_wants(norms: Literal["trained", "frozen", "scales"]) -> None:
    encoder = CLIPResNetMaps(NUMBERS, norms=norms).train()
    found = [one for one in encoder.modules() if isinstance(one, torch.nn.BatchNorm2d)]
    assert found and all(one.training is (norms == "trained") for one in found)
    assert all(one.weight.requires_grad is (norms != "frozen") for one in found)
    frozen = CLIPResNetMaps(NUMBERS, norms=norms, frozen=True).train()
    assert not any(one.requires_grad for one in frozen.parameters())
