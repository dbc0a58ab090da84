"""Computes what Global-Local CLIP can show of its choice: the similarities that make up a proposal's score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from risctl.core.fusion import global_local
from risctl.systems.global_local_clip.model import TEXT_WEIGHT, EncodedProposals


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalScores:
    """The score of one proposal for one expression, and the cosine similarities of its parts.

    Attributes:
        proposal: The proposal's index.
        score: Its score; higher is better.
        context: Of the global visual feature with the combined text feature.
        local: Of the local visual feature with the combined text feature.
        sentence: Of the combined visual feature with the feature of the whole expression.
        noun: Of the combined visual feature with the feature of the noun phrase.
    """

    proposal: int
    score: float
    context: float
    local: float
    sentence: float
    noun: float


@torch.no_grad()
def explain_scores(
    image: EncodedProposals, scores: np.ndarray, *, sentence: Tensor, noun: Tensor, visual_weight: float, max_count: int
) -> list[ProposalScores]:
    """Returns the parts of the highest scores.

    Args:
        image: The encoded proposals, N of them. Local features that the method did not need are computed now.
        scores: (N,); minus infinity where a shortlist left a proposal out.
        sentence: The feature of the expression, (1, E).
        noun: The feature of its noun phrase, (1, E).
        visual_weight: Weight of the global feature in the combined one.
        max_count: How many proposals are explained.

    Returns:
        The best proposals, best first, of those with a finite score.
    """
    order = np.argsort(-scores, kind="stable")[:max_count]
    best = [int(index) for index in order if np.isfinite(scores[index])]
    joined = global_local.combine(sentence, noun, TEXT_WEIGHT)
    local, context = image.local_features(best), image.context[best]
    both = global_local.combine(context, local, visual_weight)
    parts = [
        global_local.similarities(visual, text, torch.zeros(()), normalise=True)[0].tolist()
        for visual, text in ((context, joined), (local, joined), (both, sentence), (both, noun))
    ]
    return [
        ProposalScores(proposal=index, score=float(scores[index]), context=a, local=b, sentence=c, noun=d)
        for index, a, b, c, d in zip(best, *parts, strict=True)
    ]
