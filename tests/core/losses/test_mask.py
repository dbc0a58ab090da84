"""The mask's cross-entropy."""

from __future__ import annotations

import pytest
import torch

from risctl.core.losses.mask import summed_cross_entropy


def test_cross_entropy_is_summed_over_pixels_and_averaged_over_the_batch() -> None:
    logits, targets = torch.tensor([[[0.0, 2.0]], [[-1.0, 1.0]]]), torch.tensor([[[1.0, 0.0]], [[0.5, 1.0]]])
    probability = logits.sigmoid()
    expected = -(targets * probability.log() + (1 - targets) * (1 - probability).log()).sum() / 2
    assert summed_cross_entropy(logits, targets).item() == pytest.approx(expected.item(), rel=1e-6)
    assert summed_cross_entropy(torch.full((1, 300, 300), 8.0).half(), torch.zeros(1, 300, 300)).isfinite()
