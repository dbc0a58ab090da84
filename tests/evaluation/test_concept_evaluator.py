"""cgF1 and PBench's F1 of what a detector finds for each phrase."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from helpers.colour_finder import COLOURS, ColourFinder, made_store

from risctl.core.encoders.base import VisualFeatures
from risctl.data.store.reader import Store
from risctl.errors import DataError, UsageError
from risctl.evaluation.concept_evaluator import evaluate_concepts
from risctl.evaluation.concept_report import concept_protocol_of
from risctl.results import Detection
from risctl.vision import rle
from risctl.vision.geometry import Geometry


class ColourDetector(ColourFinder):
    """Detects the pixels of a colour as one instance, by the colour's name alone."""

    def detect(
        self, features: VisualFeatures, groups: Sequence[Sequence[str]], *, geometry: Geometry, min_score: float
    ) -> list[Detection]:
        found = []
        for name in (name for names in groups for name in names):
            if name not in COLOURS:
                raise UsageError(f"unknown class {name}")
            mask = features.maps[0][0, COLOURS.index(name)].numpy() > 0.5
            if mask.any() and min_score < 0.6:
                encoded = rle.encode(mask)
                found.append(Detection(name=name, score=0.6, box=rle.box(encoded), segmentation=encoded))
        return found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_store(tmp_path_factory.mktemp("colours"))


def test_phrases_that_are_no_category_predict_nothing(store: Path) -> None:
    with Store(store) as opened:
        report = evaluate_concepts(ColourDetector(), opened, split="val", protocol="cgf1", resamples=20)
    # "red" and "green" of five images are found, "red stripe" and "green stripe" are not; one "blue" shows, without a
    # target. At IoU .75 the red stripes of the first three images are right.
    hits, small = 5 + 3, 1e-4
    precision, recall = hits / (10 + small), hits / (20 + small)
    assert report.figures["positive_micro_F1@0.75"] == pytest.approx(
        100 * 2 * precision * recall / (precision + recall + small)
    )
    assert report.figures["IL_recall"] == pytest.approx(50, abs=1e-3)
    assert report.figures["IL_FPR"] == pytest.approx(50, abs=1e-3)
    assert report.notes[0].startswith("10 phrases name no category") and len(report.rows) == 22


def test_a_limit_is_said_and_pbench_keeps_to_pairs_with_a_target(store: Path) -> None:
    with Store(store) as opened:
        report = evaluate_concepts(ColourDetector(), opened, split="val", protocol="pbench", limit=4)
    # Of the first image both colours are exact, their longer phrases are no categories.
    assert report.figures["f1"] == pytest.approx(50, abs=1e-3) and report.figures["n_samples"] == 4
    assert any(note == "limited: the first 4 pairs of the split" for note in report.notes)


def test_systems_without_names_and_stores_without_known_names_are_refused(store: Path, tmp_path: Path) -> None:
    with Store(store) as opened, pytest.raises(UsageError, match="answers phrases only"):
        evaluate_concepts(ColourFinder(), opened, split="val", protocol="cgf1")

    class Nothing(ColourDetector):
        def detect(self, *arguments: object, **options: object) -> list[Detection]:
            raise UsageError("unknown class")

    with Store(store) as opened, pytest.raises(DataError, match="none of the 22 phrases"):
        evaluate_concepts(Nothing(), opened, split="val", protocol="cgf1")


def test_protocols_of_instances_stand_alone(store: Path) -> None:
    with Store(store) as opened:
        assert concept_protocol_of(opened, None) is None and concept_protocol_of(opened, "lavt,cris") is None
        assert concept_protocol_of(opened, "cgf1") == "cgf1"
        with pytest.raises(UsageError, match="name it alone"):
            concept_protocol_of(opened, "lavt,pbench")
