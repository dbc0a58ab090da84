"""A dataset is added by one file and one line, from outside the package as well."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from helpers import toy_dataset
from typer.testing import CliRunner

from risctl.cli.app import app
from risctl.data.datasets import registry
from risctl.data.datasets.registry import DATASETS, find_dataset, load_plugins
from risctl.data.store.reader import Store
from risctl.errors import DataError, MachineError, UsageError

run = CliRunner().invoke


@pytest.fixture(params=["a line of the registry", "a plugin"])
def toy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make the toy dataset known in one of the two ways."""
    monkeypatch.setattr(registry, "DATASETS", DATASETS)
    known = dict(DATASETS)
    if request.param == "a plugin":
        offer(monkeypatch, "helpers.toy_dataset:TOY")
    else:
        DATASETS["toy"] = toy_dataset.TOY
    yield
    DATASETS.clear()
    DATASETS.update(known)


def offer(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Let an installed package offer `value` as a dataset."""
    entry = EntryPoint(name="toy", value=value, group=registry.PLUGINS)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda *, group: [entry] if group == entry.group else [])


@pytest.mark.usefixtures("toy")
def test_a_toy_dataset_is_prepared_counted_and_read_back(tmp_path: Path) -> None:
    source = toy_dataset.write_toy(tmp_path / "toy")
    out = tmp_path / "data" / "toy.h5"
    done = run(app, ["prepare", "toy", "--from", str(source), "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    prepared = json.loads(done.stdout)
    assert prepared["counts"] == prepared["published"] and prepared["differences"] == []
    with Store(out) as store:
        assert (store.name, store.splits) == ("toy", ["train", "val"])
        sample = store.sample(int(store.sentences("val")[0]))
        assert sample.text == "the box number 3" and sample.mask.sum() == 80
        assert (sample.image[sample.mask] == 0).all() and (sample.image[~sample.mask] == 255).all()


@pytest.mark.usefixtures("toy")
def test_counts_unlike_the_published_ones_are_shown_with_both(tmp_path: Path) -> None:
    source = toy_dataset.write_toy(tmp_path / "toy", train=2)
    done = run(app, ["prepare", "toy", "--from", str(source), "--out", str(tmp_path / "toy.h5")])
    assert "toy (published) train: 2 images, 2 refs, 2 sentences; published: 3 images" in done.stderr
    assert done.stdout.splitlines()[-1].split() == ["total", "3", "(4)", "3", "(4)", "3", "(4)"]


@pytest.mark.usefixtures("toy")
def test_a_toy_dataset_is_listed_with_its_help(tmp_path: Path) -> None:
    assert "black boxes on white pictures" in run(app, ["prepare", "--help"]).output
    shown = run(app, ["prepare", "toy", "--help"]).output
    assert "Example: risctl prepare toy --from toy" in shown and "--link" not in shown and "--dry-run" not in shown
    source = toy_dataset.write_toy(tmp_path / "toy")
    run(app, ["prepare", "toy", "--from", str(source), "--data-root", str(tmp_path)])
    listed = json.loads(run(app, ["data", "ls", "--data-root", str(tmp_path), "--json"]).stdout)
    entry = next(one for one in listed["datasets"] if one["name"] == "toy")
    assert entry["published"]["published"]["total"]["sentences"] == 4 and entry["download_bytes"] is None
    assert [Path(name["path"]).name for name in entry["stores"]] == ["toy.h5"]


@pytest.mark.usefixtures("toy")
def test_a_toy_dataset_that_is_not_there_is_said_with_exit_code_4(tmp_path: Path) -> None:
    done = run(app, ["prepare", "toy", "--from", str(tmp_path), "--out", str(tmp_path / "toy.h5")])
    assert isinstance(done.exception, DataError) and "toy.json" in str(done.exception)
    with pytest.raises(UsageError, match="did you mean 'toy'"):
        find_dataset("tory")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("helpers.no_such_file:TOY", "cannot be loaded"),
        ("helpers.toy_dataset:read_toy", "expected a DatasetDescriptor"),
        ("risctl.data.datasets.descriptor:DatasetDescriptor", "expected a DatasetDescriptor"),
    ],
)
def test_a_broken_plugin_is_named(monkeypatch: pytest.MonkeyPatch, value: str, message: str) -> None:
    offer(monkeypatch, value)
    with pytest.raises(MachineError, match=message):
        load_plugins()
    # What risctl has itself is found all the same.
    assert find_dataset("refcoco").name == "refcoco"


def test_a_plugin_cannot_take_the_name_of_another_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "helpers.toy_dataset:TOY")
    monkeypatch.setitem(DATASETS, "toy", find_dataset("refcoco"))
    with pytest.raises(MachineError, match="another dataset's name"):
        load_plugins()


def test_every_known_dataset_is_listed_with_its_figures_and_its_stores(refer_mini: Path, tmp_path: Path) -> None:
    run(app, ["prepare", "refcoco", "--from", str(refer_mini), "--data-root", str(tmp_path), "--quiet"])
    run(app, ["prepare", "scenes", "-n", "10", "--data-root", str(tmp_path), "--quiet"])
    (tmp_path / "scenes.h5").rename(tmp_path / "mine.h5")
    (tmp_path / "other.h5").write_bytes(b"no store")
    listed = json.loads(run(app, ["data", "ls", "--data-root", str(tmp_path), "--json"]).stdout)
    entries = {entry["name"]: entry for entry in listed["datasets"]}
    assert list(entries) == list(DATASETS) and listed["other_stores"] == []
    assert entries["refcoco"]["published"]["unc"]["testA"]["sentences"] == 5_657
    assert entries["refcoco"]["stores"][0]["counts"]["sentences"] == 45
    assert entries["scenes"]["stores"][0]["path"].endswith("mine.h5")
    text = run(app, ["data", "ls", "--data-root", str(tmp_path)]).stdout
    assert "published, split by unc: train 120,624 sentences" in text and "refcoco_unc.h5 (unc: 45 sentences" in text
