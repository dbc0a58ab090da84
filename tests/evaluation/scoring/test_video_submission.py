"""Masks of videos that others wrote, as Ref-YouTube-VOS and MeViS take them: measured as a model's are."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.command_line import Run, risctl
from helpers.video_files import write_youtube
from helpers.video_system import recipe_of
from PIL import Image

import risctl as package
from risctl.data.datasets.ref_video.reader import read_ref_youtube_vos
from risctl.data.store.clips import ClipStore, expression_number
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.errors import DataError, UsageError
from risctl.evaluation.scoring.video_submission import VideoSubmission, score_submission
from risctl.evaluation.submission import write_submission
from risctl.evaluation.video_evaluator import evaluate_videos
from risctl.language.vocabulary import Vocabulary
from risctl.systems.registry import build_system

__all__ = ["risctl"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_store(read_ref_youtube_vos(write_youtube(folder / "set")), folder / "set.h5")
    return folder / "set.h5"


@pytest.fixture(scope="module")
def submitted(store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    """A zip that a model wrote, and the figures of the same model."""
    system = build_system(recipe_of(store).model, vocabulary=Vocabulary(["red", "left"]))
    path = tmp_path_factory.mktemp("submission") / "submission.zip"
    with Store(store) as opened:
        figures = evaluate_videos(system, opened, split="test").figures
        write_submission(system, opened, path, split="test")
    return path, figures


def score(path: Path, store: Path, **options: Any) -> Any:
    submission = VideoSubmission(path)
    try:
        with Store(store) as opened:
            return score_submission(submission, opened, split="test", **options)
    finally:
        submission.close()


@pytest.fixture
def folder(submitted: tuple[Path, dict[str, float]], tmp_path: Path) -> Path:
    with zipfile.ZipFile(submitted[0]) as file:
        file.extractall(tmp_path / "tree")
    return tmp_path / "tree"


def test_a_zip_and_a_folder_score_as_the_model_that_wrote_them(
    submitted: tuple[Path, dict[str, float]], folder: Path, store: Path
) -> None:
    for path in (submitted[0], folder, folder / "Annotations"):
        report, coverage, measured = score(path, store)
        assert {name: report.figures[name] for name in ("J", "F", "J&F")} == submitted[1]
        assert (coverage.matched, coverage.missing, len(measured.rows)) == (4, 0, 4)
        assert "matched by video + expression: 4 of 4 sentences" in report.predictions


def test_missing_frames_are_refused_empty_or_skipped(folder: Path, store: Path) -> None:
    own = sorted((folder / "Annotations" / "cc").iterdir())
    shutil.rmtree(own[0])
    next(own[1].iterdir()).unlink()
    with pytest.raises(DataError, match=r"lacks masks of 2 \(cc/0, cc/1\) of the 4 expressions .*--missing empty"):
        score(folder, store)
    _, coverage, measured = score(folder, store, missing="empty")
    assert len(measured.rows) == 4 and coverage.missing == 2
    assert next(row.predicted for row in measured.rows if row.sentence_id % 1000 == 0) == 0
    assert len(score(folder, store, missing="skip")[2].rows) == 2


def test_what_is_of_no_expression_is_counted(folder: Path, store: Path) -> None:
    (folder / "Annotations" / "cc" / "77").mkdir()
    Image.new("L", (64, 48)).save(folder / "Annotations" / "cc" / "77" / "00000.png")
    Image.new("L", (64, 48)).save(folder / "stray.png")
    report, _, _ = score(folder, store)
    assert any("2 (stray.png, cc/77) predictions are of no sentence" in note for note in report.notes)
    shutil.move(folder / "Annotations" / "cc", folder / "Annotations" / "dd")
    with pytest.raises(DataError, match=r"none of the 5 expressions .* is of the split 'test'"):
        score(folder, store)


def test_masks_of_another_size_or_damaged_are_named(folder: Path, store: Path) -> None:
    first = min((folder / "Annotations" / "cc" / "0").iterdir())
    Image.fromarray(np.zeros((24, 32), dtype=np.uint8)).save(first)
    with pytest.raises(DataError, match=r"cc/0/00000.png has 24x32 pixels, its frame 48x64"):
        score(folder, store)
    first.write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match=r"cc/0/00000.png: it cannot be read as a PNG"):
        score(folder, store)


def test_the_command_writes_rows_and_a_page(
    risctl: Run, submitted: tuple[Path, dict[str, float]], store: Path, tmp_path: Path
) -> None:
    rows, page = tmp_path / "rows.jsonl", tmp_path / "page.html"
    code, out, err = risctl(
        "score", submitted[0], "-d", store, "-s", "test", "--rows", rows, "--report", page, "--pictures", 1, "--json"
    )
    assert code == 0, err
    told = json.loads(out)
    assert told["figures"]["J&F"] == pytest.approx(submitted[1]["J&F"]) and told["unit"] == "video"
    assert len(rows.read_text().splitlines()) == 4
    assert page.read_text(encoding="utf-8").count("data:image/jpeg") == 2
    code, _, err = risctl("score", submitted[0], "-d", store, "-s", "test", "--strict")
    assert code == 2 and "--missing alone is for them" in err


def test_rows_of_two_submissions_are_compared_video_by_video(
    risctl: Run, folder: Path, store: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    for path in sorted(other.rglob("*.png"))[::2]:
        with Image.open(path) as image:
            empty = np.zeros((image.height, image.width), dtype=np.uint8)
        Image.fromarray(empty).save(path)
    rows, figures = [], []
    for name, source in (("a", folder), ("b", other)):
        rows.append(tmp_path / f"{name}.jsonl")
        code, out, err = risctl("score", source, "-d", store, "-s", "test", "--rows", rows[-1], "--json", "-q")
        assert code == 0, err
        figures.append(json.loads(out)["figures"])
    code, out, err = risctl("compare", *rows, "--json", "-q", "--report", tmp_path / "page.html")
    assert (code, err) == (0, "")
    told = json.loads(out)
    for name in ("J", "F", "J&F"):
        compared = told["against"][0]["figures"][name]
        assert [compared["before"], compared["after"]] == pytest.approx([one[name] for one in figures])
    assert told["resampled"] == "videos" and "resamples of videos" in (tmp_path / "page.html").read_text("utf-8")
    same = json.loads(risctl("compare", rows[0], rows[0], "--json", "-q")[1])
    assert same["against"][0]["figures"]["J"]["difference"] == 0


def test_the_package_scores_videos_as_the_command_does(risctl: Run, folder: Path, store: Path) -> None:
    told = json.loads(risctl("score", folder, "-d", store, "-s", "test", "--json", "-q")[1])
    assert package.score(folder, store, split="test").to_dict()["figures"] == told["figures"]
    with pytest.raises(UsageError, match="missing alone is for them"):
        package.score(folder, store, split="test", strict=True)


def read_back(risctl: Run, folder: Path, out: Path) -> dict[tuple[str, str], np.ndarray]:
    """The masks of a format's folder by image and phrase, through a store."""
    code, _, err = risctl("prepare", "custom", folder, "--out", out, "-q", "--splits", "test=1")
    assert code == 0, err
    with Store(out) as opened:
        rows = range(len(opened.numbers("sentences/id")))
        sentences = [opened.sentence(row) for row in rows]
        return {
            (opened.image(one.image).file_name, one.raw): opened.sample(one.row, pixels=False).mask for one in sentences
        }


def test_a_submission_is_converted_frame_by_frame_and_read_back(
    risctl: Run, folder: Path, store: Path, tmp_path: Path
) -> None:
    code, out, err = risctl(
        "convert",
        folder,
        "--data",
        store,
        "-s",
        "test",
        "--to",
        "coco,davis",
        "--out",
        tmp_path / "out",
        "--json",
        "-q",
    )
    assert code == 0, err
    told = json.loads(out)
    assert told["converted"] == told["expressions"] > 0 and told["files"]["davis"] == told["files"]["images"] + 1
    expected = {}
    with Store(store) as opened:
        for row in opened.sentences("test").tolist():
            sentence = opened.sentence(row)
            ref = ClipStore(opened).ref(sentence.ref)
            for frame in ref.frames:
                name = opened.image(frame).file_name
                number = str(expression_number(sentence.sentence_id))
                with Image.open(next(folder.rglob(f"{ref.video}/{number}/{Path(name).stem}.png"))) as image:
                    expected[name, sentence.raw] = np.asarray(image) != 0
    for name in ("coco", "davis"):
        found = read_back(risctl, tmp_path / "out" / name, tmp_path / f"{name}.h5")
        assert found.keys() == expected.keys()
        assert all(np.array_equal(found[key], mask) for key, mask in expected.items())


def test_a_broken_submission_is_not_converted(risctl: Run, folder: Path, store: Path, tmp_path: Path) -> None:
    sorted(folder.rglob("*.png"))[-1].write_bytes(b"no picture")
    code, out, err = risctl(
        "convert", folder, "--data", store, "-s", "test", "--to", "coco", "--out", tmp_path / "out", "-q"
    )
    assert (code, out) == (4, "") and len(err.splitlines()) == 1 and not (tmp_path / "out" / "coco").exists()


def test_a_store_of_videos_is_converted_frame_by_frame(risctl: Run, store: Path, tmp_path: Path) -> None:
    code, _, err = risctl("convert", store, "-s", "train", "--to", "coco", "--out", tmp_path / "out", "-q")
    assert code == 0, err
    found = read_back(risctl, tmp_path / "out" / "coco", tmp_path / "coco.h5")
    with Store(store) as opened:
        clips = ClipStore(opened)
        for row in opened.refs("train").tolist():
            ref = clips.ref(row)
            for frame in ref.annotations:
                for sentence in ref.sentences:
                    key = opened.image(frame).file_name, opened.sentence(sentence).raw
                    assert np.array_equal(found[key], clips.masks(ref, [frame])[0])
    assert found
