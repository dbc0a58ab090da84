"""Averages of checkpoints: the mean of the weights, of one model only."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.command_line import Run
from helpers.small_models import VLT, recipe_of

from risctl.checkpoints.averaging import average_checkpoints
from risctl.checkpoints.checkpoint import save_checkpoint
from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.errors import UsageError
from risctl.language.vocabulary import Vocabulary
from risctl.systems.registry import build_system

WORDS = ("red", "box")


def saved(path: Path, *, value: float, words: tuple[str, ...] = WORDS, **model: object) -> Path:
    """Save a small VLT whose last bias is `value` and whose first layer is as built."""
    recipe = recipe_of(VLT | model)
    vocabulary = Vocabulary(words)
    torch.manual_seed(0)
    system = build_system(recipe.model, vocabulary=vocabulary, pretrained=False)
    parameters = list(system.parameters())
    with torch.no_grad():
        parameters[-1].fill_(value)
    save_checkpoint(path, system=system, recipe=recipe, vocabulary=vocabulary, extra={"step": 5})
    return path


def test_the_mean_of_the_weights(tmp_path: Path, risctl: Run) -> None:
    first, second, third = (saved(tmp_path / f"{value}.safetensors", value=value) for value in (0.0, 1.0, 4.0))
    ran = risctl("checkpoints", "average", first, second, third, "--out", "mean.safetensors")
    assert (ran.code, ran.out) == (0, "mean.safetensors\n"), ran.err
    mean, own = load_checkpoint("mean.safetensors"), load_checkpoint(first)
    *same, last = zip(mean.system.parameters(), own.system.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in same)
    assert torch.allclose(last[0], torch.tensor(5 / 3))
    assert "step" not in mean.header and mean.header["averaged"][1]["file"] == "1.0.safetensors"
    ran = risctl("checkpoints", "average", first, third, "--weights", "3,1", "--out", "uneven.safetensors")
    uneven = list(load_checkpoint("uneven.safetensors").system.parameters())[-1]
    assert ran.code == 0 and torch.allclose(uneven, torch.ones(()))
    ran = risctl("checkpoints", "average", first, third, "--out", "uneven.safetensors")
    assert ran.code != 0 and "--overwrite" in ran.err
    ran = risctl("checkpoints", "average", first, third, "--out", first, "--overwrite")
    assert ran.code != 0 and load_checkpoint(first).header["step"] == 5


def test_other_models_are_refused_in_one_line(tmp_path: Path, risctl: Run) -> None:
    first = saved(tmp_path / "first.safetensors", value=0.0)
    wide = saved(tmp_path / "wide.safetensors", value=0.0, hidden=16)
    told = saved(tmp_path / "told.safetensors", value=0.0, words=("blue", "box"))
    for other, what in ((wide, "their recipes differ in model.hidden"), (told, "they have different words")):
        ran = risctl("checkpoints", "average", first, other, "--out", "mean.safetensors")
        assert ran.code == 6 and what in ran.err and ran.err.count("\n") == 1
        assert not Path("mean.safetensors").exists()


def test_shares_fit_the_checkpoints(tmp_path: Path) -> None:
    first = saved(tmp_path / "first.safetensors", value=0.0)
    for shares in ([1.0], [0.0, 0.0], [1.0, -0.5], [1.0, float("nan")]):
        with pytest.raises(UsageError, match="share"):
            average_checkpoints([first, first], out=tmp_path / "mean.safetensors", shares=shares)
    with pytest.raises(UsageError, match="two checkpoints or more"):
        average_checkpoints([first], out=tmp_path / "mean.safetensors")
