"""ReferFormer's modules against their equations, and Video Swin against torchvision's."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchvision.models.swin_transformer import SwinTransformer
from torchvision.models.video.swin_transformer import PatchEmbed3d, SwinTransformer3d

from risctl.core.encoders.visual.swin import NUMBERS, Swin, SwinNumbers
from risctl.core.fusion.deformable_attention import DeformableAttention, gather_points, sample_points
from risctl.core.fusion.sine_position import sine_position_1d, sine_position_2d
from risctl.core.heads.dynamic_mask import DynamicMaskHead
from risctl.core.losses.boxes import cxcywh_to_xyxy, generalised_box_iou, masks_to_cxcywh
from risctl.core.losses.clip_queries import ClipPredictions, ClipTargets, layer_losses, match_costs, match_queries

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


def bilinear(cells: Tensor, shape: tuple[int, int], x: float, y: float) -> Tensor:
    """Samples maps (h * w, D) at x, y in [0, 1] by hand: cell centres at half steps, zeros outside."""
    height, width = shape
    column, row = x * width - 0.5, y * height - 0.5
    total = torch.zeros(cells.shape[1])
    for down in (0, 1):
        for right in (0, 1):
            i, j = math.floor(row) + down, math.floor(column) + right
            if 0 <= i < height and 0 <= j < width:
                share = (1 - abs(row - i)) * (1 - abs(column - j))
                total += share * cells[i * width + j]
    return total


def test_sampled_points_follow_the_equation() -> None:
    torch.manual_seed(0)
    shapes = ((3, 5), (2, 2))
    value = torch.randn(2, 19, 2, 4)
    locations = torch.rand(2, 3, 2, 2, 3, 2) * 1.4 - 0.2
    weights = torch.rand(2, 3, 2, 2, 3)
    found = sample_points(value, shapes, locations, weights)
    for batch in range(2):
        for query in range(3):
            for head in range(2):
                total = torch.zeros(4)
                for level, (start, shape) in enumerate(((0, shapes[0]), (15, shapes[1]))):
                    cells = value[batch, start : start + shape[0] * shape[1], head]
                    for point in range(3):
                        x, y = locations[batch, query, head, level, point].tolist()
                        total += weights[batch, query, head, level, point] * bilinear(cells, shape, x, y)
                assert torch.allclose(found[batch, query, 4 * head : 4 * head + 4], total, atol=1e-5)


def test_deformable_attention_is_initialised_as_published() -> None:
    attention = DeformableAttention(16, heads=4, levels=2, points=2)
    bias = attention.offsets.bias.view(4, 2, 2, 2)
    expected = [[1, 0], [0, 1], [-1, 0], [0, -1]]
    for head, way in enumerate(expected):
        assert torch.allclose(bias[head, :, 0], torch.tensor(way).float().expand(2, 2), atol=1e-6)
        assert torch.allclose(bias[head, :, 1], 2 * bias[head, :, 0])


def test_positions_skip_padding() -> None:
    padding = torch.ones(1, 6, 8, dtype=torch.bool)
    padding[:, :4, :5] = False
    padded = sine_position_2d(padding, channels=16)[:, :, :4, :5]
    alone = sine_position_2d(torch.zeros(1, 4, 5, dtype=torch.bool), channels=16)
    assert torch.allclose(padded, alone, atol=1e-6)
    y = (torch.arange(4) + 0.5) / 4 * 2 * math.pi
    assert torch.allclose(alone[0, 0, :, 0], y.sin(), atol=1e-5)
    assert torch.allclose(alone[0, 1, :, 0], y.cos(), atol=1e-5)
    words = sine_position_1d(torch.tensor([[True, True, False]]), channels=8)
    assert torch.allclose(words[0, :, 0], torch.tensor([math.pi, 2 * math.pi, 2 * math.pi]).sin(), atol=1e-5)


def test_dynamic_masks_are_three_convolutions_over_features_and_offsets() -> None:
    torch.manual_seed(0)
    head = DynamicMaskHead(12, features=6, inner=4)
    maps, kernels, centres = torch.randn(2, 6, 3, 5), torch.randn(2, 2, sum(head.sizes)), torch.rand(2, 2, 2) * 20
    found = head.apply_kernels(maps, kernels, centres)
    for frame in range(2):
        for query in range(2):
            parts = kernels[frame, query].split(head.sizes)
            y, x = torch.meshgrid(4 * torch.arange(3) + 2, 4 * torch.arange(5) + 2, indexing="ij")
            offsets = centres[frame, query][:, None, None] - torch.stack([x, y])
            whole = torch.cat([maps[frame], offsets])[None]
            hidden = torch.conv2d(whole, parts[0].view(4, 8, 1, 1), parts[3]).relu()
            hidden = torch.conv2d(hidden, parts[1].view(4, 4, 1, 1), parts[4]).relu()
            logits = torch.conv2d(hidden, parts[2].view(1, 4, 1, 1), parts[5])
            assert torch.allclose(found[frame, query], logits[0, 0], atol=1e-4)


def test_boxes_of_masks_and_their_generalised_iou() -> None:
    masks = torch.zeros(2, 10, 12, dtype=torch.bool)
    masks[0, 2:6, 3:9] = True
    assert masks_to_cxcywh(masks).tolist() == [[6, 4, 6, 4], [0, 0, 0, 0]]
    first = cxcywh_to_xyxy(torch.tensor([[0.25, 0.5, 0.5, 1.0]]))
    second = cxcywh_to_xyxy(torch.tensor([[0.75, 0.5, 0.5, 1.0]]))
    assert generalised_box_iou(first, first).item() == pytest.approx(1, abs=1e-5)
    assert generalised_box_iou(first, second).item() == pytest.approx(0, abs=1e-5)
    far = cxcywh_to_xyxy(torch.tensor([[0.1, 0.1, 0.1, 0.1], [0.9, 0.9, 0.1, 0.1]]))
    assert generalised_box_iou(far[0], far[1]).item() == pytest.approx(-(0.81 - 0.02) / 0.81, abs=1e-4)


def example(*, seed: int = 0) -> tuple[ClipPredictions, ClipTargets]:
    generator = torch.Generator().manual_seed(seed)
    masks = torch.zeros(2, 3, 8, 8)
    masks[0, :2, 2:5, 1:6] = 1
    masks[1, :, 4:, 4:] = 1
    predicted = ClipPredictions(
        classes=torch.randn(2, 3, 4, 1, generator=generator),
        boxes=torch.rand(2, 3, 4, 4, generator=generator),
        masks=torch.randn(2, 3, 4, 8, 8, generator=generator),
    )
    shown = masks.flatten(2).any(2)
    targets = ClipTargets(
        masks=masks, boxes=masks_to_cxcywh(masks > 0) / 8, valid=shown, labels=torch.zeros(2, dtype=torch.int64)
    )
    return predicted, targets


def test_the_best_query_is_matched() -> None:
    predicted, targets = example()
    predicted.masks[0, :, 2] = 20 * targets.masks[0] - 10
    predicted.boxes[0, :, 2] = targets.boxes[0]
    predicted.classes[0, :, 2] = 3
    predicted.masks[1, :, 1] = 20 * targets.masks[1] - 10
    predicted.boxes[1, :, 1] = targets.boxes[1]
    predicted.classes[1, :, 1] = 3
    assert match_queries(predicted, targets).tolist() == [2, 1]
    assert match_costs(predicted, targets).shape == (2, 4)
    right = layer_losses([predicted], targets)
    assert right["mask"] < 1e-3 and right["dice"] < 0.1 and right["box"] < 1e-5


def test_loss_names_carry_their_layer_except_the_last() -> None:
    predicted, targets = example()
    other, _ = example(seed=1)
    terms = layer_losses([other, predicted], targets)
    assert set(terms) == {f"{name}{end}" for name in ("class", "box", "giou", "mask", "dice") for end in ("", "_0")}
    alone = layer_losses([predicted], targets)
    assert all(torch.equal(terms[name], value) for name, value in alone.items())


def test_a_clip_that_never_shows_its_object_has_finite_losses() -> None:
    predicted, targets = example()
    nothing = ClipTargets(
        masks=torch.zeros_like(targets.masks),
        boxes=torch.zeros_like(targets.boxes),
        valid=torch.zeros_like(targets.valid),
        labels=targets.labels,
    )
    assert all(value.isfinite() for value in layer_losses([predicted], nothing).values())


@pytest.mark.parametrize("spread", [0.2, 1.0, 40.0])
def test_gathered_points_equal_sampled_ones(spread: float) -> None:
    """Within the maps, on their edges, and far outside."""
    torch.manual_seed(3)
    shapes = [(5, 7), (3, 4), (2, 2), (1, 1)]
    cells = sum(height * width for height, width in shapes)
    value = torch.randn(2, cells, 3, 4)
    locations = 0.5 + spread * (torch.rand(2, 9, 3, 4, 5, 2) - 0.5)
    edges = torch.tensor([-0.01, 0.0, 0.5, 1.0, 1.2])
    locations[:, 0, ..., 0], locations[:, 1, ..., 1], locations[:, 2] = edges, edges, edges[:, None]
    weights = torch.rand(2, 9, 3, 4, 5)
    expected = sample_points(value, shapes, locations, weights)
    found = gather_points(value, shapes, locations.clone(), weights)
    assert found.shape == expected.shape == (2, 9, 12)
    assert torch.allclose(found, expected, atol=1e-5)


def test_attention_is_the_same_with_and_without_a_gradient() -> None:
    torch.manual_seed(4)
    module = DeformableAttention(16, heads=2, levels=2, points=3)
    torch.nn.init.normal_(module.offsets.weight, std=0.3)
    shapes = [(4, 6), (2, 3)]
    memory, queries = torch.randn(2, 30, 16), torch.randn(2, 5, 16)
    padding = torch.zeros(2, 30, dtype=torch.bool)
    padding[1, 20:24] = True
    references = torch.rand(2, 5, 2, 4)
    with torch.no_grad():
        without = module(queries, references, memory, shapes, padding)
    assert torch.allclose(without, module(queries, references, memory, shapes, padding), atol=1e-5)


@pytest.mark.parametrize("queries", [2, 9])
def test_masks_with_a_projection_equal_those_of_projected_features(queries: int) -> None:
    torch.manual_seed(5)
    head, out = DynamicMaskHead(8, features=24, inner=4), torch.nn.Conv2d(6, 24, 3, padding=1)
    maps, states, centres = torch.randn(3, 6, 7, 9), torch.randn(3, queries, 8), 30 * torch.rand(3, queries, 2)
    with torch.no_grad():
        expected = head(out(maps), states, centres)
        assert torch.allclose(head.forward_with_projection(out, maps, states, centres), expected, atol=1e-4)
