"""The learning rate as a function of the step."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risctl.recipe.schema import OptimSection
from risctl.training.lr_schedule import LRSchedule


def make(total: int, *, steps_per_epoch: int = 10, **optim: Any) -> LRSchedule:
    section = OptimSection.model_validate({"lr": 1.0, **optim}, strict=False)
    return LRSchedule.of(section, steps_per_epoch=steps_per_epoch, total=total)


def test_milestones_are_first_epochs_at_the_new_rate() -> None:
    # VLT's published course: epochs 1-39, 40-44, 45-49, 50.
    schedule = make(500, schedule={"name": "steps", "milestones": (40, 45, 50), "factor": 0.1})
    by_epoch = {epoch: schedule((epoch - 1) * 10) for epoch in (1, 39, 40, 44, 45, 49, 50)}
    assert by_epoch == pytest.approx({1: 1, 39: 1, 40: 0.1, 44: 0.1, 45: 0.01, 49: 0.01, 50: 0.001})
    assert schedule(389) == 1 and schedule(390) == pytest.approx(0.1)


def test_milestones_can_be_steps() -> None:
    schedule = make(500, schedule={"name": "steps", "milestone_steps": (110, 140), "factor": 0.1})
    assert [schedule(step) for step in (0, 109, 110, 139, 140)] == pytest.approx([1, 1, 0.1, 0.1, 0.01])


def test_cosine_and_poly_go_from_one_to_final() -> None:
    cosine = make(100, schedule={"name": "cosine", "final": 0.1})
    assert [cosine(0), cosine(50), cosine(100)] == pytest.approx([1, 0.55, 0.1])
    poly = make(100, schedule={"name": "poly", "power": 0.9, "final": 0.0})
    assert [poly(0), poly(50), poly(100)] == pytest.approx([1, 0.5**0.9, 0])


def test_warm_up_is_a_line_into_the_course() -> None:
    schedule = make(100, warmup_steps=10, warmup_ratio=0.1)
    assert [schedule(0), schedule(5), schedule(9), schedule(10), schedule(99)] == pytest.approx([0.1, 0.55, 0.91, 1, 1])


@given(
    name=st.sampled_from(["constant", "cosine", "poly", "steps"]),
    total=st.integers(1, 1000),
    warmup=st.integers(0, 50),
    step=st.integers(0, 1200),
)
def test_factor_is_always_a_share(name: str, total: int, warmup: int, step: int) -> None:
    schedule = LRSchedule(name=name, total=total, milestones=(7, 90), warmup_steps=warmup, warmup_ratio=0.01)
    factor = schedule(step)
    assert math.isfinite(factor) and 0 <= factor <= 1
    if step > warmup and step + 1 < total:
        assert schedule(step + 1) <= factor
