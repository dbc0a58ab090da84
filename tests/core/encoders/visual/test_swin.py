"""Swin and Video Swin against torchvision's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision.models.swin_transformer import SwinTransformer
from torchvision.models.video.swin_transformer import PatchEmbed3d, SwinTransformer3d

from risctl.core.encoders.load_weights import load_backbone
from risctl.core.encoders.visual.swin import NUMBERS, Block, Swin, SwinNumbers
from risctl.errors import CheckpointError
from risctl.export.formats import as_exported

SMALL = SwinNumbers(width=24, depths=(2, 2, 2, 2), heads=(2, 2, 4, 4), video=True)


def fill(module: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)


def torchvision_state(ours: Swin, *, video: bool) -> dict[str, Tensor]:
    """Return our weights by torchvision's names."""
    own, state = ours.state_dict(), {}
    names = {
        "table": "relative_position_bias_table",
        "qkv.weight": "qkv.weight",
        "qkv.bias": "qkv.bias",
        "out.weight": "proj.weight",
        "out.bias": "proj.bias",
    }
    for stage in range(4):
        for block in range(2):
            theirs, mine = f"features.{2 * stage + (not video)}.{block}.", f"stages.{stage}.{block}."
            for key, name in names.items():
                state[f"{theirs}attn.{name}"] = own[f"{mine}attention.{key}"]
            for part in ("weight", "bias"):
                for norm in ("norm1", "norm2"):
                    state[f"{theirs}{norm}.{part}"] = own[f"{mine}{norm}.{part}"]
                state[f"{theirs}mlp.0.{part}"] = own[f"{mine}first.{part}"]
                state[f"{theirs}mlp.3.{part}"] = own[f"{mine}second.{part}"]
        if stage < 3:
            for key in ("reduction.weight", "norm.weight", "norm.bias"):
                state[f"features.{2 * stage + (not video) + 1}.{key}"] = own[f"merges.{stage}.{key}"]
    return state


@pytest.mark.parametrize(
    ("frames", "height", "width"), [(1, 64, 96), (3, 60, 90), (8, 120, 64), (11, 72, 130), (16, 32, 100)]
)
def test_video_swin_is_torchvisions(frames: int, height: int, width: int) -> None:
    """Stage by stage, fewer and more frames than a window, maps smaller than one; odd maps are merged by both."""
    ours = Swin(SMALL, drop_path=0.0).eval()
    fill(ours)
    theirs = SwinTransformer3d(
        patch_size=[1, 4, 4],
        embed_dim=SMALL.width,
        depths=list(SMALL.depths),
        num_heads=list(SMALL.heads),
        window_size=[8, 7, 7],
        stochastic_depth_prob=0.0,
        num_classes=1,
        patch_embed=PatchEmbed3d,
    ).eval()
    state = torchvision_state(ours, video=True)
    own = ours.state_dict()
    state["patch_embed.proj.weight"] = own["patches.weight"][:, :, None]
    state["patch_embed.proj.bias"] = own["patches.bias"]
    state["patch_embed.norm.weight"], state["patch_embed.norm.bias"] = own["patch_norm.weight"], own["patch_norm.bias"]
    missing, unknown = theirs.load_state_dict(state, strict=False)
    assert not unknown
    assert all(name.startswith(("norm.", "head.")) or name.endswith("position_index") for name in missing)
    clip = torch.rand(2, frames, 3, height, width)
    normal = (clip - ours.mean) / ours.deviation
    with torch.no_grad():
        maps = ours(clip, torch.zeros(2, height, width, dtype=torch.bool)).maps
        x = theirs.patch_embed(normal.transpose(1, 2))
        for stage in range(4):
            x = theirs.features[2 * stage](x)
            expected = x.permute(0, 1, 4, 2, 3)
            assert torch.allclose(maps[stage], expected, atol=1e-4 * expected.abs().max().item())
            if stage < 3:
                x = theirs.features[2 * stage + 1](x)


def test_swin_is_torchvisions() -> None:
    """On whole windows: torchvision does not shift maps of one window, the published detection code does."""
    ours = Swin(SwinNumbers(width=24, depths=(2, 2, 2, 2), heads=(2, 2, 4, 4)), drop_path=0.0).eval()
    fill(ours)
    theirs = SwinTransformer(
        patch_size=[4, 4],
        embed_dim=24,
        depths=[2, 2, 2, 2],
        num_heads=[2, 2, 4, 4],
        window_size=[7, 7],
        stochastic_depth_prob=0.0,
        num_classes=1,
    ).eval()
    state, own = torchvision_state(ours, video=False), ours.state_dict()
    for part in ("weight", "bias"):
        state[f"features.0.0.{part}"] = own[f"patches.{part}"]
        state[f"features.0.2.{part}"] = own[f"patch_norm.{part}"]
    _, unknown = theirs.load_state_dict(state, strict=False)
    assert not unknown
    images = torch.rand(1, 3, 448, 448)
    with torch.no_grad():
        maps = ours(images, torch.zeros(1, 448, 448, dtype=torch.bool)).maps
        x = (images - ours.mean) / ours.deviation
        for stage in range(4):
            x = theirs.features[2 * stage + 1](theirs.features[2 * stage](x))
            expected = ours.norms[stage](x).permute(0, 3, 1, 2)
            assert torch.allclose(maps[stage], expected, atol=1e-4)


def test_chunks_of_windows_change_nothing() -> None:
    ours = Swin(SMALL, drop_path=0.0).eval()
    fill(ours)
    clip, padding = torch.rand(1, 10, 3, 64, 300), torch.zeros(1, 64, 300, dtype=torch.bool)
    whole = ours(clip, padding).maps
    with torch.no_grad():
        chunked = ours(clip, padding).maps
    assert all(torch.allclose(one, two, atol=1e-4) for one, two in zip(whole, chunked, strict=True))


def test_the_seven_variants_have_their_published_widths() -> None:
    assert {name: (one.width, sum(one.depths), one.video) for name, one in NUMBERS.items()} == {
        "swin_t": (96, 12, False),
        "swin_s": (96, 24, False),
        "swin_b": (128, 24, False),
        "swin_l": (192, 24, False),
        "video_swin_t": (96, 12, True),
        "video_swin_s": (96, 24, True),
        "video_swin_b": (128, 24, True),
    }


def published_classifier(window: int) -> dict[str, torch.Tensor]:
    """Returns a state with the names of Swin's published classifiers, of the network SMALL_IMAGE."""
    torch.manual_seed(window)
    inverse = {"attention.table": "attn.relative_position_bias_table", "attention.qkv.": "attn.qkv."}
    inverse |= {"attention.out.": "attn.proj.", "first.": "mlp.fc1.", "second.": "mlp.fc2."}
    state = {"head.weight": torch.zeros(3, 64), "norm.weight": torch.ones(64), "norm.bias": torch.zeros(64)}
    for name, value in Swin(SMALL_IMAGE, window=window, output_norms=False).state_dict().items():
        published = re.sub(r"^stages\.(\d)\.", r"layers.\1.blocks.", name)
        published = re.sub(r"^merges\.(\d)\.", r"layers.\1.downsample.", published)
        published = re.sub(r"^patches\.", "patch_embed.proj.", published).replace("patch_norm.", "patch_embed.norm.")
        for ours, theirs in inverse.items():
            published = published.replace(ours, theirs)
        state[published] = torch.randn_like(value)
    state["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(window**2, window**2, dtype=torch.int64)
    state["layers.0.blocks.1.attn_mask"] = torch.zeros(1, window**2, window**2)
    return state


SMALL_IMAGE = SwinNumbers(width=8, depths=(2, 1, 1, 1), heads=(1, 2, 2, 2))


def test_published_classifiers_are_initial_weights(tmp_path: Path) -> None:
    state = published_classifier(window=4)
    torch.save({"model": state}, tmp_path / "swin.pth")
    ours = Swin(SMALL_IMAGE, window=4)
    load_backbone(ours, "swin_t", str(tmp_path / "swin.pth"))
    assert torch.equal(ours.stages[0][1].first.weight, state["layers.0.blocks.1.mlp.fc1.weight"])
    assert torch.equal(ours.merges[1].reduction.weight, state["layers.1.downsample.reduction.weight"])
    assert torch.equal(ours.norms[0].weight, torch.ones(8))
    table = state["layers.0.blocks.0.attn.relative_position_bias_table"]
    assert torch.equal(ours.stages[0][0].attention.table, table)

    wider = Swin(SMALL_IMAGE, window=6, output_norms=False)
    load_backbone(wider, "swin_t", str(tmp_path / "swin.pth"))
    resized = wider.stages[0][0].attention.table
    assert resized.shape == (121, 1)
    square = torch.nn.functional.interpolate(table.T.reshape(1, 1, 7, 7), size=(11, 11), mode="bicubic")
    assert torch.equal(resized, square.reshape(1, -1).T)


def test_a_classifier_of_another_size_is_refused(tmp_path: Path) -> None:
    torch.save({"model": published_classifier(window=4)}, tmp_path / "swin.pth")
    with pytest.raises(CheckpointError, match="another model"):
        load_backbone(Swin(SMALL), "swin_t", str(tmp_path / "swin.pth"))


@pytest.mark.parametrize("frames", [1, 3, 8])
@pytest.mark.parametrize("shifted", [False, True])
def test_an_exported_block_hides_the_frames_that_a_window_lacks(frames: int, shifted: bool) -> None:
    torch.manual_seed(0)
    block = Block(8, heads=2, window=(8, 7, 7), shifted=shifted, shrink=True, drop=0.0).eval()
    torch.nn.init.normal_(block.attention.table)
    clip = torch.randn(1, frames, 9, 16, 8)
    with torch.no_grad():
        expected = block(clip)
        with as_exported():
            found = block(clip)
    assert torch.allclose(found, expected, atol=1e-5)
