"""Filters and matrix NMS, against their definitions."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from risctl.zeroshot.proposals.base import Proposals
from risctl.zeroshot.proposals.filters import PUBLISHED, ProposalFilter, filter_proposals, matrix_nms, pairwise_ious


def _boxes(*boxes: tuple[int, int, int, int], scores: tuple[float, ...]) -> Proposals:
    masks = np.zeros((len(boxes), 20, 20), dtype=bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = True
    return Proposals(masks=masks, scores=np.array(scores, dtype=np.float32))


def test_area_score_overlap_and_number() -> None:
    found = _boxes(
        (0, 0, 10, 10), (0, 0, 10, 9), (12, 12, 14, 14), (0, 0, 0, 0), (0, 0, 20, 20), scores=(0.5, 0.9, 0.8, 1, 0.7)
    )
    assert filter_proposals(found, ProposalFilter()).scores.tolist() == np.float32([0.9, 0.8, 0.7, 0.5]).tolist()
    assert len(filter_proposals(found, ProposalFilter(max_overlap=0.9))) == 3
    assert len(filter_proposals(found, ProposalFilter(min_area=0.1))) == 3
    assert len(filter_proposals(found, ProposalFilter(max_area=0.5))) == 3
    assert len(filter_proposals(found, ProposalFilter(min_score=0.75))) == 2
    assert len(filter_proposals(found, ProposalFilter(max_count=1))) == 1
    assert filter_proposals(found, ProposalFilter(max_count=1)).masks[0, :9, :10].all()


@given(st.integers(0, 2**31))
def test_matrix_nms_is_its_definition(seed: int) -> None:
    generator = np.random.default_rng(seed)
    masks = generator.random((6, 5, 5)) < generator.random((6, 1, 1))
    scores = -np.sort(-generator.random(6)).astype(np.float32)
    categories = generator.integers(0, 2, 6)
    found = matrix_nms(Proposals(masks=masks, scores=scores, categories=categories), sigma=2.0, min_decayed_score=0.0)

    def iou(one: int, other: int) -> float:
        either = (masks[one] | masks[other]).sum()
        return (
            float((masks[one] & masks[other]).sum() / either) if either and categories[one] == categories[other] else 0
        )

    expected = []
    for one in range(6):
        decay = 1.0
        for better in range(one):
            worst = max((iou(even, better) for even in range(better)), default=0.0)
            decay = min(decay, math.exp(-2 * iou(better, one) ** 2) / math.exp(-2 * worst**2))
        expected.append(scores[one] * decay)
    assert np.allclose(found.scores, sorted(expected, reverse=True), atol=1e-6)
    assert pairwise_ious(masks).shape == (6, 6)


def test_repetitions_fade_under_the_published_settings() -> None:
    found = filter_proposals(_boxes((0, 0, 9, 9), (0, 0, 9, 9), (12, 12, 19, 19), scores=(0.9, 0.3, 0.6)), PUBLISHED)
    assert found.scores.tolist() == np.float32([0.9, 0.6]).tolist()


def test_nothing_stays_nothing() -> None:
    none = Proposals(masks=np.zeros((0, 4, 4), dtype=bool), scores=np.zeros(0, dtype=np.float32))
    assert len(filter_proposals(none, PUBLISHED)) == 0
