"""The plain form of query generation is one attention."""

from __future__ import annotations

import torch

from risctl.core.fusion.query_generation import PlainQueryGeneration, VisualQueries


def test_plain_query_generation_is_one_attention() -> None:
    torch.manual_seed(0)
    generation = PlainQueryGeneration(visual=VisualQueries(4, cells=6, queries=3, hidden=5), words=7, hidden=5).eval()
    query_features, words = torch.randn(2, 4, 2, 3), torch.randn(2, 8, 7)
    queries, weights = generation(query_features, words, need_weights=True)
    visual = generation.visual(query_features)
    scores = torch.einsum("bqc,blc->bql", generation.query(visual).relu(), generation.key(words).relu())
    expected = torch.einsum("bql,blc->bqc", scores.softmax(-1), generation.value(words).relu())
    assert torch.allclose(queries, expected, atol=1e-6)
    assert weights is not None and weights.shape == (2, 3, 8)
