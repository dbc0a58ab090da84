"""Mini's no-target score: with the evidence of detections, or learned and calibrated."""

from __future__ import annotations

import torch

from risctl.core.fusion.box_selector import BoxScores
from risctl.core.heads.detector import DetectionBatch
from risctl.systems.mini.presence import Presence


def inputs(*, detected: float, count: int = 1) -> tuple[BoxScores, DetectionBatch]:
    scores = torch.zeros(1, count, 3)
    scores[..., 1] = detected
    noun = torch.tensor([[0.0, 20.0, 0.0]])
    choice = BoxScores(scores=torch.zeros(1, count), presence=torch.tensor([1.0]), noun=noun)
    mask = torch.ones(1, count, dtype=torch.bool)
    return choice, DetectionBatch(corners=torch.zeros(1, count, 4), scores=scores, mask=mask)


def test_evidence_of_the_named_class_lowers_the_score_of_what_was_hardly_detected() -> None:
    sure, unsure = Presence()(*inputs(detected=0.2)), Presence()(*inputs(detected=0.1))
    assert torch.allclose(sure, torch.tensor([1.0]).sigmoid())
    assert torch.allclose(unsure, sure / 2)


def test_logistic_score_is_a_weighted_sum_of_logit_and_evidence() -> None:
    alone = Presence(kind="logistic", scale=2.0, shift=-1.0)(*inputs(detected=0.01))
    assert torch.allclose(alone, torch.tensor([1.0]).sigmoid())
    with_evidence = Presence(kind="logistic", evidence=0.5)(*inputs(detected=0.1))
    assert torch.allclose(with_evidence, (1 + 0.5 * torch.tensor([0.101]).log()).sigmoid(), atol=1e-4)


def test_nothing_detected_scores_zero() -> None:
    for score in (Presence(), Presence(kind="logistic", evidence=1.0)):
        assert score(*inputs(detected=0.0, count=0)).tolist() == [0.0]
