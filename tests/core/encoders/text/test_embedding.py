"""Word vectors that are learned."""

from __future__ import annotations

import torch

from risctl.core.encoders.text.embedding import LearnedVectors


def test_learned_vectors_keep_padding_at_zero() -> None:
    vectors = LearnedVectors(5, 3)
    vectors(torch.tensor([[0, 1, 4]])).sum().backward()
    assert not vectors.vectors[:2].any()
    assert vectors.vectors.grad is not None
    assert vectors.vectors.grad.any(dim=1).tolist() == [False, True, False, False, True]
