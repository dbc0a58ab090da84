"""What CONTRIBUTING.md says of adding an encoder, a protocol and a subcommand holds, from outside the package.

Systems are in `systems/test_toy_system.py`, datasets in `data/test_toy_dataset.py`, proposal sources in
`zeroshot/test_proposal_sources.py`.
"""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
import torch
import typer
from helpers.small_models import VLT, recipe_of
from torch import Tensor, nn
from typer.testing import CliRunner

from risctl.cli import app as entry
from risctl.core.encoders.base import VisualFeatures
from risctl.core.encoders.visual import registry
from risctl.errors import RecipeError
from risctl.language.vocabulary import Vocabulary
from risctl.metrics.accumulator import Accumulator
from risctl.metrics.protocols import PROTOCOLS, Protocol, get_protocol
from risctl.systems.registry import build_system


class Blur(nn.Module):
    """A visual encoder of one convolution per map."""

    channels, strides = (4, 8, 16), (8, 16, 32)

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.ModuleList(
            nn.Conv2d(3, channels, stride, stride=stride)
            for channels, stride in zip(self.channels, self.strides, strict=True)
        )

    def forward(self, images: Tensor, padding: Tensor) -> VisualFeatures:
        maps = tuple(layer(images) for layer in self.maps)
        return VisualFeatures(maps=maps, strides=self.strides, padding=padding)


def test_an_encoder_is_one_line_of_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = registry.VisualEntry(build=lambda section, wanted: Blur(), strides=Blur.strides)
    monkeypatch.setitem(registry.VISUAL_ENCODERS, "blur", entry)
    recipe = recipe_of({**VLT, "visual": {"name": "blur"}})
    system = build_system(recipe.model, vocabulary=Vocabulary(["cup"])).eval()
    with torch.no_grad():
        visual = system.encode_image(torch.rand(1, 3, 64, 64), torch.zeros(1, 64, 64, dtype=torch.bool))
        words = torch.tensor([[2, 0, 0, 0, 0, 0]])
        assert system.decode(visual, system.encode_text(words, words > 0)).logits.shape == (1, 32, 32)


def test_an_encoder_whose_maps_do_not_fit_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = registry.VisualEntry(build=lambda section, wanted: Blur(), strides=(64,))
    monkeypatch.setitem(registry.VISUAL_ENCODERS, "blur", entry)
    with pytest.raises(RecipeError, match=r"model.visual.name.*one of.*small_cnn"):
        recipe_of({**VLT, "visual": {"name": "blur"}})


def test_a_protocol_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = Protocol(name="half", source="this test", threshold=0.2, precisions=(("Pr@0.25", 0.25),))
    monkeypatch.setitem(PROTOCOLS, "half", protocol)
    accumulator = Accumulator(get_protocol("half"))
    target = np.zeros((4, 4), dtype=bool)
    target[:, :2] = True
    accumulator.add(np.where(target, 0.3, 0.1).astype(np.float32), target, key=0, image_id=0)
    accumulator.add(np.full((4, 4), 0.3, dtype=np.float32), target, key=1, image_id=1)
    figures = accumulator.figures()
    assert figures["mIoU"] == pytest.approx(75) and figures["Pr@0.25"] == pytest.approx(100)


def test_a_subcommand_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("greeting")
    module.app = typer.Typer()  # type: ignore[attr-defined]

    @module.app.command()
    def greet(name: str) -> None:
        """Greet somebody."""
        print(f"hello {name}")

    monkeypatch.setitem(sys.modules, "greeting", module)
    line = entry.Subcommand(module="greeting", help="Greet somebody.", panel=entry.MAINTENANCE)
    monkeypatch.setitem(entry.SUBCOMMANDS, "greet", line)
    assert "Greet somebody." in CliRunner().invoke(entry.app, ["--help"]).output
    assert CliRunner().invoke(entry.app, ["greet", "you"]).output == "hello you\n"
