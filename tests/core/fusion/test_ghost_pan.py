"""NanoDet-Plus's neck."""

from __future__ import annotations

import torch
from torch import nn

from risctl.core.fusion.ghost_pan import GhostPathAggregation


def test_a_coarser_level_is_added_at_any_size() -> None:
    neck = GhostPathAggregation((4, 6, 8), channels=16)
    outputs = neck([torch.rand(2, 4, 20, 12), torch.rand(2, 6, 10, 6), torch.rand(2, 8, 5, 3)])
    assert [tuple(one.shape) for one in outputs] == [(2, 16, 20, 12), (2, 16, 10, 6), (2, 16, 5, 3), (2, 16, 3, 2)]


def test_information_flows_both_ways() -> None:
    torch.manual_seed(0)
    neck = GhostPathAggregation((4, 6, 8), channels=16).double()
    maps = [torch.rand(1, *shape).double() for shape in ((4, 8, 8), (6, 4, 4), (8, 2, 2))]
    with torch.no_grad():
        whole = neck(maps)
        for level in range(3):
            changed = neck([one + (index == level) for index, one in enumerate(maps)])
            assert all(float((new - old).abs().max()) > 1e-9 for new, old in zip(changed, whole, strict=True))


def test_all_convolutions_are_listed_once() -> None:
    neck = GhostPathAggregation((4, 6, 8), channels=16)
    listed = [id(layer) for layer in neck.convolutions()]
    assert sorted(listed) == sorted(id(layer) for layer in neck.modules() if isinstance(layer, nn.Conv2d))
