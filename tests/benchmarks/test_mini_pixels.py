"""What the benchmark on real expressions with pixels computes from answers."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

_SPEC = importlib.util.spec_from_file_location(
    "mini_pixels", Path(__file__).resolve().parents[2] / "benchmarks" / "mini_pixels.py"
)
assert _SPEC is not None and _SPEC.loader is not None
bench = importlib.util.module_from_spec(_SPEC)
sys.modules["mini_pixels"] = bench
_SPEC.loader.exec_module(bench)

PERSON, DOG = 0, 16


def test_overlap_of_a_box_in_shares_with_one_in_pixels() -> None:
    row = {"box": [10, 20, 40, 20], "width": 100, "height": 50}
    assert bench.overlap(np.array([0.1, 0.4, 0.5, 0.8]), row) == pytest.approx(1)
    assert bench.overlap(np.array([0.1, 0.4, 0.3, 0.8]), row) == pytest.approx(0.5)
    assert bench.overlap(np.array([0.6, 0.4, 0.9, 0.8]), row) == 0


def test_absent_expressions_name_nothing_that_the_image_shows() -> None:
    real = [(1, "left man"), (1, "the dog"), (2, "a dog on the right"), (2, "the one in front")]
    asked = bench.absent_expressions(real, {1: frozenset({PERSON, DOG}), 2: frozenset({DOG})})
    assert (2, "left man") in asked and (1, "a dog on the right") not in asked
    assert not any(image == 2 and "dog" in text.split() and "hot" not in text.split() for image, text in asked)
    assert not any(image == 1 and {"person", "man"} & set(text.split()) for image, text in asked)
    assert sum(image == 1 for image, _ in asked) == 3
    assert bench.absent_expressions(real, {1: frozenset({PERSON, DOG}), 2: frozenset({DOG})}) == asked


def test_logistic_regression_finds_the_odds_that_the_data_have() -> None:
    generator = np.random.default_rng(0)
    inputs = np.stack([generator.normal(size=20_000), np.ones(20_000)], 1)
    there = generator.random(20_000) < 1 / (1 + np.exp(-(1.5 * inputs[:, 0] - 0.5)))
    assert bench.fit_logistic(inputs, there) == pytest.approx([1.5, -0.5], abs=0.1)


def test_calibration_error_is_the_distance_of_scores_from_shares() -> None:
    score, there = np.array([0.25, 0.25, 0.95, 0.95]), np.array([False, True, True, True])
    assert bench.calibration_error(score, there) == pytest.approx(0.5 * 0.25 + 0.5 * 0.05)
    assert bench.reliability(score, there) == [
        {"expressions": 2, "score": 0.25, "real": 0.5},
        {"expressions": 2, "score": 0.95, "real": 1.0},
    ]


def test_refusals_at_the_threshold_that_spares_the_real_ones() -> None:
    generator = np.random.default_rng(1)
    images = np.arange(400)
    logit = np.concatenate([generator.normal(3, 0.5, 200), generator.normal(-3, 0.5, 200)])
    answers = {"logit": logit, "evidence": np.full(400, 0.5), "score": 1 / (1 + np.exp(-logit))}
    report = bench.no_match(answers, count=200, images=images)
    assert report["absent"] == 200
    for kind in ("as it is", "logistic, cross-validated"):
        assert report[kind]["absent refused"] == 100 and report[kind]["real refused"] <= 5
        assert report[kind]["calibration error"] < 0.1
    assert report["logistic, weights"]["no_target_scale"] > 0
