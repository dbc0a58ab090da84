"""Keras weights files: what is read, and what is refused."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from risctl.errors import CheckpointError
from risctl.weights.keras_h5 import read_keras_weights


def write(path: Path, layers: dict[str, dict[str, np.ndarray]], *, split: bool = False, inside: str = "") -> None:
    """Write `{layer: {weight: values}}` as Keras does; split: the list of layers in chunks; inside: a group."""
    with h5py.File(path, "w") as file:
        root = file.create_group(inside) if inside else file
        names = [layer.encode() for layer in layers]
        if split:
            root.attrs["layer_names0"], root.attrs["layer_names1"] = names[:1], names[1:]
        else:
            root.attrs["layer_names"] = names
        for layer, weights in layers.items():
            group = root.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in weights]
            for name, values in weights.items():
                group.create_dataset(name, data=values)


LAYERS = {
    "conv2d_1": {"conv2d_1/kernel:0": np.arange(6.0).reshape(2, 3)},
    "relu": {},
    "X": {"X/X_Wq:0": np.ones((1, 2), np.float64)},
}


@pytest.mark.parametrize("options", [{}, {"split": True}, {"inside": "model_weights"}])
def test_names_in_order_and_float32(tmp_path: Path, options: dict) -> None:
    write(tmp_path / "w.h5", LAYERS, **options)
    weights = read_keras_weights(tmp_path / "w.h5")
    assert list(weights) == ["conv2d_1/conv2d_1/kernel:0", "X/X/X_Wq:0"]
    assert all(values.dtype == np.float32 for values in weights.values())
    assert weights["conv2d_1/conv2d_1/kernel:0"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_what_is_no_keras_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="found no file"):
        read_keras_weights(tmp_path / "absent.h5")
    (tmp_path / "text.h5").write_text("no h5")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_keras_weights(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = np.zeros(3)
    with pytest.raises(CheckpointError, match="layer_names"):
        read_keras_weights(tmp_path / "other.h5")
    write(tmp_path / "strings.h5", {"a": {"a:0": np.array([b"x"])}})
    with pytest.raises(CheckpointError, match="no numbers"):
        read_keras_weights(tmp_path / "strings.h5")
    write(tmp_path / "cut.h5", LAYERS)
    data = (tmp_path / "cut.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_keras_weights(tmp_path / "cut.h5")
    with h5py.File(tmp_path / "lost.h5", "w") as file:
        file.attrs["layer_names"] = [b"gone"]
    with pytest.raises(CheckpointError, match="gone"):
        read_keras_weights(tmp_path / "lost.h5")
