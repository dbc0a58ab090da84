"""Darknet-53 from Darknet's binary file and from Keras: order, layout, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.published_vlt import darknet_convolutions, vlt_shapes, write_h5

from risctl.core.encoders.visual.darknet53 import Darknet53
from risctl.core.encoders.visual.darknet53_weights import block_names, read_darknet53
from risctl.errors import CheckpointError

COUNT = sum(kernel * kernel * inputs * outputs + 4 * outputs for kernel, inputs, outputs in darknet_convolutions())


def write_binary(path: Path, numbers: np.ndarray, *, version: tuple[int, int, int] = (0, 2, 0)) -> None:
    """Write Darknet's header and `numbers`."""
    with path.open("wb") as file:
        np.array(version, dtype="<i4").tofile(file)
        file.write(bytes(8 if version[0] * 10 + version[1] >= 2 else 4))
        numbers.astype("<f4").tofile(file)


def test_binary_is_read_block_by_block(tmp_path: Path) -> None:
    numbers = np.arange(COUNT + 100, dtype=np.float32) % 65_536
    write_binary(tmp_path / "yolov3.weights", numbers)
    state = read_darknet53(tmp_path / "yolov3.weights")
    at = 0
    for name, (kernel, inputs, outputs) in zip(block_names(), darknet_convolutions(), strict=True):
        for leaf in ("bias", "weight", "running_mean", "running_var"):
            assert np.array_equal(state[f"{name}.norm.{leaf}"].numpy(), numbers[at : at + outputs])
            at += outputs
        weight = state[f"{name}.conv.weight"]
        assert weight.shape == (outputs, inputs, kernel, kernel)
        assert np.array_equal(weight.flatten().numpy(), numbers[at : at + weight.numel()])
        at += weight.numel()
    assert at == COUNT


def test_old_files_have_a_shorter_header(tmp_path: Path) -> None:
    numbers = np.zeros(COUNT, dtype=np.float32)
    numbers[:32] = range(32)
    write_binary(tmp_path / "old.weights", numbers, version=(0, 1, 0))
    assert read_darknet53(tmp_path / "old.weights")["stem.norm.bias"].tolist() == list(range(32))


def test_keras_is_read_by_number_and_the_rest_is_left(tmp_path: Path) -> None:
    shapes = vlt_shapes(text=8, hidden=16, cells=16)
    names = {"conv2d_1/conv2d_1/kernel:0": 0.5, "conv2d_58/conv2d_58/kernel:0": 0.25}
    norms = {"batch_normalization_58/batch_normalization_58/moving_variance:0": 2.0}
    write_h5(tmp_path / "yolov3.h5", shapes, constants=names | norms)
    state = read_darknet53(tmp_path / "yolov3.h5")
    assert set(state) == {key for key in Darknet53().state_dict() if not key.endswith("num_batches_tracked")}
    assert (state["stem.conv.weight"] == 0.5).all()
    assert state["stem.conv.weight"].shape == (32, 3, 3, 3)
    assert (state["head.5.conv.weight"] == 0.25).all()
    assert (state["head.5.norm.running_var"] == 2).all()
    assert state["head.5.norm.bias"] == pytest.approx(torch.full((1024,), 0.01))


def test_what_is_no_darknet53_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.weights"
    with pytest.raises(CheckpointError, match="found no file"):
        read_darknet53(path)
    path.write_bytes(b"short")
    with pytest.raises(CheckpointError, match="5 bytes"):
        read_darknet53(path)
    path.write_bytes(b"this is some text, no weights" * 10)
    with pytest.raises(CheckpointError, match="version"):
        read_darknet53(path)
    write_binary(path, np.zeros(5000))
    with pytest.raises(CheckpointError, match="ends early"):
        read_darknet53(path)
    shapes = {name: shape for name, shape in vlt_shapes(text=8, hidden=16, cells=16).items() if "conv2d_7/" not in name}
    write_h5(tmp_path / "lacking.h5", shapes)
    with pytest.raises(CheckpointError, match="conv2d_7/conv2d_7/kernel:0"):
        read_darknet53(tmp_path / "lacking.h5")


def test_a_binary_with_negative_variances_is_refused(tmp_path: Path) -> None:
    write_binary(tmp_path / "other.weights", np.full(COUNT, -1, dtype=np.float32))
    with pytest.raises(CheckpointError, match="impossible numbers"):
        read_darknet53(tmp_path / "other.weights")
