"""`risctl prepare features`: the disk is said first, shards join by themselves, the next command is told and works."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest
from helpers.command_line import Run
from helpers.tiny import tiny_store

from risctl.errors import MachineError

TINY = ["model.input_size=64", "model.hidden=8", "model.heads=2", "model.fusion_channels=8", "model.queries=2"]
TINY += ["model.head_channels=8", "model.text.hidden=8", "model.text.dim=8", "model.visual.frozen=true"]
SHORT = ["train.max_steps=1", "train.eval_limit=1", "data.workers=0", "data.batch_size=2"]


@pytest.fixture
def risctl(risctl: Run, tmp_path: Path) -> Run:
    """Run the command line in a folder with a small store."""
    tiny_store(tmp_path)
    return risctl


def test_a_dry_run_says_the_disk_and_writes_nothing(risctl: Run, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    code, out, _ = risctl("prepare", "features", "tiny.h5", "--recipe", "vlt-scenes", *TINY, "--dry-run")
    assert code == 0 and sorted(tmp_path.iterdir()) == before
    assert "20 images of 'train' of tiny.h5, both orientations: 0.3 MB; 27.1 MB for 1,000 pictures; free at" in out
    code, out, _ = risctl("prepare", "features", "tiny.h5", "-r", "vlt-scenes", *TINY, "--dry-run", "--json")
    told = json.loads(out)
    assert told["pictures"] == 10 and told["orientations"] == 2
    assert told["bytes"] == told["bytes_all_shards"] == 10 * told["bytes_a_thousand_pictures"] // 1000


def test_the_disk_is_said_before_anything_is_computed(risctl: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise MachineError("stopped before anything was computed")

    monkeypatch.setattr("risctl.training.features.extract.FeatureRun.write", stop)
    code, _, error = risctl("prepare", "features", "tiny.h5", "-r", "vlt-scenes", *TINY)
    assert code == 5 and error.index("27.1 MB for 1,000 pictures") < error.index("stopped before anything")


def test_every_store_of_a_training_gets_a_file_of_its_own(risctl: Run, tmp_path: Path) -> None:
    shutil.copy(tmp_path / "tiny.h5", tmp_path / "more.h5")
    asked = ("prepare", "features", "tiny.h5", "-r", "vlt-scenes", *TINY, "data.also=[more.h5]")
    code, out, _ = risctl(*asked, "--dry-run", "--json")
    told = json.loads(out)
    assert code == 0 and [one["features"] for one in (told, *told["also"])] == [
        "tiny.vlt-scenes.features.h5",
        "more.vlt-scenes.features.h5",
    ]
    code, out, error = risctl(*asked, "-q")
    assert code == 0, error
    *written, command = out.splitlines()
    assert written == ["tiny.vlt-scenes.features.h5", "more.vlt-scenes.features.h5"]
    code, _, error = risctl(*shlex.split(command.removeprefix("use it: risctl ")), *SHORT, "--out", "run")
    assert code == 0, error
    assert "; more.vlt-scenes.features.h5, 20 images, both orientations; pictures are not read" in error
    code, _, error = risctl(*asked, "--out", "one.h5")
    assert code == 2 and "--out names one file" in error


def test_what_auto_would_pass_over_is_said_and_named(risctl: Run) -> None:
    light = ["model.short_side=64", "model.longest_side=96", "model.visual.frozen=true", "~data.augment"]
    code, out, error = risctl("prepare", "features", "tiny.h5", "-r", "referformer-scenes", *light, *SHORT)
    assert code == 0 and "note: data.features=auto passes these over at data.batch_size=2" in error, error
    _, command = out.splitlines()
    assert "data.features=tiny.referformer-scenes.features.h5" in command
    code, _, error = risctl(*shlex.split(command.removeprefix("use it: risctl ")), "--out", "run")
    assert code == 0 and "features: tiny.referformer-scenes.features.h5" in error, error


def test_shards_join_and_the_command_that_is_told_trains_on_them(risctl: Run, tmp_path: Path) -> None:
    for shard in ("2/2", "1/2"):
        code, out, error = risctl("prepare", "features", "tiny.h5", "-r", "vlt-scenes", *TINY, "--shard", shard, "-q")
        assert code == 0, error
    command = out.splitlines()[-1].removeprefix("use it: risctl ").split()
    assert command[:2] == ["train", "vlt-scenes"] and command[-1] == "data.features=auto"
    code, _, error = risctl(*command, *SHORT, "--out", "run")
    assert code == 0, error
    assert "features: tiny.vlt-scenes.features.h5, 20 images, both orientations; pictures are not read" in error
    (tmp_path / "tiny.vlt-scenes.features.h5").unlink()
    assert risctl("prepare", "features", "tiny.h5", "-r", "vlt-scenes", "--join")[0] == 0
    assert (tmp_path / "tiny.vlt-scenes.features.h5").exists()


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_a_shard_that_is_none_is_refused(risctl: Run, shard: str) -> None:
    code, _, error = risctl("prepare", "features", "tiny.h5", "-r", "vlt-scenes", f"--shard={shard}")
    assert code == 2 and "K from 1 to N" in error


def test_what_cannot_be_done_is_said(risctl: Run) -> None:
    for arguments, expected, said in (
        (("tiny.h5",), 2, "--recipe NAME"),
        (("tiny.h5", "-r", "vlt-scenes"), 2, "nothing of this VLT's encoders is frozen"),
        (("tiny.h5", "-r", "vlt-scenes", *TINY, "data.augment.colour=0.1"), 2, "data.augment.colour changes"),
        (("absent.h5", "-r", "vlt-scenes", *TINY), 4, "absent.h5"),
        (("tiny.h5", "-r", "vlt-scenes", *TINY, "--join"), 2, "found none"),
    ):
        code, _, error = risctl("prepare", "features", *arguments)
        assert code == expected and said in error, error
