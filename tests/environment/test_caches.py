"""`risctl cache`: downloads, word vectors and features listed with their use, checked by their sums, cleared."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.command_line import Run
from helpers.tiny import tiny_dataset, tiny_store

from risctl import files
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.language.vector_files import Table
from risctl.language.word_vectors import WordVectors
from risctl.models.calibrated import Calibration, write_calibration
from risctl.recipe.load import load_recipe
from risctl.training.features.extract import FeatureRun

TINY = ["model.input_size=64", "model.hidden=8", "model.heads=2", "model.fusion_channels=8", "model.queries=2"]
TINY += ["model.head_channels=8", "model.text.hidden=8", "model.text.dim=8", "model.visual.frozen=true"]


@pytest.fixture
def risctl(risctl: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[int, Any, str]]:
    """Run the command line with --json and a cache of its own; return exit code, what it printed, and stderr."""
    monkeypatch.setenv("RISCTL_CACHE", str(tmp_path / "cache"))

    def run(*arguments: str) -> tuple[int, Any, str]:
        code, out, err = risctl(*arguments, "--json")
        return code, json.loads(out) if out else None, err

    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store and features of it."""
    folder = tmp_path_factory.mktemp("made")
    store = tiny_store(folder)
    recipe = load_recipe("vlt-scenes", [*TINY, "~data.augment", f"data.store={store}"])
    with Store(store) as opened:
        run = FeatureRun(recipe, opened)
        run.write(run.plan(), device=torch.device("cpu"))
    return folder


@pytest.fixture
def kept(tmp_path: Path, risctl: Run, made: Path) -> Path:
    """A data root with a store, its features, a download, an unfinished one, and word vectors in the cache."""
    data = tmp_path / "data"
    shutil.copytree(made, data)
    (data / "downloads").mkdir()
    archive = data / "downloads" / "refcoco.zip"
    archive.write_bytes(b"archive")
    record = {"url": "http://x/refcoco.zip", "size": 7, "sha256": hashlib.sha256(b"archive").hexdigest()}
    (data / "downloads" / "refcoco.zip.json").write_text(json.dumps(record))
    (data / "downloads" / "train2014.zip.part").write_bytes(b"half")
    (data / "downloads" / "train2014.zip.part.json").write_text(json.dumps({"url": "http://x", "total": 9}))
    (tmp_path / "glove.txt").write_text("the 1.0 2.0\nman 3.0 4.0\n")
    WordVectors.open(tmp_path / "glove.txt")
    return data


def by_name(told: dict[str, Any], key: str = "entries") -> dict[str, dict[str, Any]]:
    return {Path(one["path"]).name: one for one in told[key]}


def test_everything_is_listed_with_its_size_and_use(kept: Path, risctl: Run, tmp_path: Path) -> None:
    code, told, _ = risctl("cache", "ls")
    found = by_name(told)
    assert code == 0
    [vectors] = [one for name, one in found.items() if name.startswith("glove-")]
    assert found.keys() - {Path(vectors["path"]).name} == {
        "tiny.vlt-scenes.features.h5",
        "refcoco.zip",
        "train2014.zip.part",
    }
    features = found["tiny.vlt-scenes.features.h5"]
    assert features["bytes"] == (kept / "tiny.vlt-scenes.features.h5").stat().st_size
    assert features["used_by"] == "recipe vlt-scenes on tiny.h5"
    assert vectors["used_by"] == "recipes with glove.txt"
    assert "no store here was made from it" in found["refcoco.zip"]["used_by"]
    assert "the next download continues it" in found["train2014.zip.part"]["used_by"]
    assert all(one["unusable"] is None for one in found.values())
    write_store(tiny_dataset(), tmp_path / "x.h5")
    store = tiny_dataset()
    store.name = "refcoco"
    write_store(store, kept / "refcoco_unc.h5")
    assert by_name(risctl("cache", "ls")[1])["refcoco.zip"]["used_by"] == "made into refcoco_unc.h5"


def test_what_is_sound_is_verified_by_its_sums(kept: Path, risctl: Run) -> None:
    code, told, _ = risctl("cache", "verify")
    assert code == 0 and told["damaged"] == []
    found = by_name(told)
    assert found["refcoco.zip"]["verified"] == "sha256"
    assert found["tiny.vlt-scenes.features.h5"]["verified"] == "CRC-32 of 10 samples"
    assert [one["verified"] for name, one in found.items() if name.startswith("glove")] == ["sha256"]


@pytest.mark.parametrize("which", ["refcoco.zip", "tiny.vlt-scenes.features.h5", "glove"])
def test_one_changed_byte_is_found_and_named(kept: Path, risctl: Run, tmp_path: Path, which: str) -> None:
    [file] = [path for path in tmp_path.rglob(f"{which}*") if path.suffix in (".zip", ".h5", ".safetensors")]
    data = bytearray(file.read_bytes())
    # Of the vectors the last byte of a word, which nothing but a sum can tell.
    data[-1 if which != "tiny.vlt-scenes.features.h5" else len(data) // 2] ^= 1
    file.write_bytes(data)
    code, told, error = risctl("cache", "verify")
    assert code == 4 and file.name in error
    assert len(told["damaged"]) == 1


def test_nothing_of_use_is_removed_and_a_dry_run_removes_nothing(kept: Path, risctl: Run, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert risctl("cache", "gc")[1]["removed"] == []
    code, told, _ = risctl("cache", "gc", "--dry-run", "--downloads", "--vectors", "--features")
    assert code == 0 and len(told["removed"]) == 4 and told["bytes"] > 0
    assert sorted(tmp_path.rglob("*")) == before
    risctl("cache", "gc", "--downloads", "--vectors", "--features")
    assert [path.name for path in kept.rglob("*") if path.is_file()] == ["tiny.h5"]
    assert risctl("cache", "ls")[1]["entries"] == []


def test_stale_features_orphaned_vectors_and_leftovers_are_removed(kept: Path, risctl: Run, tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    leftover = kept / f".other.h5.{files._host()}-{dead.pid}-00.part"
    leftover.write_bytes(b"x")
    alive = kept / f".third.h5.{files._host()}-{os.getpid()}-00.part"
    alive.write_bytes(b"x")
    shutil.copy(kept / "tiny.vlt-scenes.features.h5", kept / "cut.features.h5")
    os.truncate(kept / "cut.features.h5", 2000)
    (tmp_path / "glove.txt").unlink()
    write_store(tiny_dataset(images=9), kept / "tiny.h5")
    code, told, _ = risctl("cache", "gc")
    assert code == 0
    reasons = {Path(one["path"]).name: one["unusable"] for one in told["removed"]}
    assert "its store tiny.h5 has changed" in reasons.pop("tiny.vlt-scenes.features.h5")
    assert "truncated" in reasons.pop("cut.features.h5")
    assert "killed" in reasons.pop(leftover.name)
    assert [name.partition("-")[0] for name in reasons] == ["glove"] and "glove.txt is gone" in str(reasons)
    assert alive.exists() and not leftover.exists() and (kept / "tiny.h5").exists()
    assert (kept / "downloads" / "refcoco.zip").exists()


def test_vectors_of_an_earlier_form_have_no_sum_and_are_kept(risctl: Run, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    folder = tmp_path / "cache" / "vectors"
    folder.mkdir(parents=True)
    table = Table(words=("a", "b"), vectors=np.ones((2, 3), np.float32))
    words = np.frombuffer(b"a\nb", dtype=np.uint8)
    save_file({"vectors": table.vectors, "words": words}, folder / "old.safetensors", {"risctl": '{"source": "g.zip"}'})
    [entry] = risctl("cache", "verify")[1]["entries"]
    assert entry["verified"] == "readable; no checksum was recorded" and entry["unusable"] is None


def test_calibrated_thresholds_are_listed_and_damaged_ones_removed(risctl: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "calibration"
    calibration = Calibration(
        model="sam3", weights="w", no_target_threshold=0.4, min_score=0.5, chosen_on={"data": "s.h5"}, figures={}
    )
    write_calibration(folder / "sam3.json", calibration)
    (folder / "other.json").write_text("{}")
    code, listed, _ = risctl("cache", "ls", "--data-root", str(tmp_path / "none"))
    assert code == 0
    assert [(one["kind"], Path(one["path"]).name) for one in listed["entries"]] == [
        ("calibration", "other.json"),
        ("calibration", "sam3.json"),
    ]
    assert listed["entries"][1]["used_by"] == "--model sam3"
    assert risctl("cache", "verify", "--data-root", str(tmp_path / "none"))[0] == 4
    code, removed, _ = risctl("cache", "gc", "--data-root", str(tmp_path / "none"))
    assert code == 0 and [Path(one["path"]).name for one in removed["removed"]] == ["other.json"]
    assert (folder / "sam3.json").is_file()
