"""The sources of proposals: one dict, from which the command line opens them and makes its help."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from risctl.errors import UsageError
from risctl.zeroshot.proposals.base import InputImage, Proposals, SourceOptions
from risctl.zeroshot.proposals.sources import SOURCES, SourceEntry, open_source

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_has_a_builder_and_a_line_of_help(name: str) -> None:
    module, _, function = SOURCES[name].build.partition(":")
    assert callable(getattr(import_module(module), function))
    assert SOURCES[name].help and "\n" not in SOURCES[name].help


def test_a_source_is_one_file_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Whole:
        """Proposes the whole image."""

        def __init__(self, options: SourceOptions) -> None:
            self.name = f"the whole image, {options.location}, at most {options.max_count}"

        def __call__(self, image: InputImage) -> Proposals:
            return Proposals(masks=np.ones((1, *image.size), dtype=bool), scores=np.ones(1, dtype=np.float32))

    module = ModuleType("toy_proposals")
    module.build = Whole  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "toy_proposals", module)
    monkeypatch.setitem(SOURCES, "whole", SourceEntry(help="the whole image", build="toy_proposals:build"))
    source = open_source("whole:here", device=CPU, max_count=3)
    assert source.name == "the whole image, here, at most 3"
    assert source(InputImage(pixels=np.zeros((4, 5, 3), dtype=np.uint8))).masks.shape == (1, 4, 5)


def test_an_unknown_source_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'mask2former'"):
        open_source("mask2forme", device=CPU)
    with pytest.raises(UsageError, match="a store only"):
        open_source("gt", device=CPU)
