"""Re-ranks proposals by the location that an expression names.

After the spatial coherence guidance of HybridGL (CVPR 2025), with this project's own arithmetic: text scores are
standardised over the proposals, and location scores, standardised likewise over the proposals with a score, are added.
"""

from __future__ import annotations

import torch
from torch import Tensor

from risctl.language.spatial_words import Place


def rerank(scores: Tensor, centres: Tensor, place: Place, *, weight: float = 1.0) -> Tensor:
    """Adds location scores to text scores.

    With an ordinal ("second from left"), the half of the proposals with the best scores is counted along the direction.

    Args:
        scores: (N,) text scores; infinite ones stay as they are.
        centres: (N, 2) box centres, x and y in [0, 1].
        place: The location that the expression names.
        weight: Weight of the location.

    Returns:
        (N,) scores, unchanged if the expression names no location or fewer than two scores are finite.
    """
    finite = torch.isfinite(scores)
    if not place or int(finite.sum()) < 2:
        return scores
    values, positions = scores[finite], centres[finite].to(scores.dtype)
    fitness = _standardised(values)
    along = positions @ torch.tensor(place.direction, dtype=scores.dtype, device=scores.device)
    if place.order is not None:
        best = fitness.topk(
            max(place.order, (len(fitness) + 1) // 2) if len(fitness) >= place.order else len(fitness)
        ).indices
        row = best[along[best].argsort(descending=True, stable=True)]
        at = torch.zeros_like(fitness)
        at[row[min(place.order, len(row)) - 1]] = 1.0
    elif place.middle and place.direction == (0.0, 0.0):
        at = -(positions - 0.5).norm(dim=1)
    else:
        at = along - (place.middle * (positions - 0.5).abs().amin(dim=1))
    reranked = scores.clone()
    reranked[finite] = fitness + weight * _standardised(at)
    return reranked


def _standardised(values: Tensor) -> Tensor:
    return (values - values.mean()) / values.std(unbiased=False).clamp(min=1e-12)
