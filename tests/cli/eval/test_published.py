"""`--beside published`: one row's numbers in the terminal, in JSON and in every form of report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.annotated_frames import annotated_frames_dataset
from helpers.command_line import Run
from helpers.tiny import tiny_dataset
from helpers.tiny_clip import write_hugging_face
from helpers.tiny_zsi import tiny_zsi
from helpers.video_files import write_youtube
from helpers.video_system import recipe_of

from risctl.checkpoints.checkpoint import save_checkpoint
from risctl.data.datasets.ref_video.reader import read_ref_youtube_vos
from risctl.data.store.writer import write_store
from risctl.language.coco_classes import SPLITS
from risctl.language.vocabulary import Vocabulary
from risctl.systems.registry import build_system


def stored(folder: Path, **changes: Any) -> Path:
    path = folder / "store.h5"
    write_store(replace(tiny_dataset(images=4, validation=3), **changes), path)
    return path


@pytest.fixture(scope="module")
def refcoco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stored(tmp_path_factory.mktemp("refcoco"), name="refcoco", split_by="unc")


def test_a_row_stands_beside_in_terminal_and_json(risctl: Run, tiny_checkpoint: Path, refcoco: Path) -> None:
    command = ("eval", "-m", tiny_checkpoint, "-d", refcoco, "-p", "mcn", "--device", "cpu", "-q")
    plain = risctl(*command)
    assert plain.code == 0 and "beside" not in plain.out
    beside = risctl(*command, "--beside", "published")
    told = json.loads(risctl(*command, "--beside", "published", "--json").out)
    [row] = told["published"]["rows"]
    assert (row["system"], row["split"], row["protocol"]) == ("vlt", "val", "mcn")
    figure = row["figures"]["mIoU"]
    assert figure["published"] == 65.65 and figure["ours"] == told["figures"]["mIoU"]
    assert figure["difference"] == pytest.approx(figure["ours"] - 65.65)
    assert figure["interval"] == told["intervals"]["mIoU"]
    assert [one["what"] for one in row["differs"]] == ["weights", "data", "data"]
    assert row["differs"][2]["published"] == "10,834 sentences" and row["differs"][2]["ours"] == "12 of them"
    low, high = figure["interval"]
    wanted = [
        "mIoU",
        f"{figure['ours']:.2f}",
        f"{low:.2f}",
        "to",
        f"{high:.2f}",
        "65.65",
        f"{figure['difference']:+.2f}",
    ]
    assert wanted in [line.split() for line in beside.out.splitlines()]
    assert "source: Ding et al., Multimodal Referring Segmentation" in beside.out
    assert beside.out.startswith(plain.out.split("\n\n")[0].split("\n")[0])


def test_a_row_stands_in_every_form_of_report(
    risctl: Run, tiny_checkpoint: Path, refcoco: Path, tmp_path: Path
) -> None:
    reports = [tmp_path / f"report.{ending}" for ending in ("html", "md", "json")]
    options = [part for path in reports for part in ("--report", path)]
    command = ("eval", "-m", tiny_checkpoint, "-d", refcoco, "-p", "lavt", "--device", "cpu", "-q", *options)
    result = risctl(*command, "--pictures", "0")
    assert result.code == 0 and "beside" not in result.out  # the terminal has it with --beside alone
    [row] = json.loads(reports[2].read_text(encoding="utf-8"))["published"]["rows"]
    assert row["system"] == "lavt" and len(row["figures"]) == 7
    page, text = (path.read_text(encoding="utf-8") for path in reports[:2])
    for name, figure in row["figures"].items():
        own, published = f"{figure['ours']:.2f}", f"{figure['published']:.2f}"
        assert f'data-label="published">{published}</td>' in page and f">{figure['difference']:+.2f}</td>" in page
        lines = [line for line in text.replace("\\", "").splitlines() if line.startswith(f"| {name} | {own} | ")]
        assert any(f"| {published} | {figure['difference']:+.2f} |" in line for line in lines)
    assert "Differs in weights: LAVT, Swin-B" in page and "README of yz93/LAVT-RIS" in text


@pytest.mark.parametrize(
    ("changes", "protocol", "told"),
    [
        ({"name": "refcoco", "split_by": "unc"}, "davis", "by cris, lavt, mcn, original, rela or zsris there are"),
        ({"name": "refclef", "split_by": "berkeley"}, "original", "there are rows for its split test"),
        ({"name": "scenes", "split_by": "seed0"}, "original", "there are rows for a2d, coco-zsi-48-17 (class), "),
    ],
)
def test_where_no_row_matches_a_line_says_which_there_are(
    risctl: Run, tiny_checkpoint: Path, tmp_path: Path, changes: dict[str, str], protocol: str, told: str
) -> None:
    data = stored(tmp_path, **changes)
    report = tmp_path / "report.json"
    options = ("--beside", "published", "--json", "--report", report)
    result = risctl("eval", "-m", tiny_checkpoint, "-d", data, "-p", protocol, "--device", "cpu", "-q", *options)
    published = json.loads(result.out)["published"]
    assert published["rows"] == [] and len(published["missing"]) == 1
    assert told in published["missing"][0] and "\n" not in published["missing"][0]
    assert json.loads(report.read_text(encoding="utf-8"))["published"] == published


def test_a_threshold_of_ones_own_is_named_as_a_difference(risctl: Run, tiny_checkpoint: Path, refcoco: Path) -> None:
    command = ("eval", "-m", tiny_checkpoint, "-d", refcoco, "-p", "cris,mcn", "--threshold", "0.2", "--device", "cpu")
    told = json.loads(risctl(*command, "-q", "--beside", "published", "--json").out)
    systems = [row["system"] for row in told["published"]["rows"]]
    assert systems == ["vlt", "cris", "cris"]  # the model's own system comes first
    for row in told["published"]["rows"]:
        [given] = [one for one in row["differs"] if one["what"] == "protocol"]
        assert "probability > 0.2 as given" in given["ours"]


def test_detection_by_category_stands_beside_zsis_rows(risctl: Run, tmp_path: Path) -> None:
    dataset = tiny_dataset(images=2, validation=2)
    records = [replace(record, split="test") for record in dataset.records]
    data = tmp_path / "zsi.h5"
    split = SPLITS["48_17"]
    categories = dict(enumerate((*split.unseen, *split.seen), start=1))  # the boxes are of the first
    write_store(replace(dataset, name="coco-zsi-48-17", split_by="class", categories=categories, records=records), data)
    options = ("-s", "test", "-p", "zsi", "--device", "cpu", "-q", "--beside", "published")
    told = json.loads(risctl("eval", "-m", tiny_zsi(tmp_path), "-d", data, *options, "--json").out)
    [row] = told["published"]["rows"]
    assert row["figures"]["mAP 0.5"]["published"] == 9.0 and row["checked"] is False
    assert row["figures"]["recall@100 0.4"]["ours"] == told["figures"]["recall@100 0.4"]


def test_zero_shot_figures_stand_beside_the_papers(risctl: Run, tmp_path: Path) -> None:
    data = stored(tmp_path, name="refcoco", split_by="unc")
    clip = write_hugging_face(tmp_path / "clip")
    command = ("zeroshot", "eval", "-d", data, "-P", "gt", "--clip", clip, "-p", "zsris", "--device", "cpu", "-q")
    [row] = json.loads(risctl(*command, "--beside", "published", "--json").out)["published"]["rows"]
    assert row["system"] == "global_local_clip" and row["figures"]["mIoU"]["published"] == 26.20
    departures = [one["ours"] for one in row["differs"] if one["what"] == "protocol"]
    assert len(departures) == 3 and "tight boxes" in departures[1]
    published = risctl(*command, "--beside", "published", "--as-published", "--json")
    [row] = json.loads(published.out)["published"]["rows"]
    assert not [one for one in row["differs"] if one["what"] == "protocol"]


def test_a_video_set_stands_beside_referformers_rows(risctl: Run, tmp_path: Path) -> None:
    videos = read_ref_youtube_vos(write_youtube(tmp_path / "set", videos={"test": ("aa", "bb")}))
    # The objects of the published split are on the competition's server alone: here these videos are that split.
    data = tmp_path / "videos.h5"
    write_store(replace(videos, records=[replace(record, split="valid") for record in videos.records]), data)
    report = tmp_path / "report.md"
    command = ("eval", "-m", video_checkpoint(tmp_path, data), "-d", data, "-s", "valid", "--device", "cpu", "-q")
    beside = risctl(*command, "--beside", "published", "--report", report)
    assert beside.code == 0, beside.err
    told = json.loads(risctl(*command, "--beside", "published", "--json").out)
    found = {row["model"]: row for row in told["published"]["rows"]}
    assert len(found) == 14 and told["published"]["missing"] == []
    row = found["ReferFormer, ResNet-50, joint"]
    assert {name: one["published"] for name, one in row["figures"].items()} == {"J&F": 58.7, "J": 57.4, "F": 60.1}
    for name, one in row["figures"].items():
        assert one["ours"] == told["figures"][name]
        assert one["difference"] == pytest.approx(one["ours"] - one["published"])
        low, high = one["interval"]
        assert low <= one["ours"] <= high
        cells = [name, f"{one['ours']:.2f}", f"{low:.2f}", "to", f"{high:.2f}", f"{one['published']:.2f}"]
        assert any(line.split()[:6] == cells for line in beside.out.splitlines())
    assert "competition's server" in row["remark"]
    assert {one["what"] for one in row["differs"]} == {"weights", "data"}
    assert "README of wjn922/ReferFormer" in report.read_text(encoding="utf-8")


def test_frames_of_a2d_stand_beside_referformers_rows(risctl: Run, tmp_path: Path) -> None:
    frames = annotated_frames_dataset(videos=2)
    tested = [replace(record, split={"val": "test"}.get(record.split, record.split)) for record in frames.records]
    data = tmp_path / "a2d.h5"
    write_store(replace(frames, name="a2d", records=tested), data)
    command = ("eval", "-m", video_checkpoint(tmp_path, data), "-d", data, "-s", "test", "-p", "a2d", "-q")
    told = json.loads(risctl(*command, "--device", "cpu", "--beside", "published", "--json").out)
    found = {row["model"]: row for row in told["published"]["rows"]}
    figures = found["ReferFormer, Video-Swin-B"]["figures"]
    assert {name: one["published"] for name, one in figures.items()} == {"oIoU": 78.6, "mIoU": 70.3, "mAP_0.5:0.95": 55}
    assert {name: one["ours"] for name, one in figures.items()} == {name: told["figures"][name] for name in figures}
    assert found["ReferFormer, Video-Swin-T, from scratch, 6 frames"]["data"] == "A2D-Sentences alone"


def video_checkpoint(folder: Path, store: Path) -> Path:
    """Save a small, untrained ReferFormer."""
    recipe, vocabulary = recipe_of(store), Vocabulary(["red", "left"])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        system = build_system(recipe.model, vocabulary=vocabulary)
    save_checkpoint(folder / "clips.safetensors", system=system, recipe=recipe, vocabulary=vocabulary)
    return folder / "clips.safetensors"
