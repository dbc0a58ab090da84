"""Re-ranking proposals by where an expression says its object is.

After HybridGL's spatial coherence guidance (CVPR 2025), with this project's own arithmetic: what fits the text is
standardised over the proposals, and the place, standardised likewise over those that fit, is added to it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from risctl.language.spatial_words import Place


def rerank(scores: Tensor, centres: Tensor, place: Place, *, weight: float = 1.0) -> Tensor:
    """Return scores (N,) with the place taken into account; unchanged if the text says none, or fewer than two stand.

    centres (N, 2): x and y in [0, 1]. Only finite scores are changed. With an order ("second from left"), the half of
    the proposals that fits best is counted off along the direction.
    """
    known = torch.isfinite(scores)
    if not place or int(known.sum()) < 2:
        return scores
    values, places = scores[known], centres[known].to(scores.dtype)
    fit = _standardised(values)
    along = places @ torch.tensor(place.direction, dtype=scores.dtype, device=scores.device)
    if place.order is not None:
        best = fit.topk(max(place.order, (len(fit) + 1) // 2) if len(fit) >= place.order else len(fit)).indices
        row = best[along[best].argsort(descending=True, stable=True)]
        at = torch.zeros_like(fit)
        at[row[min(place.order, len(row)) - 1]] = 1.0
    elif place.middle and place.direction == (0.0, 0.0):
        at = -(places - 0.5).norm(dim=1)
    else:
        at = along - (place.middle * (places - 0.5).abs().amin(dim=1))
    found = scores.clone()
    found[known] = fit + weight * _standardised(at)
    return found


def _standardised(values: Tensor) -> Tensor:
    return (values - values.mean()) / values.std(unbiased=False).clamp(min=1e-12)
