"""Attention with and without its weights."""

from __future__ import annotations

import pytest
import torch

from risctl.core.fusion.attention import MultiHeadAttention


@pytest.mark.parametrize("causal", [False, True])
def test_attention_with_and_without_weights_agrees(causal: bool) -> None:
    torch.manual_seed(0)
    attention = MultiHeadAttention(8, heads=2)
    x = torch.randn(2, 5, 8)
    plain, none = attention(x, x, x, causal=causal)
    shown, weights = attention(x, x, x, causal=causal, need_weights=True)
    assert none is None and weights is not None
    assert torch.allclose(plain, shown, atol=1e-6)
    assert torch.allclose(weights.sum(-1), torch.ones(2, 5))
    assert (weights.triu(1) == 0).all().item() is causal
    assert plain.min() >= 0
    with pytest.raises(ValueError, match="divisible"):
        MultiHeadAttention(9, heads=2)
