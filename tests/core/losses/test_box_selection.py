"""Losses of the selection among boxes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from risctl.core.fusion.box_selector import BoxScores
from risctl.core.losses.box_selection import box_selection_losses, target_probability
from risctl.data.box_grounding.boxes import Boxes, BoxTargets

INF = float("-inf")


def asked(meant: list[list[float]], kinds: list[list[int]], there: list[list[bool]] | None = None) -> BoxTargets:
    wanted = torch.tensor(meant, dtype=torch.float32)
    mask = torch.ones_like(wanted, dtype=torch.bool) if there is None else torch.tensor(there)
    boxes = Boxes(
        corners=torch.zeros(*wanted.shape, 4),
        classes=torch.zeros(*wanted.shape, 3),
        mask=mask,
        aspect=torch.ones(len(wanted)),
    )
    return BoxTargets(boxes=boxes, is_target=wanted, category_ids=torch.tensor(kinds, dtype=torch.int64))


def choice(scores: list[list[float]], *, presence: float = 0.0) -> BoxScores:
    made = torch.tensor(scores, requires_grad=True)
    count = len(scores)
    return BoxScores(
        scores=made,
        presence=torch.full((count,), presence, requires_grad=True),
        noun=torch.zeros(count, 3, requires_grad=True),
    )


def test_terms_equal_their_formulas() -> None:
    terms = box_selection_losses(
        choice([[2.0, 0.0, INF]]), asked([[1, 0, 0]], [[2, 0, -1]], [[True, True, False]]), smoothing=0.1
    )
    logs = torch.tensor([2.0, 0.0]).log_softmax(0)
    assert terms["choice"].item() == pytest.approx(-(0.95 * logs[0] + 0.05 * logs[1]).item(), abs=1e-6)
    each = -(torch.tensor(2.0).sigmoid().log() + 0.5 * torch.tensor(1.0).log() + torch.tensor(0.5).log()) / 2
    assert terms["each"].item() == pytest.approx(0.3 * each.item(), abs=1e-6)
    assert terms["presence"].item() == pytest.approx(0.1 * 0.693147, abs=1e-5)
    assert terms["noun"].item() == pytest.approx(0.3 * torch.tensor(3.0).log().item(), abs=1e-5)


def test_several_targets_share_the_weight() -> None:
    question = asked([[1, 1, 0]], [[0, 0, 1]])
    even, uneven, wrong = (
        box_selection_losses(choice([scores]), question)["choice"].item()
        for scores in ([3.0, 3.0, 0.0], [6.0, 0.0, 0.0], [0.0, 0.0, 6.0])
    )
    assert even < uneven < wrong


def test_a_no_target_expression_trains_presence_and_each_only() -> None:
    terms = box_selection_losses(choice([[1.0, 2.0]], presence=3.0), asked([[0, 0]], [[0, 1]]))
    assert terms["choice"].item() == 0 and terms["noun"].item() == 0
    assert (
        terms["presence"].item()
        > box_selection_losses(choice([[1.0, 2.0]]), asked([[0, 0]], [[0, 1]]))["presence"].item()
    )
    torch.stack(list(terms.values())).sum().backward()


def test_unknown_categories_train_no_noun() -> None:
    known, unknown = asked([[1, 0]], [[1, -1]]), asked([[1, 0]], [[-1, 1]])
    assert box_selection_losses(choice([[1.0, 0.0]]), known)["noun"].item() > 0
    assert box_selection_losses(choice([[1.0, 0.0]]), unknown)["noun"].item() == 0


def test_padding_boxes_change_nothing_and_gradients_are_finite() -> None:
    alone = choice([[1.0, 0.5], [0.0, 0.3]])
    padded = choice([[1.0, 0.5, INF], [0.0, 0.3, INF]])
    there = [[True, True, False]] * 2
    terms = box_selection_losses(alone, asked([[1, 0], [0, 0]], [[0, 1], [0, 1]]))
    others = box_selection_losses(padded, asked([[1, 0, 0], [0, 0, 0]], [[0, 1, -1], [0, 1, -1]], there))
    for name, term in terms.items():
        assert torch.allclose(term, others[name], atol=1e-6)
    torch.stack(list(others.values())).sum().backward()
    assert padded.scores.grad is not None and bool(padded.scores.grad.isfinite().all())


def test_a_batch_without_boxes_has_finite_losses() -> None:
    empty = choice([[], []])
    terms = box_selection_losses(empty, asked([[], []], [[], []]))
    assert all(bool(term.isfinite()) for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    assert empty.presence.grad is not None and bool(empty.presence.grad.isfinite().all())


def test_half_precision_is_raised_to_float32() -> None:
    made = choice([[1.0, 0.5]])
    half = replace(made, scores=made.scores.bfloat16(), presence=made.presence.bfloat16(), noun=made.noun.bfloat16())
    assert {loss.dtype for loss in box_selection_losses(half, asked([[1, 0]], [[0, 1]])).values()} == {torch.float32}


def test_target_probability_is_zero_without_boxes() -> None:
    there = torch.tensor([[True, False], [False, False]])
    assert target_probability(choice([[1.0, INF], [INF, INF]], presence=2.0), there).tolist() == pytest.approx(
        [0.8808, 0.0], abs=1e-4
    )
