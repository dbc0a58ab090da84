"""VLT's mask head."""

from __future__ import annotations

import torch

from risctl.core.heads.conv_mask import ConvMaskHead


def test_the_mask_head_outputs_half_the_input_size() -> None:
    head = ConvMaskHead(8, queries=3, grid=(2, 4)).eval()
    assert head(torch.randn(2, 3, 8)).shape == (2, 16, 32)
