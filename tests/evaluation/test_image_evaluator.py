"""Evaluation of a system whose answers are known, on a small store."""

from __future__ import annotations

import json
import multiprocessing
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.colour_finder import ColourFinder, Plain, made_store
from torch import Tensor, distributed

from risctl.core.encoders.base import TextFeatures, VisualFeatures
from risctl.data.store.reader import Store
from risctl.errors import DataError, UnreadableImageError, UsageError
from risctl.evaluation.image_evaluator import evaluate
from risctl.evaluation.report import Report
from risctl.inference.process_pool import can_fork
from risctl.inference.store_predictor import PredictorOnStore
from risctl.results import Prediction
from risctl.systems.base import Output


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_store(tmp_path_factory.mktemp("store"))


RED = [8 / (8 + k) for k in range(5)]
"""IoU of the red stripe in the images of val."""


def test_known_figures_under_the_default_protocol(path: Path) -> None:
    with Store(path) as store:
        report = evaluate(ColourFinder(), store, split="val")
    assert (report.images, report.refs, report.sentences) == (5, 12, 22)
    found = report.figures
    assert found["mIoU"] == pytest.approx(100 * (2 * sum(RED) + 10) / 20)
    shared, united = 2 * 5 * (8 + 4), 2 * (sum(8 + k for k in range(5)) + 20)
    assert found["oIoU"] == pytest.approx(100 * shared / united)
    assert found["Pr@0.7"] == pytest.approx(100 * (10 + 2 * sum(iou >= 0.7 for iou in RED)) / 20)
    # Of the two refs without a target, one is seen as such.
    assert (found["N-acc"], found["T-acc"]) == (50, 100)
    assert found["gIoU"] == pytest.approx(100 * (2 * sum(RED) + 10 + 1) / 22)
    assert found["cIoU"] == pytest.approx(100 * shared / (united + 2))
    result = report.results["original"]
    assert result.intervals["mIoU"].low < found["mIoU"] < result.intervals["mIoU"].high
    assert {name: part.samples for name, part in result.abilities.items()} == {"absent": 2, "colour": 20}
    assert result.abilities["colour"].figures["mIoU"] == pytest.approx(found["mIoU"])
    assert result.abilities["absent"].figures["gIoU"] == 50


@pytest.mark.skipif(not can_fork(), reason="processes are forked on Linux alone")
def test_several_processes_give_what_one_gives(path: Path) -> None:
    asked: list[tuple[int, int]] = []
    with Store(path) as store:
        alone = evaluate(ColourFinder(), store, split="val")
        shared = evaluate(ColourFinder(), store, split="val", processes=2, progress=lambda *given: asked.append(given))
        unread: list[Exception] = []
        with pytest.raises(DataError, match="no image"):
            evaluate(ColourFinder(), Unreadable(store), split="val", processes=2, unreadable=unread.append)  # type: ignore[arg-type]
    assert shared.figures == alone.figures and shared.notes == alone.notes
    assert shared.results["original"].intervals == alone.results["original"].intervals
    assert asked == [(done, 5) for done in range(1, 6)]
    assert len(unread) == 5


class Unreadable:
    """A store none of whose images can be read."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def pixels(self, row: int) -> np.ndarray:
        raise UnreadableImageError(f"image {row} is damaged", image=str(row))


def test_a_system_may_say_none_apart_from_its_mask(path: Path) -> None:
    class Decides(ColourFinder):
        """Says of blue that it is not there, whatever it finds, and of green never."""

        def predict(self, output: Output, **given: Any) -> list[Prediction]:
            made = super().predict(output, **given)
            return [
                replace(one, said_none=one.text.startswith("blue"), matched=not one.text.startswith("blue"))
                for one in made
            ]

    with Store(path) as store:
        plain, decided = (
            evaluate(system(), store, split="val", protocols="rela") for system in (ColourFinder, Decides)
        )
    assert (plain.figures["N-acc"], decided.figures["N-acc"]) == (50, 100)
    assert decided.figures["T-acc"] == 100
    assert decided.figures["gIoU"] > plain.figures["gIoU"]


@pytest.mark.parametrize("text_batch", [1, 2, 16])
def test_an_image_is_encoded_once_however_many_texts(path: Path, text_batch: int) -> None:
    system = ColourFinder().train()
    with Store(path) as store:
        report = evaluate(system, store, split="val", text_batch=text_batch)
    assert system.images == 5
    assert system.largest_batch == min(text_batch, 5)
    assert system.training  # Left as it came, though dropout was off meanwhile.
    assert report.figures["mIoU"] == pytest.approx(100 * (2 * sum(RED) + 10) / 20)


def test_several_protocols_in_one_pass(path: Path) -> None:
    system = ColourFinder()
    with Store(path) as store:
        report = evaluate(system, store, split="val", protocols=["mmdet", "lavt", "a2d", "davis"])
    assert system.images == 5
    assert list(report.results) == ["mmdet", "lavt", "a2d", "davis"]
    assert report.sentences == 22
    assert report.results["mmdet"].to_dict()["samples"] == 12
    # The one that is right about nothing being there counts 0 by LAVT, 1 by A2D.
    assert report.results["lavt"].figures["mIoU"] == pytest.approx(100 * (2 * sum(RED) + 10) / 22, abs=0.5)
    assert report.results["a2d"].figures["mIoU"] == pytest.approx(100 * (2 * sum(RED) + 11) / 22, abs=1e-4)
    assert 0 < report.results["davis"].figures["J&F"] < 100
    assert report.figures == report.results["mmdet"].figures


def test_first_sentences_alone_are_asked_where_that_is_all_that_counts(path: Path) -> None:
    system = ColourFinder()
    with Store(path) as store:
        report = evaluate(system, store, split="val", protocols="mmdet")
    assert system.largest_batch == 3
    assert (report.sentences, report.total_sentences) == (12, 22)
    assert not any(line.startswith("limited") for line in report.warnings)


def test_limits_and_workers_and_progress(path: Path) -> None:
    seen: list[tuple[int, int]] = []
    state = torch.get_rng_state()
    with Store(path) as store:
        report = evaluate(
            ColourFinder(),
            store,
            split="val",
            limit=5,
            workers=1,
            progress=lambda done, total: seen.append((done, total)),
        )
    assert (report.sentences, report.images) == (5, 2)
    assert seen == [(1, 2), (2, 2)]
    assert "limited: 5 of the 22 sentences of the split" in report.warnings
    assert torch.equal(torch.get_rng_state(), state)  # A training run goes on as if nothing had happened.


def test_thresholds_are_applied_and_stated(path: Path) -> None:
    with Store(path) as store:
        report = evaluate(ColourFinder(), store, split="val", threshold=0.99999)
    # The sigmoid of 10 is 0.99995: nothing is found.
    assert report.figures["mIoU"] == 0
    assert "0.99999 as given" in report.to_text()


def test_unknown_names_and_empty_splits(path: Path) -> None:
    with Store(path) as store:
        with pytest.raises(UsageError, match="did you mean 'val'"):
            evaluate(ColourFinder(), store, split="vall")
        with pytest.raises(UsageError, match="unknown protocol"):
            evaluate(ColourFinder(), store, split="val", protocols="nobody")
        with pytest.raises(UsageError, match="at least one protocol"):
            evaluate(ColourFinder(), store, split="val", protocols=[])


def test_a_damaged_image_stops_it_by_name(path: Path, tmp_path: Path) -> None:
    data = bytearray(path.read_bytes())
    start = data.index(b"\x89PNG") + 40
    data[start : start + 8] = b"\0" * 8
    broken = tmp_path / "broken.h5"
    broken.write_bytes(data)
    for workers in (0, 1):
        with Store(broken) as store, pytest.raises(DataError, match="image row"):
            evaluate(ColourFinder(), store, split="all", workers=workers)


class Unreliable(ColourFinder):
    def decode(self, visual: VisualFeatures, text: TextFeatures) -> Output:
        output = super().decode(visual, text)
        output.logits[text.sentence == 0] = float("nan")
        return output


class Wordless(Plain):
    def text(self, text: str) -> tuple[Tensor, Tensor]:
        return super().text("" if text == "red" else text)


def test_what_cannot_be_asked_or_answered_counts_as_nothing_and_is_said(path: Path) -> None:
    with Store(path) as store:
        report = evaluate(Unreliable(), store, split="val")
        assert report.figures["mIoU"] == 50
        assert "predictions that are not finite: 10, counted as an empty mask" in report.warnings
        system = ColourFinder()
        system.preprocess = Wordless()
        report = evaluate(system, store, split="val", text_batch=2)
    assert report.figures["mIoU"] == pytest.approx(100 * (sum(RED) + 10) / 20)
    assert "sentences without a word: 5, counted as an empty mask" in report.warnings


class Cutting:
    """Answers with the whole picture, and finds every text that says "red" too long."""

    threshold, no_target_threshold, path, forks = 0.5, 0.0, "cutting", False

    def set_image(self, pixels: np.ndarray) -> None:
        self._pixels = pixels

    def reset_image(self) -> None:
        pass

    def warnings(self, text: str) -> list[str]:
        return ["its end is cut"] if "red" in text else []

    def iter_predictions(self, texts: list[str]) -> Iterator[Prediction]:
        for text in texts:
            whole = np.ones(self._pixels.shape[:2], dtype=np.float32)
            yield Prediction(text=text, probability=whole, threshold=0.5, score=1.0, box=None)


def test_what_is_cut_is_answered_and_said(path: Path) -> None:
    with Store(path) as store:
        report = evaluate(PredictorOnStore(Cutting()), store, split="val")  # type: ignore[arg-type]
    assert report.results["original"].rows.predicted.min() > 0
    [cut] = [line for line in report.warnings if "longer" in line]
    assert re.fullmatch(r"sentences longer than the model reads, whose ends were cut: \d+", cut)


def _share(rank: int, path: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=2)
    system = ColourFinder()
    with Store(path) as store:
        report = evaluate(system, store, split="val", protocols=["original", "lavt"])
    told = {**report.to_dict(), "encoded": system.images}
    (folder / f"{rank}.json").write_text(json.dumps(told), encoding="utf-8")
    report.write_rows(folder / f"{rank}.jsonl")
    distributed.destroy_process_group()


def test_two_processes_count_each_sample_once(path: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_share, args=(rank, path, tmp_path)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    assert [process.exitcode for process in processes] == [0, 0]
    told = [json.loads((tmp_path / f"{rank}.json").read_text(encoding="utf-8")) for rank in range(2)]
    assert [one["encoded"] for one in told] == [3, 2]
    with Store(path) as store:
        alone = evaluate(ColourFinder(), store, split="val", protocols=["original", "lavt"])
    alone.write_rows(tmp_path / "alone.jsonl")
    for rank, one in enumerate(told):
        assert (one["sentences"], one["processes"]) == (22, 2)
        assert one["protocols"] == alone.to_dict()["protocols"]
        assert (tmp_path / f"{rank}.jsonl").read_bytes() == (tmp_path / "alone.jsonl").read_bytes()


def report_on(path: Path, **options: object) -> Report:
    with Store(path) as store:
        return evaluate(ColourFinder(), store, **{"split": "val", **options})


def test_a_report_states_what_its_figures_rest_on(path: Path) -> None:
    report = report_on(path, checkpoint="ab" * 32)
    told = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert told["dataset"]["fingerprint"] == report.fingerprint
    assert (told["images"], told["refs"], told["sentences"]) == (5, 12, 22)
    stated = told["protocols"]["original"]
    assert (stated["resolution"], stated["threshold"], stated["empty"]) == ("original size", 0.5, 0)
    assert (stated["precision_comparison"], stated["sentences"], stated["samples"]) == (">=", "all", 22)
    assert told["figures"]["mIoU"] == report.figures["mIoU"]
    low, high = told["intervals"]["mIoU"]
    assert low < told["figures"]["mIoU"] < high
    text = report.to_text()
    for expected in ("toy (unc), split val: 5 images, 12 refs, 22 sentences", "abababababab", "original (", "colour"):
        assert expected in text
    assert f"{report.figures['oIoU']:.2f}" in text
    assert report.fingerprint[:12] in text


def test_warnings_of_contamination_and_of_small_samples(path: Path, tmp_path: Path) -> None:
    assert [line.partition(":")[0] for line in report_on(path).warnings] == ["small sample"]
    known = made_store(tmp_path, images=3, name="refcoco")
    assert [line.partition(":")[0] for line in report_on(known).warnings] == ["contamination", "small sample"]
    assert [line.partition(":")[0] for line in report_on(known, split="train").warnings] == ["small sample"]


def test_rows_are_one_line_a_sample_and_protocol(path: Path, tmp_path: Path) -> None:
    report = report_on(path, protocols=["original", "mmdet"])
    file = tmp_path / "deep" / "rows.jsonl"
    report.write_rows(file)
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [row["protocol"] for row in rows] == ["original"] * 22 + ["mmdet"] * 12
    first = rows[0]
    assert (first["image_id"], first["ref_id"], first["sentence_id"], first["text"]) == (0, 0, 0, "red stripe")
    assert (first["iou"], first["intersection"], first["union"]) == (1, 256, 256)
    assert (first["abilities"], first["targeted"], first["predicted_none"]) == (["colour"], True, False)
    assert first["score"] == pytest.approx(1, abs=1e-3)
    targeted = [row["iou"] for row in rows[:22] if row["targeted"]]
    assert 100 * np.mean(targeted) == pytest.approx(report.figures["mIoU"])
    assert list(file.parent.iterdir()) == [file]
