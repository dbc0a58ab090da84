"""Reads weights-only files of Keras 2 with h5py alone; TensorFlow is not needed."""

from __future__ import annotations

import itertools
from pathlib import Path

import h5py
import numpy as np

from risctl.errors import CheckpointError
from risctl.weights.hdf5_arrays import HDF5Arrays, opened


def read_keras_weights(path: Path) -> dict[str, np.ndarray]:
    """Returns `{"layer/weight name": values}` in the file's order, for instance `conv2d_1/conv2d_1/kernel:0`.

    Raises:
        CheckpointError: The file is missing, damaged or no Keras weights file, or describes more than it can hold.
    """
    weights: dict[str, np.ndarray] = {}
    with opened(path, what="Keras weights") as file:
        # A whole saved model keeps its weights in a group of its own.
        whole = "layer_names" not in file.root.attrs and "model_weights" in file.root
        root = file.find(file.root, "model_weights") if whole else file.root
        for layer in _names(file, root, "layer_names", path):
            group = file.find(root, layer)
            for name in _names(file, group, "weight_names", path):
                weights[f"{layer}/{name}"] = file.numbers(file.find(group, name), dtype=np.float32)
    return weights


def _names(file: HDF5Arrays, group: object, key: str, path: Path) -> list[str]:
    if not isinstance(group, h5py.Group):
        raise CheckpointError(f"{path} is no Keras weights file: a layer in it is no group")
    names = file.names(group, key)
    if names is not None:
        return names
    # Attributes are limited to 64 KB, so Keras splits long lists into key0, key1, …
    numbered = (file.names(group, f"{key}{number}") for number in range(999))
    chunks = [chunk for chunk in itertools.takewhile(lambda one: one is not None, numbered) if chunk is not None]
    if not chunks:
        raise CheckpointError(f"{path} is no Keras weights file: it has no attribute {key!r}")
    return [name for chunk in chunks for name in chunk]
