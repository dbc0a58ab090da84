"""Backbones with language gates: text-free first stage, gates between stages, published names."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from risctl.core.encoders.base import StagedBackbone, TextFeatures, VisualFeatures
from risctl.core.encoders.visual.config import VisualSection
from risctl.core.encoders.visual.registry import VISUAL_ENCODERS, VisualInput, build_visual, fitting
from risctl.core.encoders.visual.swin import Swin, SwinNumbers
from risctl.core.fusion.language_backbone import LanguageBackbone
from risctl.core.fusion.language_names import as_linear, language_backbone_name

WIDTH = 12
NUMBERS = SwinNumbers(width=8, depths=(2, 1, 2, 1), heads=(1, 2, 2, 2))


def small(window: int = 3, **options: bool) -> LanguageBackbone:
    torch.manual_seed(0)
    swin = Swin(NUMBERS, window=window, drop_path=0.0, output_norms=False)
    return LanguageBackbone(swin, words=WIDTH, **options).eval()


def text_of(count: int, seed: int = 0) -> TextFeatures:
    words = torch.randn(count, 4, WIDTH, generator=torch.Generator().manual_seed(seed))
    return TextFeatures(words=words, mask=torch.ones(count, 4, dtype=torch.bool), sentence=words[:, 0])


def encoded(backbone: LanguageBackbone, count: int = 1) -> VisualFeatures:
    images = torch.rand(count, 3, 40, 56, generator=torch.Generator().manual_seed(1))
    return backbone(images, torch.zeros(count, 40, 56, dtype=torch.bool))


@torch.no_grad()
def test_maps_have_the_strides_of_the_stages_and_depend_on_the_words() -> None:
    backbone = small()
    visual = encoded(backbone)
    one, two = (backbone.read(visual, text_of(1, seed)) for seed in (0, 1))
    assert [tuple(x.shape) for x in one.maps] == [(1, 8, 10, 14), (1, 16, 5, 7), (1, 32, 3, 4), (1, 64, 2, 2)]
    assert all((a - b).abs().max() > 1e-3 for a, b in zip(one.maps, two.maps, strict=True))
    assert one.attention == one.openings == ()


@torch.no_grad()
def test_details_show_every_stage() -> None:
    backbone = small()
    read = backbone.read(encoded(backbone), text_of(1), detailed=True)
    assert [tuple(x.shape) for x in read.openings] == [(1, 10, 14), (1, 5, 7), (1, 3, 4)]
    assert all(0 < x.min() <= x.max() < 1 for x in read.openings)
    for attention in read.attention:
        assert attention.shape[-1] == 4 and torch.allclose(attention.sum(-1), torch.ones(()), atol=1e-5)


@torch.no_grad()
def test_gates_at_zero_leave_the_backbone_as_it_is() -> None:
    backbone = small(zero_gates=True)
    read = backbone.read(encoded(backbone), text_of(1), detailed=True)
    assert not any(x.any() for x in read.openings)
    images = torch.rand(1, 3, 40, 56, generator=torch.Generator().manual_seed(1))
    seen: list[Tensor] = []
    backbone.backbone.stages[3].register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    backbone.backbone(images, torch.zeros(1, 40, 56, dtype=torch.bool))
    backbone.read(encoded(backbone), text_of(1))
    assert torch.allclose(seen[0], seen[1], atol=1e-5)


def test_the_last_gate_feeds_nothing_and_does_not_train() -> None:
    backbone = small()
    maps = backbone.read(encoded(backbone), text_of(1)).maps
    torch.stack([one.square().sum() for one in maps]).sum().backward()
    without = [name for name, one in backbone.named_parameters() if one.requires_grad and one.grad is None]
    assert without == []
    idle = {name for name, one in backbone.named_parameters() if not one.requires_grad}
    cancelling = {f"gates.{i}.{part}.bias" for i in range(4) for part in ("query", "key", "value", "out")}
    assert idle == cancelling | {"gates.3.gate.0.weight", "gates.3.gate.2.weight"}


@torch.no_grad()
def test_a_batch_gives_what_single_samples_give() -> None:
    backbone = small(window=4)
    visual, text = encoded(backbone, count=2), text_of(2)
    together = backbone.read(visual, text).maps
    for row in range(2):
        index = torch.tensor([row])
        alone = backbone.read(visual.select(index), text.select(index)).maps
        assert all(torch.allclose(a[0], b[row], atol=1e-4) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("name", ["small_cnn", "resnet18", "swin_t"])
@torch.no_grad()
def test_a_staged_backbone_gives_its_own_maps(name: str) -> None:
    wanted = VisualInput(staged=True)
    assert name in fitting(wanted) and "mobilenet_v2" not in fitting(wanted)
    backbone: StagedBackbone = build_visual(VisualSection(name=name, drop_path=0.0), wanted=wanted).eval()  # type: ignore[assignment]
    images, padding = torch.rand(1, 3, 64, 64), torch.zeros(1, 64, 64, dtype=torch.bool)
    x: Tensor = backbone.before_stages(images, padding)
    for number, expected in enumerate(backbone(images, padding).maps):  # type: ignore[operator]
        x = backbone.run_stage(x, number)
        assert torch.allclose(x.permute(0, 3, 1, 2), expected, atol=1e-5)
        assert x.shape[-1] == backbone.channels[number]
    assert not any(VISUAL_ENCODERS[one].staged for one in ("video_swin_t", "darknet53"))


def test_published_names() -> None:
    backbone = small()
    own = set(backbone.state_dict())
    published = {
        "patch_embed.proj.weight": "backbone.patches.weight",
        "layers.0.blocks.1.attn.relative_position_bias_table": "backbone.stages.0.1.attention.table",
        "layers.2.downsample.reduction.weight": "backbone.merges.2.reduction.weight",
        "layers.1.fusion.image_lang_att.W.0.bias": "gates.1.out.bias",
        "layers.3.fusion.vis_project.0.weight": "gates.3.visual.weight",
        "layers.0.res_gate.2.weight": "gates.0.gate.2.weight",
        "norm3.bias": "norms.3.bias",
    }
    for name, ours in published.items():
        assert language_backbone_name(name) == ours and ours in own
    assert language_backbone_name("layers.0.fusion.extra.weight") is None
    assert as_linear("visual.gates.0.out.weight", torch.zeros(4, 3, 1)).shape == (4, 3)
    assert as_linear("visual.other.weight", torch.zeros(4, 3, 1)).shape == (4, 3, 1)
