"""The thresholds that are chosen on a store are the best there, and give by evaluation what was said."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.finetuned import finetuned, section_of, tokens_of, write_model
from helpers.small_models import recipe_of
from PIL import Image

from risctl.checkpoints.checkpoint import save_checkpoint
from risctl.core.encoders.base import TextFeatures, VisualFeatures
from risctl.data.records import Annotation, Dataset, Expression, ImageRecord, Record
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.errors import DataError
from risctl.evaluation.calibration import Chosen, calibrate
from risctl.evaluation.image_evaluator import evaluate
from risctl.inference.predictor import Predictor
from risctl.inference.store_predictor import PredictorOnStore
from risctl.models import calibrated
from risctl.models.predictor import PromptedPredictor
from risctl.systems.base import Output
from risctl.systems.protocols import InstanceScorer
from risctl.vision import rle
from risctl.zeroshot.text_prompted import Candidates

SIZE = 20
# Each phrase is what is found for it: the scores, in per cent, of the first columns of the picture; and how many of
# these columns it refers to.
PHRASES = {
    "find 90 70 20": 2,
    "find 85 65 15": 2,
    "find 80 40 10": 1,
    "find 60 30": 1,
    "find 55 45 45": 0,
    "find 50 45": 0,
    "find 20": 0,
}


class _Columns:
    """Finds columns, four pixels wide, with the scores that a phrase says."""

    name = "columns"
    min_score = 0.3

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        return pixels

    def find(self, encoded: np.ndarray, texts: Sequence[str]) -> list[Candidates]:
        def draw(positions: Sequence[int]) -> np.ndarray:
            masks = np.zeros((len(positions), SIZE, SIZE), dtype=np.float32)
            for row, position in enumerate(positions):
                masks[row, :, 4 * position : 4 * position + 4] = 1
            return masks

        scores = [np.array([int(one) / 100 for one in text.split()[1:]], dtype=np.float32) for text in texts]
        return [Candidates(scores=one, draw=draw) for one in scores]

    def is_truncated(self, text: str) -> bool:
        return False


def _store(path: Path, phrases: dict[str, int]) -> Path:
    file = io.BytesIO()
    Image.fromarray(np.zeros((SIZE, SIZE, 3), dtype=np.uint8)).save(file, format="PNG")
    dataset = Dataset(name="columns", split_by="fixed", categories={1: "x"}, images={}, annotations={}, records=[])
    for number, (text, columns) in enumerate(phrases.items()):
        dataset.images[number] = ImageRecord(
            image_id=number, file_name=f"{number}.png", height=SIZE, width=SIZE, data=file.getvalue()
        )
        mask = np.zeros((SIZE, SIZE), dtype=bool)
        mask[:, : 4 * columns] = True
        encoded = rle.encode(mask)
        if columns:
            dataset.annotations[number] = Annotation(
                annotation_id=number, image_id=number, category_id=1, box=rle.box(encoded), mask=encoded
            )
        expression = Expression(sentence_id=number, raw=text, sent=text, tokens=tuple(text.split()))
        annotations = (number,) if columns else ()
        dataset.records.append(
            Record(ref_id=number, image_id=number, split="val", annotation_ids=annotations, expressions=(expression,))
        )
    write_store(dataset, path)
    return path


def _chosen(predictor: PromptedPredictor, store: Path, monkeypatch: pytest.MonkeyPatch) -> Chosen:
    monkeypatch.setattr("risctl.evaluation.calibration.weights_of", lambda model: "weights")
    with Store(store) as opened:
        return calibrate(predictor, opened, model="columns", split="val", text_field="sent", resamples=50)


def test_the_best_thresholds_are_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, predictor = _store(tmp_path / "s.h5", PHRASES), PromptedPredictor(_Columns(), name="columns")
    chosen = _chosen(predictor, store, monkeypatch)
    found = chosen.calibration
    # 55 % is the highest score of a phrase without a target, 60 % the lowest of one with; 40 % and 65 % likewise of
    # instances.
    assert found.no_target_threshold == pytest.approx(0.575) and found.min_score is not None
    assert 0.4 < found.min_score <= 0.65
    assert (chosen.figures.giou, chosen.figures.t_acc, chosen.figures.n_acc) == pytest.approx((100, 100, 100))
    assert chosen.own == (0.3, 0.3) and chosen.before.giou < 70 and chosen.before.n_acc == pytest.approx(100 / 3)
    assert (predictor.no_target_threshold, predictor.min_score) == (0.3, 0.3)
    assert found.chosen_on["expressions"] == 7 and found.chosen_on["without_target"] == 3


@pytest.mark.parametrize("change", [{}, {"find 95 90": 0, "find 33": 1}])
def test_an_evaluation_gives_the_figures_that_were_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, int]
) -> None:
    store, predictor = _store(tmp_path / "s.h5", PHRASES | change), PromptedPredictor(_Columns(), name="columns")
    chosen = _chosen(predictor, store, monkeypatch)
    with Store(store) as opened:
        for figures, own in ((chosen.before, True), (chosen.figures, False)):
            if not own:
                calibrated.put_into(predictor, chosen.calibration)
            evaluation = evaluate(PredictorOnStore(predictor), opened, split="val", resamples=0)
            told = evaluation.to_dict()["figures"]
            assert [told[name] for name in ("gIoU", "T-acc", "N-acc")] == pytest.approx(
                [figures.giou, figures.t_acc, figures.n_acc]
            )
    assert chosen.figures.giou > chosen.before.giou
    assert chosen.interval is not None and chosen.interval[0] <= chosen.figures.giou <= chosen.interval[1]


def test_phrases_of_both_kinds_are_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for columns, lacking in ((0, "refers to anything"), (1, "refers to nothing")):
        store = _store(tmp_path / f"{columns}.h5", dict.fromkeys(PHRASES, columns))
        network = _Columns()
        monkeypatch.setattr(network, "encode", lambda pixels: pytest.fail("the model was asked"))
        with pytest.raises(DataError, match=f"no phrase .* {lacking}"):
            _chosen(PromptedPredictor(network, name="columns"), store, monkeypatch)


def test_a_fine_tuned_run_is_calibrated_by_both_thresholds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, run = write_model(tmp_path / "owlv2", "owlv2"), tmp_path / "run.safetensors"
    recipe = recipe_of(section_of(folder).model_dump(mode="json"))
    save_checkpoint(run, system=finetuned(folder), recipe=recipe, vocabulary=tokens_of(folder))
    predictor = Predictor.load(run, device="cpu")
    scorer = predictor.system
    assert isinstance(scorer, InstanceScorer) and scorer.min_score == 0.1 == scorer.no_target_threshold

    def decode(visual: VisualFeatures, text: TextFeatures) -> Output:
        """Find two columns of eight pixels; a phrase of fewer tokens is less sure of both."""
        assert isinstance(scorer, InstanceScorer)
        logits = torch.full((len(text.mask), 20, 20), -9.0)
        scores = text.mask.sum(1) / 20
        for row, score in enumerate(scores):
            logits[row, :, :4] = 9.0
            if score / 3 >= scorer.min_score:
                logits[row, :, 4:8] = 9.0
        return Output(logits=logits, scores=scores)

    monkeypatch.setattr(scorer, "decode", decode)
    # The more letters, the more tokens.
    phrases = {"x qqqqqqqqqqqqq": 1, "x qqqqqqqqqqqq": 1, "x qq": 0, "x q": 0}
    with Store(_store(tmp_path / "s.h5", phrases)) as opened:
        chosen = calibrate(predictor, opened, model=run, split="val", text_field="sent", resamples=0)
    found = chosen.calibration
    assert chosen.own == (0.1, 0.1) and chosen.before.n_acc == 0
    assert chosen.figures.giou == pytest.approx(100) and found.min_score is not None and found.min_score > 0.2
    assert (scorer.no_target_threshold, scorer.min_score) == (0.1, 0.1)
    calibrated.put_into(predictor, found, given=0.1)
    assert (scorer.no_target_threshold, scorer.min_score) == (0.1, found.min_score)


def test_a_file_is_read_as_it_was_written_and_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "c.json"
    calibration = calibrated.Calibration(
        model="columns", weights="w", no_target_threshold=0.4, min_score=None, chosen_on={"data": "s"}, figures={}
    )
    calibrated.write_calibration(path, calibration)
    assert calibrated.read_calibration(path) == calibration
    values = json.loads(path.read_text())
    for change in ({"no_target_threshold": 2}, {"min_score": "x"}, {"risctl_calibration": 9}, {"more": 1}):
        path.write_text(json.dumps(values | change))
        with pytest.raises(DataError, match=r"cannot be read as the calibration .*`risctl models calibrate`"):
            calibrated.read_calibration(path)
    path.write_text("[]")
    with pytest.raises(DataError):
        calibrated.read_calibration(path)
