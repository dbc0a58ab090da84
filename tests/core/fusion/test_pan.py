"""Path aggregation: each level depends on every other."""

from __future__ import annotations

import torch

from risctl.core.fusion.pan import PathAggregation


def test_every_level_depends_on_every_other() -> None:
    torch.manual_seed(0)
    channels = (116, 232, 464)
    maps = [torch.rand(2, width, 8 >> level, 12 >> level).requires_grad_() for level, width in enumerate(channels)]
    for out in PathAggregation(channels, channels=96)(maps):
        grads = torch.autograd.grad(out.sum(), maps, retain_graph=True)
        assert all(grad.abs().sum() > 0 for grad in grads)
