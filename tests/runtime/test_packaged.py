"""The graphs of mini that the package ships: made from its weights, and equal to it."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from risctl.checkpoints.loaded_model import SHIPPED
from risctl.errors import CheckpointError
from risctl.inference.predictor import Predictor
from risctl.runtime.manifest import MANIFEST, read_manifest
from risctl.runtime.packaged import mini_folder
from risctl.runtime.predictor import OnnxPredictor
from risctl.vision.images import read_image

pytest.importorskip("onnxruntime")
COFFEE = Path(__file__).resolve().parents[2] / "docs" / "pictures" / "coffee.jpg"
PHRASES = ["the cup", "the spoon on the left", "a red bus"]


def folder() -> Path:
    found = mini_folder()
    assert found is not None
    return found


def test_graphs_and_weights_belong_together() -> None:
    manifest = read_manifest(folder())
    assert manifest.weights is not None and manifest.weights_path == SHIPPED
    assert manifest.weights.sha256 == hashlib.sha256(SHIPPED.read_bytes()).hexdigest(), (
        "mini.safetensors has changed; run `python tools/ship_mini_graph.py`"
    )
    for name in manifest.digest:
        manifest.checked(name)
    assert manifest.header["max_error"] < 1e-2
    # The weights stand in the package once.
    assert sum(file.stat().st_size for file in folder().iterdir()) < 1_500_000


def test_it_answers_as_torch_does() -> None:
    pixels = read_image(COFFEE)
    ours = OnnxPredictor(folder(), threads=1).predict(pixels, PHRASES)
    theirs = Predictor.load("mini", device="cpu").predict(pixels, PHRASES)
    assert any(one.mask.any() for one in ours)
    for one, other in zip(ours, theirs, strict=True):
        assert one.matched == other.matched and one.threshold == other.threshold
        assert np.mean(one.mask == other.mask) >= 0.999
        assert abs(one.score - other.score) < 1e-3


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    copy = tmp_path / "graphs"
    shutil.copytree(folder(), copy)
    (tmp_path / SHIPPED.name).write_bytes(b"other weights")
    with pytest.raises(CheckpointError, match="made from other weights"):
        OnnxPredictor(copy, threads=1).predict(read_image(COFFEE), "the cup")
    (tmp_path / SHIPPED.name).unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        OnnxPredictor(copy, threads=1).predict(read_image(COFFEE), "the cup")
    header = json.loads((copy / MANIFEST).read_text(encoding="utf-8"))
    header["weights"]["file"] = "../weights"
    (copy / MANIFEST).write_text(json.dumps(header))
    with pytest.raises(CheckpointError, match="damaged"):
        read_manifest(copy)
