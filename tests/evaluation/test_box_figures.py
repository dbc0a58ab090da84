"""P@0.5 of the boxes that a system predicts beside its masks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.colour_finder import ColourFinder, made_store
from helpers.small_models import REFERFORMER, recipe_of
from helpers.tiny import tiny_store

from risctl.data.store.reader import Store
from risctl.evaluation.image_evaluator import evaluate
from risctl.evaluation.saved_rows import read_run
from risctl.language.vocabulary import Vocabulary
from risctl.output_files import OutputFiles
from risctl.results import Prediction
from risctl.systems.registry import build_system


class BoxFinder(ColourFinder):
    """Gives the box that every object of the store has, but for what is red one on the far side of the image."""

    def predict(self, *given: Any, **named: Any) -> list[Prediction]:
        return [
            replace(one, predicted_box=(1000.0 if "red" in one.text else 0.0, 0.0, 8.0, 8.0))
            for one in super().predict(*given, **named)
        ]


def test_right_boxes_of_expressions_with_one_object_are_counted(tmp_path: Path) -> None:
    path = made_store(tmp_path)
    with Store(path) as store:
        report = evaluate(BoxFinder(), store, split="val", protocols=["original", "lavt"])
        assert "box P@0.5" not in evaluate(ColourFinder(), store, split="val").figures
        rows = report.results["original"].rows
        report.write_rows(tmp_path / "rows.jsonl", outputs=OutputFiles(inputs=[]))
    known = np.isfinite(rows.box_overlap)
    red = np.array(["red" in text for text in rows.text])
    assert known.any() and not known[~rows.targeted].any()
    assert report.figures["box P@0.5"] == pytest.approx(100 * (known & ~red).sum() / known.sum())
    assert 0 < report.figures["box P@0.5"] < 100
    assert "box P@0.5" in report.results["original"].intervals
    saved = read_run(tmp_path / "rows.jsonl").rows["original"]
    np.testing.assert_allclose(saved.box_overlap, rows.box_overlap)


def test_referformer_predicts_boxes_in_pixels_of_the_image(tmp_path: Path) -> None:
    torch.manual_seed(0)
    system = build_system(recipe_of(REFERFORMER).model, vocabulary=Vocabulary(["red", "box"]))
    seen: list[tuple[float, ...]] = []
    predict = system.predict

    def noted(output: Any, **named: Any) -> list[Prediction]:
        found = predict(output, **named)
        for prediction, corners in zip(found, output.boxes.tolist(), strict=True):
            height, width = prediction.probability.shape
            left, top, right, bottom = corners
            wanted = (left * width, top * height, (right - left) * width, (bottom - top) * height)
            assert prediction.predicted_box == pytest.approx(wanted, rel=1e-5)
            seen.append(wanted)
        return found

    system.predict = noted  # type: ignore[method-assign]
    with Store(tiny_store(tmp_path, images=3, validation=2)) as store:
        report = evaluate(system, store, split="val", resamples=0)
    assert len(seen) == report.sentences
    assert 0 <= report.figures["box P@0.5"] <= 100
