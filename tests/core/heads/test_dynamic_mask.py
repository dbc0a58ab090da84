"""The dynamic mask head against its definition."""

from __future__ import annotations

import pytest
import torch

from risctl.core.heads.dynamic_mask import DynamicMaskHead


@pytest.mark.parametrize(("layers", "relative"), [(3, True), (2, True), (3, False), (4, False)])
def test_dynamic_masks_are_convolutions_over_features_and_offsets(layers: int, relative: bool) -> None:
    torch.manual_seed(0)
    head = DynamicMaskHead(12, features=6, inner=4, layers=layers, relative=relative)
    maps, kernels, centres = torch.randn(2, 6, 3, 5), torch.randn(2, 2, sum(head.sizes)), torch.rand(2, 2, 2) * 20
    found = head.apply_kernels(maps, kernels, centres)
    for frame in range(2):
        for query in range(2):
            parts = kernels[frame, query].split(head.sizes)
            y, x = torch.meshgrid(4 * torch.arange(3) + 2, 4 * torch.arange(5) + 2, indexing="ij")
            offsets = centres[frame, query][:, None, None] - torch.stack([x, y])
            hidden = torch.cat([maps[frame], offsets])[None] if relative else maps[frame][None]
            for number in range(layers):
                outputs = 1 if number == layers - 1 else 4
                weight, bias = parts[number].view(outputs, -1, 1, 1), parts[layers + number]
                hidden = torch.conv2d(hidden, weight, bias)
                if outputs > 1:
                    hidden = hidden.relu()
            assert torch.allclose(found[frame, query], hidden[0, 0], atol=1e-4)


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("queries", [2, 9])
def test_masks_with_a_projection_equal_those_of_projected_features(queries: int, relative: bool) -> None:
    torch.manual_seed(5)
    head, out = DynamicMaskHead(8, features=24, inner=4, relative=relative), torch.nn.Conv2d(6, 24, 3, padding=1)
    maps, states, centres = torch.randn(3, 6, 7, 9), torch.randn(3, queries, 8), 30 * torch.rand(3, queries, 2)
    with torch.no_grad():
        expected = head(out(maps), states, centres)
        assert torch.allclose(head.forward_with_projection(out, maps, states, centres), expected, atol=1e-4)
