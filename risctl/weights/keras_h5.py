"""Reads weights-only files of Keras 2 with h5py alone; TensorFlow is not needed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from risctl.errors import CheckpointError


def read_keras_weights(path: Path) -> dict[str, np.ndarray]:
    """Returns `{"layer/weight name": values}` in the file's order, for instance `conv2d_1/conv2d_1/kernel:0`.

    Raises:
        CheckpointError: The file is missing, damaged or no Keras weights file.
    """
    if not path.is_file():
        raise CheckpointError(f"expected Keras weights at {path}, found no file")
    weights: dict[str, np.ndarray] = {}
    try:
        with h5py.File(path, "r") as file:
            # A whole saved model keeps its weights in a group of its own.
            root = file["model_weights"] if "layer_names" not in file.attrs and "model_weights" in file else file
            for layer in _names(root.attrs, "layer_names", path):
                group = root[layer]
                for name in _names(group.attrs, "weight_names", path):
                    weights[f"{layer}/{name}"] = _numbers(group[name], path)
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as Keras weights: {error}") from error
    return weights


def _names(attributes: Mapping, key: str, path: Path) -> list[str]:
    if key in attributes:
        chunks = [attributes[key]]
    else:
        # Attributes are limited to 64 KB, so Keras splits long lists into key0, key1, …
        chunks = [attributes[f"{key}{n}"] for n in itertools.takewhile(lambda n: f"{key}{n}" in attributes, range(999))]
    if not chunks:
        raise CheckpointError(f"{path} is no Keras weights file: it has no attribute {key!r}")
    return [name.decode() if isinstance(name, bytes) else str(name) for chunk in chunks for name in chunk]


def _numbers(dataset: h5py.Dataset, path: Path) -> np.ndarray:
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "fiu":
        raise CheckpointError(f"{path} is no Keras weights file: {getattr(dataset, 'name', dataset)} holds no numbers")
    return np.asarray(dataset[()], dtype=np.float32)
