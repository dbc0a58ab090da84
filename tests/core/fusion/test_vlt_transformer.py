"""VLT's transformer: which queries attend to which."""

from __future__ import annotations

import pytest
import torch

from risctl.core.fusion.vlt_transformer import VLTTransformer


@pytest.mark.parametrize("causal", [False, True])
def test_queries_attend_to_later_queries_only_without_the_causal_mask(causal: bool) -> None:
    torch.manual_seed(0)
    transformer = VLTTransformer(8, heads=2, feed_forward=16, causal=causal, projected_relu=False).eval()
    queries, memory = torch.randn(1, 4, 8), torch.randn(1, 9, 8)
    changed = queries.clone()
    changed[:, 3] += 1
    before, after = transformer.decode(queries, memory)[0], transformer.decode(changed, memory)[0]
    assert torch.allclose(before[:, :3], after[:, :3], atol=1e-6) is causal
    assert not torch.allclose(before[:, 3], after[:, 3], atol=1e-3)
