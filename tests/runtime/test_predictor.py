"""Predicting with graphs, in a process that cannot import torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from risctl.errors import CheckpointError, UsageError
from risctl.runtime.predictor import OnnxPredictor

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from helpers.exported_folder import write_exported


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_exported(tmp_path_factory.mktemp("exported") / "bright.onnx")


def picture() -> np.ndarray:
    image = np.zeros((40, 60, 3), dtype=np.uint8)
    image[10:30, 20:40] = 255
    return image


def test_a_mask_has_the_size_of_the_image(folder: Path) -> None:
    predictor = OnnxPredictor(folder, threads=1)
    first, second = predictor.predict(picture(), ["the bright part", "part"])
    assert first.mask.shape == (40, 60) and first.matched and first.score > 0.9
    assert first.mask[20, 30] and not first.mask[5, 5] and 300 < first.mask.sum() < 500
    assert np.array_equal(first.mask, second.mask)
    assert first.box is not None and abs(first.box[0] - 20) <= 1
    [again] = predictor.predict_texts("the bright part")
    assert np.array_equal(again.probability, first.probability)
    assert "bright (by-hand)" in predictor.describe()


def test_a_low_score_means_no_match(folder: Path) -> None:
    dark = picture() // 4
    [found] = OnnxPredictor(folder, threads=1).predict(dark, "part")
    assert not found.matched and not found.mask.any() and found.box is None
    [found] = OnnxPredictor(folder, threads=1, no_target_threshold=0.0).predict(dark, "part")
    assert found.matched


def test_wrong_calls_are_refused(folder: Path, tmp_path: Path) -> None:
    predictor = OnnxPredictor(folder, threads=1)
    with pytest.raises(UsageError, match="no image is set"):
        predictor.predict_texts("part")
    with pytest.raises(UsageError, match="at least one phrase"):
        predictor.predict(picture(), [])
    with pytest.raises(UsageError, match=r"\[0, 1\)"):
        OnnxPredictor(folder, threshold=1.0)
    with pytest.raises(UsageError, match="does not prepare"):
        OnnxPredictor(write_exported(tmp_path / "other", image={"kind": "Other", "size": 8}))
    with pytest.raises(UsageError, match="--format onnx"):
        OnnxPredictor(write_exported(tmp_path / "pt2", graph_format="pt2"))


def test_another_graph_than_was_exported_is_refused(tmp_path: Path) -> None:
    folder = write_exported(tmp_path / "model")
    (folder / "encode.onnx").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="differs from its digest"):
        OnnxPredictor(folder, threads=1).set_image(picture())


def test_the_command_answers_without_torch(folder: Path, tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "photo.png")
    code = (
        "import sys\n"
        "for name in ('torch', 'torchvision', 'transformers', 'scipy', 'h5py'):\n"
        "    sys.modules[name] = None\n"
        "from risctl.cli.app import main\n"
        "sys.argv = ['risctl', *sys.argv[1:]]\n"
        "main()\n"
    )
    words = ["predict", str(tmp_path / "photo.png"), "the bright part", "--model", str(folder), "--json", "--quiet"]
    run = subprocess.run(
        [sys.executable, "-c", code, *words, "--out", str(tmp_path / "out")], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    [record] = json.loads(run.stdout)
    assert record["matched"] and 300 < record["area"] < 500
    assert np.asarray(Image.open(record["mask"])).shape == (40, 60)
