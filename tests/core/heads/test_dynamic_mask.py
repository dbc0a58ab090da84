"""The dynamic mask head against its definition."""

from __future__ import annotations

import pytest
import torch

from risctl.core.heads.dynamic_mask import DynamicMaskHead


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


@pytest.mark.parametrize("queries", [2, 9])
def test_masks_with_a_projection_equal_those_of_projected_features(queries: int) -> None:
    torch.manual_seed(5)
    head, out = DynamicMaskHead(8, features=24, inner=4), torch.nn.Conv2d(6, 24, 3, padding=1)
    maps, states, centres = torch.randn(3, 6, 7, 9), torch.randn(3, queries, 8), 30 * torch.rand(3, queries, 2)
    with torch.no_grad():
        expected = head(out(maps), states, centres)
        assert torch.allclose(head.forward_with_projection(out, maps, states, centres), expected, atol=1e-4)
