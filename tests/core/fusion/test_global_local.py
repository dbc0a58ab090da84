"""The arithmetic of Global-Local CLIP against its plain definition, object by object."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.tiny_clip import SIDE, tiny_clip
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from risctl.core.encoders.visual.clip_vit import CLIPViT
from risctl.core.fusion import global_local


def _plainly_masked(visual: CLIPViT, tokens: Tensor, mask: Tensor, last: int) -> Tensor:
    """The published forward: every token kept, Hugging Face's own blocks."""
    weights = torch.cat([torch.ones(1), mask.flatten()])[None, :, None]
    for layer in visual.model.encoder.layers[visual.depth - last :]:
        tokens = layer(tokens * weights, attention_mask=None)
    return visual.projection(visual.model.post_layernorm(tokens[:, 0]))[0]


@pytest.mark.parametrize("last", [1, 2, 3])
@pytest.mark.parametrize("patch", [8, 16])
@torch.no_grad()
def test_leaving_out_patches_changes_nothing(last: int, patch: int) -> None:
    visual = tiny_clip(patch=patch).visual
    generator = torch.Generator().manual_seed(last)
    soft = torch.rand(6, visual.grid, visual.grid, generator=generator)
    masks = torch.where(soft > torch.tensor([0.0, 0.3, 0.6, 0.9, 1.0, 0.5])[:, None, None], soft, 0.0)
    masks[5] = 1.0
    tokens = visual.backbone(torch.randn(1, 3, SIDE, SIDE, generator=generator), blocks=visual.depth - last)
    found = visual.masked(tokens, masks, last=last)
    plain = torch.stack([_plainly_masked(visual, tokens, mask, last) for mask in masks])
    assert torch.allclose(found, plain, atol=2e-5)
    assert not torch.allclose(found[1], found[5], atol=1e-2)


@given(st.integers(2, 40), st.integers(2, 40), st.integers(0, 2**31), st.sampled_from(["tight", "reference"]))
def test_crops_equal_the_published_loop(height: int, width: int, seed: int, how: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(1, 3, height, width, generator=generator)
    masks = torch.rand(3, height, width, generator=generator) > 0.8
    masks[:, height // 2, width // 2] = True
    boxes = global_local.integer_boxes(global_local.mask_boxes(masks, how), height=height, width=width)
    found = global_local.masked_crops(image, masks, boxes, size=24)
    mean = torch.tensor(global_local.MEAN)[:, None, None]
    for number, (left, top, right, bottom) in enumerate(boxes.tolist()):
        whole = image[0] * masks[number] + mean * ~masks[number]
        plain = functional.interpolate(whole[None, :, top:bottom, left:right], size=(24, 24), mode="bilinear")
        assert torch.allclose(found[number], plain[0], atol=1e-4)


def test_mask_boxes_tight_and_as_published() -> None:
    masks = torch.zeros(3, 10, 20, dtype=torch.bool)
    masks[0, 2:5, 4:9] = True
    masks[1, 0:2, 0:2] = True
    masks[1, 8:10, 16:20] = True
    tight = global_local.mask_boxes(masks)
    assert tight.tolist() == [[4, 2, 9, 5], [0, 0, 20, 10], [0, 0, 0, 0]]
    # Columns 4 to 8 have the mean 6 and are 5: 3.5 to 8.5; of two pieces the mean lies between them.
    assert global_local.mask_boxes(masks, "reference")[:2].tolist() == [
        [3.5, 1.5, 8.5, 4.5],
        [pytest.approx(71 / 6 - 3), 2.5, pytest.approx(71 / 6 + 3), 6.5],
    ]


def test_preprocessing_resizes_the_shorter_side_to_800() -> None:
    for shape, wanted in (((10, 30), (800, 2400)), ((30, 10), (2400, 800)), ((7, 9), (800, int(800 * 9 / 7)))):
        image = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
        assert global_local.preprocess(image).shape == (1, 3, *wanted)


@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_baselines_see_what_they_should(kind: str) -> None:
    """A region token depends on nothing outside its region; maps have a cell a place."""
    visual = tiny_clip(kind).visual
    images = torch.randn(1, 3, SIDE, SIDE)
    masks = torch.zeros(2, visual.grid, visual.grid, dtype=torch.bool)
    masks[0] = True
    masks[1, 0, 0] = True
    with torch.no_grad():
        whole, corner = visual.region_tokens(images, masks)
        assert torch.allclose(whole, visual.features(images)[0], atol=1e-4)
        assert not torch.allclose(whole, corner, atol=1e-3)
        assert visual.dense(images).shape == (1, 32, visual.grid, visual.grid)
    cells, features = visual.activations(images)
    assert torch.allclose(features, visual.features(images), atol=1e-4)
    [gradient] = torch.autograd.grad(features.sum(), cells)
    assert cells.shape[2:] == (visual.grid, visual.grid)
    assert gradient.abs().sum() > 0
