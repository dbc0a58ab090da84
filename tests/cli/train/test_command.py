"""`risctl train` as a person or a scheduler calls it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.small_models import SMALL_VLT
from helpers.tiny import assert_same_tensors, tiny_store, weights_of
from typer.testing import CliRunner, Result

from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.cli import app as entry
from risctl.data.datasets.scenes.generate import make_scenes
from risctl.data.store.writer import write_store
from risctl.errors import RisctlError, UsageError
from risctl.recipe.shipped import shipped_ablations

RECIPE = f"""{SMALL_VLT}
data: {{store: tiny.h5, batch_size: 5, workers: 1}}
optim: {{lr: 0.01}}
train: {{epochs: 3, log_every: 1, eval_every: 3, eval_limit: 2}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_store(tmp_path)
    (tmp_path / "small.yaml").write_text(RECIPE)
    return tmp_path


def invoke(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    """Call the command in this process."""
    monkeypatch.chdir(folder)
    return CliRunner().invoke(entry.app, ["train", *arguments, "--device", "cpu"])


def test_trains_is_interrupted_and_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C leaves with 130 and a saved run; `--resume` ends it as if nothing had been."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        whole = invoke(folder, monkeypatch, "small.yaml", "--json")
        data = json.loads(whole.stdout)
        assert data["run"] == "runs/small-1" and data["steps"] == 12 and data["best"]["figure"] == "mIoU"
        assert "learned embeddings over the training vocabulary" in whole.stderr and "step 12/12" in whole.stderr

        command = [
            sys.executable,
            "-m",
            "risctl",
            "train",
            "small.yaml",
            "--device",
            "cpu",
            "--out",
            "other",
            "--resume",
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            seen = ""
            while "step 2/12" not in seen:
                line = process.stderr.readline()
                assert line, seen
                seen += line
            process.send_signal(signal.SIGINT)
            rest = process.communicate(timeout=60)[1]
        assert process.returncode == 130, rest
        assert "saved; go on with: risctl train --resume other" in rest and "Traceback" not in rest
        noted = "risctl train small.yaml --device cpu --out other --resume\n"
        assert (folder / "other/command.txt").read_text() == noted

        resumed = invoke(folder, monkeypatch, "--resume", "other", "--quiet")
        assert resumed.stderr == ""
        assert resumed.stdout.splitlines()[0] == "other" and resumed.stdout.splitlines()[1].startswith("best mIoU ")
    finally:
        torch.set_num_threads(threads)
    for name in ("last.safetensors", "best.safetensors"):
        assert_same_tensors(weights_of(folder / "runs/small-1" / name), weights_of(folder / "other" / name))


def test_dry_run_prints_and_makes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = invoke(folder, monkeypatch, "small.yaml", "data.batch_size=10", "--dry-run", "--json")
    data = json.loads(result.stdout)
    assert data["steps"] == 6 and data["steps_per_epoch"] == 2 and data["paths"]["run"] == "runs/small-1"
    assert data["recipe"]["data"]["batch_size"] == 10 and data["memory_bytes"]["activations"] > 0
    text = invoke(folder, monkeypatch, "small.yaml", "data.store=absent.h5", "--dry-run").stdout
    assert "absent.h5 (missing)" in text and "runs/small-1" in text and f"{data['parameters']:,}" not in text
    assert sorted(path.name for path in folder.iterdir()) == ["small.yaml", "tiny.h5"]


def test_an_ablation_is_trained_by_its_file_and_resumed_without_its_base(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run folder holds the recipe written out, so that it goes on wherever the base is."""
    small = [
        "model.input_size=64", "model.max_words=4", "model.queries=2", "model.hidden=8", "model.heads=2",
        "model.feed_forward=8", "model.fusion_channels=8", "model.head_channels=8", "model.visual={name: small_cnn}",
        "model.text={hidden: 8, dim: 8}", "data.store=tiny.h5", "data.batch_size=5", "data.workers=0",
        "train.epochs=50", "train.max_steps=1", "train.eval_every=null",
    ]  # fmt: skip
    file = shipped_ablations()["vlt-queries-learned"]
    result = invoke(folder, monkeypatch, str(file), *small, "--out", "run", "--quiet")
    assert result.exit_code == 0, result.stderr
    written = (folder / "run/recipe.yaml").read_text()
    assert "query_source: learned" in written and "base:" not in written
    assert any(name.endswith("queries.vectors") for name in weights_of(folder / "run/last.safetensors"))
    result = invoke(folder, monkeypatch, "--resume", "run", "train.max_steps=2", "--quiet")
    assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("smal.yaml",), 3, "neither a recipe file nor a shipped recipe"),
        ((), 2, "name a recipe"),
        (("small.yaml", "--resume"), 2, "give a recipe and --out"),
        (("small.yaml", "optim.lr=-1"), 3, "optim.lr"),
        (("small.yaml", "data.store=absent.h5"), 4, "absent.h5"),
        (("--resume", "nowhere"), 2, "nowhere does not exist"),
        (("small.yaml", "--out", "."), 2, "not empty"),
    ],
)
def test_mistakes_end_in_one_line_and_their_code(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, words: str
) -> None:
    error = invoke(folder, monkeypatch, *arguments).exception
    assert isinstance(error, RisctlError) and error.exit_code == code
    assert words in str(error)
    assert not (folder / "runs").exists()


def test_a_resumed_run_takes_overrides_without_a_recipe(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = invoke(folder, monkeypatch, "small.yaml", "train.epochs=1", "data.workers=0", "--out", "run", "--json")
    assert json.loads(first.stdout)["steps"] == 4
    second = invoke(folder, monkeypatch, "--resume", "run", "train.epochs=2", "--json")
    assert json.loads(second.stdout)["steps"] == 8
    refused = invoke(folder, monkeypatch, "--resume", "run", "optim.lr=0.5").exception
    assert isinstance(refused, UsageError) and "optim.lr differ" in str(refused)
    both = invoke(folder, monkeypatch, "--resume", "run", "--out", "elsewhere").exception
    assert isinstance(both, UsageError) and "--out" in str(both)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_shipped_model_is_fine_tuned_by_its_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    """Only what selects among the boxes changes; the run is one that predicts."""
    write_store(make_scenes(count=10, seed=0), tmp_path / "mine.h5")
    overrides = ["data.store=mine.h5", "data.workers=0", "data.batch_size=2", "train.eval_every=null"]
    overrides += ["train.max_steps=2", "optim.warmup_steps=0", f"train.precision={precision}"]
    result = invoke(tmp_path, monkeypatch, "mini-finetune", *overrides, "--out", "run", "--json")
    assert result.exit_code == 0, result.stderr
    before, after = (load_checkpoint(model).system.state_dict() for model in ("mini", tmp_path / "run"))
    changed = {name for name, value in after.items() if not torch.equal(value.float(), before[name].float())}
    assert changed and all(name.startswith("box_selector.") for name in changed)
