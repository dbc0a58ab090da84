"""What Global-Local CLIP shows of its choice: the similarities that make up the highest scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.tiny_clip import tiny_clip
from torch import Tensor
from torch.nn.functional import cosine_similarity

from risctl.systems.global_local_clip.explain import ProposalScores, explain_scores
from risctl.systems.global_local_clip.model import EncodedProposals, GlobalLocalCLIP

SCORES = np.array([1.0, 3.0, -np.inf, 2.0])


@pytest.fixture(scope="module")
def image() -> EncodedProposals:
    masks = np.zeros((4, 40, 50), dtype=bool)
    for index in range(4):
        masks[index, 5 : 20 + 5 * index, 10 * index : 10 * index + 15] = True
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    with torch.no_grad():
        return EncodedProposals(GlobalLocalCLIP(tiny_clip()).eval(), pixels, masks)


@pytest.fixture(scope="module")
def texts(image: EncodedProposals) -> Tensor:
    width = image.context.shape[1]
    return torch.randn(2, 1, width, generator=torch.Generator().manual_seed(0))


def explained(image: EncodedProposals, texts: Tensor, *, max_count: int = 9) -> list[ProposalScores]:
    sentence, noun = texts
    return explain_scores(image, SCORES, sentence=sentence, noun=noun, visual_weight=0.75, max_count=max_count)


def test_the_best_proposals_come_first_without_those_that_were_left_out(image: EncodedProposals, texts: Tensor) -> None:
    assert [(one.proposal, one.score) for one in explained(image, texts)] == [(1, 3.0), (3, 2.0), (0, 1.0)]
    assert [one.proposal for one in explained(image, texts, max_count=2)] == [1, 3]


def test_similarities_are_the_cosines_of_the_features(image: EncodedProposals, texts: Tensor) -> None:
    sentence, noun = texts
    best = explained(image, texts)[0]
    with torch.no_grad():
        context, local = image.context[[1]], image.local_features([1])
    text, visual = 0.5 * sentence + 0.5 * noun, 0.75 * context + 0.25 * local
    for value, first, second in (
        (best.context, context, text),
        (best.local, local, text),
        (best.sentence, visual, sentence),
        (best.noun, visual, noun),
    ):
        assert value == pytest.approx(float(cosine_similarity(first, second)), abs=1e-5)
