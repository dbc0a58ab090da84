"""Training on clips and measuring on videos, through the same doors as images."""

from __future__ import annotations

import itertools
import json
import zipfile
from pathlib import Path

import pytest
from helpers.video_files import write_davis, write_youtube
from helpers.video_system import perfect, recipe_of
from PIL import Image
from typer.testing import CliRunner

from risctl.checkpoints.checkpoint import save_checkpoint
from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.cli.app import app
from risctl.data.datasets.ref_video.reader import read_ref_davis17, read_ref_youtube_vos
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.errors import DataError, UsageError
from risctl.evaluation.image_evaluator import evaluate
from risctl.evaluation.submission import write_submission
from risctl.evaluation.video_evaluator import evaluate_videos
from risctl.inference.video_predictor import VideoPredictor
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.load import parse_recipe
from risctl.systems.protocols import takes_clips
from risctl.systems.registry import build_system
from risctl.training.run import train


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_store(read_ref_youtube_vos(write_youtube(folder / "set")), folder / "set.h5")
    return folder / "set.h5"


def test_clips_are_trained_on_and_measured(store: Path, tmp_path: Path) -> None:
    result = train(recipe_of(store), out=tmp_path / "run", device="cpu")
    assert result.steps == 4
    assert result.best is not None and result.best.figure == "J&F"
    assert set(result.figures) == {"J", "F", "J&F"}
    rows = tmp_path / "rows.jsonl"
    page = tmp_path / "report.html"
    command = f"eval --model {tmp_path / 'run'} --data {store} --split test --json --rows {rows} --clip-len 5"
    command += f" --report {page} --pictures 1"
    done = CliRunner().invoke(app, [*command.split(), "--device", "cpu"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["expressions"] == 4 and report["frames"] == 5
    assert (report["clip_length"], report["query"]) == (5, "video")
    assert report["figures"]["J&F"] == pytest.approx(result.figures["J&F"], abs=1e-3)
    assert len(rows.read_text().splitlines()) == 4
    assert report["reports"] == [str(page)]
    assert page.read_text(encoding="utf-8").count("data:image/jpeg") == 2


def test_clips_need_a_system_that_takes_them(store: Path, tmp_path: Path) -> None:
    vlt = {"system": "vlt", "input_size": 64, "visual": {"name": "small_cnn"}}
    values = recipe_of(store).model_dump(mode="json") | {"model": vlt}
    with pytest.raises(UsageError, match=r"data\.frames"):
        train(parse_recipe(values, source="test"), out=tmp_path / "run", device="cpu")


def test_a_perfect_answer_measures_as_one(store: Path) -> None:
    recipe = recipe_of(store)
    system = build_system(recipe.model, vocabulary=Vocabulary(["red", "left"]))
    with Store(store) as opened:
        perfect(system, opened)
        # Masks at the frames' own size, in place of a quarter of it.
        system.predict = lambda output, **given: super(type(system), system).predict(output, **given)
        report = evaluate_videos(system, opened, split="test", clip_length=5)
        by_text = {row.text: row.j for row in report.rows}
        assert by_text["a red box"] > 0.9 and by_text["a green box"] > 0.9
        assert by_text["the box on the right"] > 0.9
        # "the box on the left" is no red to it, so it answers with the green one.
        assert by_text["the box on the left"] < 0.1
        with pytest.raises(UsageError, match="videos"):
            evaluate(system, opened, split="test")


def test_elsewhere_the_query_is_chosen_over_the_whole_video(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = build_system(recipe_of(store).model, vocabulary=Vocabulary(["red"]))
    chosen: list[int] = []
    whole = VideoPredictor._choose_queries
    monkeypatch.setattr(VideoPredictor, "_choose_queries", lambda *given: chosen.append(1) or whole(*given))
    with Store(store) as opened:
        assert evaluate_videos(system, opened, split="test", clip_length=8).query == "video"
        assert not chosen  # one clip is the video: a first pass would tell nothing
        report = evaluate_videos(system, opened, split="test", clip_length=2)
    assert chosen == [1]
    assert "in clips of 2 frames, the query chosen for each video" in report.to_text()


def test_ref_davis17_has_its_own_figures(shared: Path, tmp_path: Path) -> None:
    """On real frames with random weights: that all is measured, not how well."""
    root = write_davis(tmp_path / "davis", shared / "data" / "davis_mini", names=("dog",))
    write_store(read_ref_davis17(root), tmp_path / "davis.h5")
    recipe = recipe_of(tmp_path / "davis.h5")
    system = build_system(recipe.model, vocabulary=Vocabulary(["dog"]))
    with Store(tmp_path / "davis.h5") as store:
        report = evaluate_videos(system, store, split="val")
        limited = evaluate_videos(system, store, split="val", limit=2)
    for task in ("semi-supervised", "unsupervised"):
        assert 0 <= report.figures[f"J&F-Mean ({task})"] <= 100
    assert len(report.rows) == 4
    assert set(limited.figures) == {"J", "F", "J&F"}
    assert (report.clip_length, report.query) == (36, "clip")


def test_a_run_on_clips_makes_a_checkpoint_that_predicts(store: Path, tmp_path: Path) -> None:
    result = train(recipe_of(store, train={"epochs": 1, "max_steps": 1}), out=tmp_path / "run", device="cpu")
    loaded = load_checkpoint(result.checkpoint)
    assert takes_clips(loaded.system)


def test_a_submission_holds_a_mask_of_every_expression_in_every_frame(store: Path, tmp_path: Path) -> None:
    recipe = recipe_of(store)
    system = build_system(recipe.model, vocabulary=Vocabulary(["red"]))
    save_checkpoint(tmp_path / "m.safetensors", system=system, recipe=recipe, vocabulary=Vocabulary(["red"]))
    zipped = tmp_path / "submission.zip"
    done = CliRunner().invoke(
        app,
        f"eval --model {tmp_path / 'm.safetensors'} --data {store} --split train --submission {zipped} --json".split(),
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["masks"] == 2 * 4 * 5
    with zipfile.ZipFile(zipped) as file:
        names = set(file.namelist())
        with file.open("Annotations/aa/0/00005.png") as one, Image.open(one) as image:
            assert image.size == (64, 48)
    assert names == {
        f"Annotations/{video}/{number}/{5 * frame:05d}.png"
        for video in ("aa", "bb")
        for number in range(4)
        for frame in range(5)
    }


def test_a_submission_that_would_lack_masks_is_not_written(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = build_system(recipe_of(store).model, vocabulary=Vocabulary(["red"]))
    whole = VideoPredictor.predict
    monkeypatch.setattr(VideoPredictor, "predict", lambda *given: itertools.islice(whole(*given), 3))
    with Store(store) as opened, pytest.raises(DataError, match="not complete: 8 of 20"):
        write_submission(system, opened, tmp_path / "s.zip", split="test")
    assert not list(tmp_path.iterdir())
