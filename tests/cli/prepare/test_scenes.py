"""`risctl prepare scenes`: the store, the pictures beside it, the JSON, and refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from risctl.cli import app
from risctl.data.store.reader import Store
from risctl.errors import UsageError


def run(*arguments: str) -> None:
    app.app(["prepare", "scenes", *arguments], standalone_mode=False)


def test_a_store_and_pictures_are_written_and_told_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RISCTL_DATA", str(tmp_path / "root"))
    run("-n", "10", "--seed", "4", "--pictures", str(tmp_path / "p"), "--picture-count", "1", "--json")
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    assert told["store"] == str(tmp_path / "root" / "scenes.h5")
    with Store(told["store"]) as store:
        assert (store.name, store.split_by) == ("scenes", "seed4")
        assert store.fingerprint == told["fingerprint"]
        assert store.counts() == told["counts"]
        sentences = [store.sentence(int(row)) for row in store.sentences("all")]
    needed = sum("colour" in sentence.abilities for sentence in sentences)
    assert told["abilities"]["colour"] == needed > 0
    assert [Path(path).name for path in told["pictures"]] == ["scene_000009.png"]
    assert Path(told["pictures"][0]).with_suffix(".json").is_file()
    Path(told["pictures"][0]).write_text("mine")
    again = ("-n", "10", "--out", str(tmp_path / "other.h5"), "--pictures", str(tmp_path / "p"), "--picture-count", "1")
    with pytest.raises(UsageError, match=r"scene_000009\.png is there already; replace it with --overwrite"):
        run(*again)
    assert Path(told["pictures"][0]).read_text() == "mine" and not (tmp_path / "other.h5").exists()


def test_the_same_seed_gives_the_same_fingerprint_whoever_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    marks = []
    for name, workers in (("a", "1"), ("b", "2")):
        run("-n", "12", "--seed", "1", "--out", str(tmp_path / f"{name}.h5"), "--workers", workers, "--json", "--quiet")
        printed = capsys.readouterr()
        assert printed.err == ""
        marks.append(json.loads(printed.out)["fingerprint"])
    assert marks[0] == marks[1]


@pytest.mark.parametrize("size", ["320", "axb", "320x", "10x10"])
def test_sizes_that_are_none_are_refused(tmp_path: Path, size: str) -> None:
    with pytest.raises(UsageError, match="pixels"):
        run("-n", "10", "--size", size, "--out", str(tmp_path / "x.h5"))
    assert not (tmp_path / "x.h5").exists()
