"""`risctl data` and `risctl prepare custom`, to a model trained and measured on one's own data."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest
from helpers import custom_files
from PIL import Image
from typer.testing import CliRunner

from risctl.cli.app import app
from risctl.data.datasets.custom.read import check_custom
from risctl.data.datasets.scenes.generate import make_scenes
from risctl.data.datasets.scenes.moving import make_moving_scenes
from risctl.data.stats import stats_of
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.errors import DataError, UsageError

runner = CliRunner()

RECIPE = """
name: own
model:
  {system: vlt, input_size: 64, max_words: 4, queries: 2, hidden: 8, heads: 2, encoder_layers: 1, decoder_layers: 1,
   feed_forward: 8, fusion_channels: 8, visual: {name: small_cnn}, text: {hidden: 8, dim: 8}}
data: {store: own.h5, batch_size: 5, workers: 0}
optim: {lr: 0.01}
train: {epochs: 1, max_steps: 3, log_every: 1}
"""


def test_check_reports_all_with_lines_and_leaves_with_4(tmp_path: Path) -> None:
    path = custom_files.sound(tmp_path, images=2)
    sound = runner.invoke(app, ["data", "check", str(path)])
    assert sound.exit_code == 0 and "0 problems, 2 warnings; 6 texts of 2 pictures" in sound.stdout
    assert "warning: no picture falls to split val" in sound.stdout
    lines = path.read_text().splitlines()
    custom_files.lines(path, [lines[0], "{", json.dumps({"image": "none.jpg", "text": "", "mask": None})])
    run = subprocess.run(
        [sys.executable, "-m", "risctl", "data", "check", str(path), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == DataError.exit_code and run.stderr == ""
    data = json.loads(run.stdout)
    assert [one["line"] for one in data["problems"]] == [2, 3, 3] and data["counts"] == {}
    told = runner.invoke(app, ["data", "check", str(path)])
    assert told.exit_code == DataError.exit_code
    assert f"{path}:2: not valid JSON" in told.stdout and f"{path}:3: a text is empty" in told.stdout
    assert told.stdout.splitlines()[-1] == f"{path}: 3 problems, 0 warnings"


def test_a_store_is_not_checked_as_a_file_of_ones_own(tmp_path: Path) -> None:
    result = runner.invoke(app, ["data", "check", str(tmp_path / "s.h5")])
    assert isinstance(result.exception, UsageError) and "prepare verify" in str(result.exception)


def test_own_data_is_prepared_trained_on_and_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = custom_files.sound(tmp_path, images=10)
    prepared = runner.invoke(app, ["prepare", "custom", str(path), "--out", "own.h5", "--json"])
    assert prepared.exit_code == 0, prepared.output
    counts = json.loads(prepared.stdout)["counts"]
    assert {split: row["images"] for split, row in counts.items()} == {"train": 8, "val": 1, "test": 1}
    (tmp_path / "own.yaml").write_text(RECIPE)
    trained = runner.invoke(app, ["train", "own.yaml", "--out", "run", "--device", "cpu", "--json"])
    assert trained.exit_code == 0, trained.output
    command = ["eval", "--model", "run", "--data", "own.h5", "--split", "test", "--device", "cpu", "--json"]
    measured = runner.invoke(app, command)
    assert measured.exit_code == 0, measured.output
    assert json.loads(measured.stdout)
    verified = runner.invoke(app, ["prepare", "verify", "own.h5"])
    assert verified.exit_code == 0, verified.output


def test_a_table_by_its_address_is_checked_and_prepared(tmp_path: Path) -> None:
    system = fsspec.filesystem("memory")
    image = custom_files.write_image(tmp_path / "1.jpg")
    system.pipe_file("/own/cups.csv", b"image,text,box\n1.jpg,the red cup,10 5 20 20\n1.jpg,a zebra,\n")
    system.pipe_file("/own/1.jpg", image.read_bytes())
    try:
        options = ["--data-root", str(tmp_path / "root"), "--json"]
        checked = runner.invoke(app, ["data", "check", "memory://own/cups.csv", *options])
        assert checked.exit_code == 0, checked.output
        assert json.loads(checked.stdout)["counts"] == {"train": {"images": 1, "refs": 2, "sentences": 2}}
        prepared = runner.invoke(app, ["prepare", "custom", "memory://own/cups.csv", "--splits", "train=1", *options])
        assert prepared.exit_code == 0, prepared.output
    finally:
        system.rm("/own", recursive=True)
    with Store(tmp_path / "root" / "cups.h5") as store:
        assert store.image(0).file_name == "own/1.jpg" and store.image_bytes(0) == image.read_bytes()
        assert [store.sentence(row).raw for row in range(2)] == ["the red cup", "a zebra"]
    # Two files: the table and the picture, fetched once.
    assert len(list((tmp_path / "root" / "remote").iterdir())) == 2


def test_own_data_with_problems_is_refused_by_line(tmp_path: Path) -> None:
    path = custom_files.lines(tmp_path / "d.jsonl", ["{", "[]"])
    result = runner.invoke(app, ["prepare", "custom", str(path), "--data-root", str(tmp_path)])
    assert isinstance(result.exception, DataError)
    assert "line 1: not valid JSON" in str(result.exception) and "line 2: " in str(result.exception)
    assert not list(tmp_path.glob("*.h5"))


def test_stats_are_what_was_written(tmp_path: Path) -> None:
    path = custom_files.sound(tmp_path, images=4)
    command = ["data", "stats", str(path), "--json"]
    data = json.loads(runner.invoke(app, command).stdout)
    total = {kind: sum(row[kind] for row in data["counts"].values()) for kind in ("images", "targets", "sentences")}
    assert total == {"images": 4, "targets": 8, "sentences": 12}
    assert sum(row["no_target"] for row in data["counts"].values()) == 4
    assert data["words_a_sentence"]["mean"] == pytest.approx((3 + 1 + 2) / 3)
    assert data["share_of_picture"]["median"] == pytest.approx(20 * 20 / (40 * 60))
    assert data["categories"] == {"cup": 4} and data["abilities"] == {"absent": 4}
    assert data["targets_without_distractors"] == 4
    assert data["vocabulary"]["words"] == 5 and data["vocabulary"]["commonest"]["cup"] == 8
    told = runner.invoke(app, command[:-1]).stdout
    assert "cup 8" in told and "none for 4 targets" in told
    unknown = runner.invoke(app, [*command, "--split", "nope"])
    assert isinstance(unknown.exception, UsageError)


def test_a_store_has_the_stats_of_what_it_was_made_from(tmp_path: Path, refer_mini: Path) -> None:
    from risctl.data.datasets.registry import DATASETS

    own = check_custom(custom_files.sound(tmp_path, images=5)).dataset
    assert own is not None
    for number, dataset in enumerate((own, DATASETS["refcoco"].read(refer_mini), make_scenes(count=12, seed=0))):
        path = write_store(dataset, tmp_path / f"{number}.h5").path
        with Store(path) as store:
            found = stats_of(store)
            assert found == stats_of(dataset)
            first = store.splits[0]
            assert stats_of(store, split=first) == stats_of(dataset, split=first)
        assert sum(row["sentences"] for row in found.counts.values()) == sum(
            row["sentences"] for row in dataset.counts().values()
        )
        assert (found.distractors is not None) and found.distractors.most >= (3 if number == 1 else 0)


def test_a_target_of_a_video_is_one_thing_however_many_frames_show_it(tmp_path: Path) -> None:
    dataset = make_moving_scenes(count=10, frames=3, seed=0)
    path = write_store(dataset, tmp_path / "v.h5").path
    with Store(path) as store:
        found = stats_of(store)
    assert found == stats_of(dataset)
    assert found.distractors is not None and found.distractors.least >= 0
    assert all(row["several"] == 0 for row in found.counts.values())


def test_show_lists_texts_with_what_they_are_about(tmp_path: Path) -> None:
    path = custom_files.sound(tmp_path, images=4)
    told = runner.invoke(app, ["data", "show", str(path), "-n", "3"]).stdout.splitlines()
    assert told[0].endswith("photos/0.jpg 'the red cup' (cup 20x20 at 10,5: 16.7%)")
    assert told[2].endswith("'a zebra' (nothing there)")
    assert told[3] == "3 of 12 texts"
    some = [json.loads(runner.invoke(app, ["data", "show", str(path), "--seed", "1", "--json"]).stdout) for _ in "ab"]
    assert some[0] == some[1] and len(some[0]["texts"]) == 10
    zebras = json.loads(runner.invoke(app, ["data", "show", str(path), "--with", "ZEBRA", "--json"]).stdout)
    assert zebras["of"] == 4 and all(row["box"] is None for row in zebras["texts"])
    write_store(make_scenes(count=12, seed=0), tmp_path / "s.h5")
    stored = json.loads(runner.invoke(app, ["data", "show", str(tmp_path / "s.h5"), "--json"]).stdout)
    assert stored["texts"][0]["abilities"]
    refused = runner.invoke(app, ["data", "show", str(tmp_path / "s.h5"), "--images", str(tmp_path)])
    assert isinstance(refused.exception, UsageError)


@pytest.mark.parametrize("stored", [False, True])
def test_show_draws_a_sheet_of_a_file_or_a_store(tmp_path: Path, stored: bool) -> None:
    source = custom_files.sound(tmp_path, images=5)
    custom_files.write_image(tmp_path / "photos/1.jpg", height=60, width=40, turned=6)
    if stored:
        assert runner.invoke(app, ["prepare", "custom", str(source), "--out", str(tmp_path / "s.h5")]).exit_code == 0
        source = tmp_path / "s.h5"
    sheet = tmp_path / "sheet.png"
    shown = runner.invoke(app, ["data", "show", str(source), "-n", "4", "--sheet", str(sheet), "--json"])
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["sheet"] == str(sheet)
    with Image.open(sheet) as drawn:
        assert drawn.width > 200 and len(drawn.convert("RGB").getcolors(10**6) or []) > 50
    refused = runner.invoke(app, ["data", "show", str(source), "--sheet", str(tmp_path / "sheet.txt")])
    assert isinstance(refused.exception, UsageError)
