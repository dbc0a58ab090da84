"""`risctl visualize steps`: a sheet of a small STEP, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from risctl.cli.app import main
from risctl.engine.checkpoint import save_checkpoint
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.load import load_recipe
from risctl.systems.build import build_system

SMALL = [
    "model.input_size=64",
    "model.folds=2",
    "model.filters=4",
    "model.attention=8",
    "model.embedding=8",
    "model.context_channels=8",
    "model.text={hidden: 8, dim: 8}",
    'model.visual={name: "small_cnn"}',
]


@pytest.fixture(scope="module", params=["square", "longest"])
def step(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a very small, untrained STEP."""
    recipe = load_recipe("step-scenes", [*SMALL, f"model.input_fit={request.param}"])
    vocabulary = Vocabulary.from_texts(["the red cup on the left"])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        system = build_system(recipe.model, vocabulary=vocabulary)
    run = tmp_path_factory.mktemp("step")
    save_checkpoint(run / "best.safetensors", system=system, recipe=recipe, vocabulary=vocabulary)
    return run


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 90, 3), dtype=np.uint8)).save(path)
    return path


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["risctl", "visualize", "steps", *map(str, arguments)])
    try:
        main()
    except SystemExit as left:
        return int(left.code or 0)
    return 0


def test_a_sheet_is_written(
    step: Path,
    picture: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, picture, "the red cup", "--model", step, "--device", "cpu", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["sheet"] == "photo.steps.png"
    with Image.open(tmp_path / "photo.steps.png") as sheet:
        assert sheet.format == "PNG"
        assert sheet.width > 1000
    assert [(one["step"], one["level"]) for one in told["steps"]] == list(enumerate([1, 2, 3, 4, 5] * 2, start=1))
    for one in told["steps"]:
        assert list(one["words"]) == ["1 the", "2 red", "3 cup"]
        assert sum(one["words"].values()) == pytest.approx(1, abs=1e-4)


def test_other_systems_have_no_steps(
    tiny_checkpoint: Path, picture: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, picture, "the red cup", "--model", tiny_checkpoint, "--out", picture.parent / "a.png") == 2
    assert "expected a STEP" in capsys.readouterr().err
    assert not (picture.parent / "a.png").exists()


@pytest.mark.parametrize(
    ("text", "out", "code", "says"),
    [
        ("the cup", "a.gif", 2, "ends in .png"),
        ("the cup", "absent/a.png", 2, "cannot write"),
        ("  ", "a.png", 2, "at least one word"),
    ],
)
def test_refused(
    step: Path,
    picture: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str,
    out: str,
    code: int,
    says: str,
) -> None:
    assert call(monkeypatch, picture, text, "--model", step, "--out", picture.parent / out, "--quiet") == code
    assert says in capsys.readouterr().err
