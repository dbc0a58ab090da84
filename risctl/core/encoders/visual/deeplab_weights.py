"""Reads DeepLab v2's ResNet-101 under Caffe's or TensorFlow's names: the backbone that STEP starts from.

TensorFlow: `res3a_branch2a/weights` (h, w, in, out), `bn3a_branch2a/{gamma, beta, moving_mean, moving_variance}`.
Caffe: `res3a_branch2a/0` (out, in, h, w), `bn3a_branch2a/{0, 1, 2}` (mean and variance, both times a factor, and that
factor), `scale3a_branch2a/{0, 1}`. Blocks are a, b, c in res2 and res5; a, b1, b2, ... in res3 and res4. Names returned
are those of `core.encoders.visual.dilated_resnet.DilatedResNet`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import h5py
import numpy as np
import torch
from safetensors.numpy import load_file
from torch import Tensor

from risctl.core.encoders.visual.dilated_resnet import DilatedResNet
from risctl.errors import CheckpointError
from risctl.weights.caffemodel import read_caffemodel
from risctl.weights.hdf5_arrays import opened
from risctl.weights.npz import read_npz
from risctl.weights.pairing import WeightReader, kernel, tensor
from risctl.weights.tf_checkpoint import is_tf_checkpoint, read_tf_checkpoint

DEPTHS = (3, 4, 23, 3)
CAFFE_EPS = 1e-5
OUR_EPS = 1e-3
_SUFFIXES = (".npz", ".safetensors", ".h5", ".caffemodel")


def read_deeplab(path: Path) -> dict[str, Tensor]:
    """Reads the state dict of the backbone `deeplab_resnet101`; DeepLab's classifier is left out.

    Args:
        path: A TensorFlow checkpoint (the file, its prefix or its `.index`), a `.caffemodel`, or arrays under either's
            names in `.npz`, `.safetensors` or `.h5`.

    Raises:
        CheckpointError: The file is missing, damaged or of another network.
    """
    arrays = _read(path)
    state = _from_caffe(arrays, path) if _is_caffe(arrays) else _from_tensorflow(arrays, path)
    return _checked(state, path)


def layer_names() -> Iterator[tuple[str, str, str]]:
    """Yields (published convolution, our convolution, our norm) of the 104 layers, for instance `res3b1_branch2a`."""
    yield "conv1", "conv1", "bn1"
    for stage, depth in enumerate(DEPTHS, start=1):
        for block in range(depth):
            if block == 0:
                letter = "a"
            elif stage in (2, 3):
                letter = f"b{block}"
            else:
                letter = "abc"[block]
            published, ours = f"res{stage + 1}{letter}_branch", f"layer{stage}.{block}."
            if block == 0:
                yield f"{published}1", f"{ours}downsample.0", f"{ours}downsample.1"
            for number, branch in enumerate("abc", start=1):
                yield f"{published}2{branch}", f"{ours}conv{number}", f"{ours}bn{number}"


def _from_tensorflow(arrays: Mapping[str, np.ndarray], path: Path) -> dict[str, Tensor]:
    reader = _reader(arrays, path, marks=("weights", "gamma", "beta", "moving_mean", "moving_variance"))
    pairs = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    state = {}
    for published, convolution, norm in layer_names():
        state[f"{convolution}.weight"] = kernel(reader.take(f"{published}/weights"))
        for ours, theirs in pairs.items():
            state[f"{norm}.{ours}"] = tensor(reader.take(f"{_norm_of(published, 'bn')}/{theirs}"))
    reader.finish()
    state["conv1.weight"] = _from_bgr(state["conv1.weight"])
    return state


def _from_caffe(arrays: Mapping[str, np.ndarray], path: Path) -> dict[str, Tensor]:
    reader = _reader(arrays, path, marks=("0", "1", "2"))
    state = {}
    for published, convolution, norm in layer_names():
        state[f"{convolution}.weight"] = tensor(reader.take(f"{published}/0"))
        statistics, scale = _norm_of(published, "bn"), _norm_of(published, "scale")
        mean, variance, factor = (reader.take(f"{statistics}/{number}") for number in range(3))
        share = float(factor.reshape(-1)[0]) if factor.size else 0.0
        share = 1 / share if share else 0.0
        state[f"{norm}.running_mean"] = tensor(mean * share)
        # Caffe divides by sqrt(variance + 1e-5), our norms by sqrt(variance + 1e-3): corrected here.
        state[f"{norm}.running_var"] = tensor(variance * share + (CAFFE_EPS - OUR_EPS))
        state[f"{norm}.weight"] = tensor(reader.take(f"{scale}/0"))
        state[f"{norm}.bias"] = tensor(reader.take(f"{scale}/1"))
    reader.finish()
    state["conv1.weight"] = _from_bgr(state["conv1.weight"])
    return state


def _reader(arrays: Mapping[str, np.ndarray], path: Path, *, marks: tuple[str, ...]) -> WeightReader:
    """Returns the backbone's arrays without the prefix of their names (`model/`, `data/`), and no others.

    Others are the classifier (`fc1_voc12_c0`), counters, and the states of optimizers (`conv1/weights/Momentum`).
    """
    first = next((name for name in arrays if name.endswith(("/conv1/weights", "/conv1/0"))), "conv1/")
    prefix = first[: -len("/".join(first.split("/")[-2:]))] if first != "conv1/" else ""
    own = {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}
    layers = {layer for published, _, _ in layer_names() for layer in _layers_of(published)}
    kept = {
        name: values
        for name, values in own.items()
        if name.count("/") == 1 and name.split("/")[0] in layers and name.split("/")[1] in marks
    }
    # Caffe's first convolution has a bias, which is zero.
    kept.pop("conv1/1", None)
    return WeightReader(kept, source=path)


def _layers_of(published: str) -> tuple[str, str, str]:
    return published, _norm_of(published, "bn"), _norm_of(published, "scale")


def _norm_of(published: str, kind: str) -> str:
    """Returns the norm that follows a convolution: `bn_conv1`, `bn3a_branch2a`, `scale3a_branch2a`."""
    return f"{kind}_conv1" if published == "conv1" else f"{kind}{published.removeprefix('res')}"


def _is_caffe(arrays: Mapping[str, np.ndarray]) -> bool:
    return any(name == "conv1/0" or name.endswith("/conv1/0") for name in arrays)


def _from_bgr(weight: Tensor) -> Tensor:
    """Converts a kernel over BGR to one over RGB; scalars pass through, to be refused later."""
    return weight.flip(1).contiguous() if weight.ndim == 4 else weight


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        if path.suffix == ".npz" and path.is_file():
            return read_npz(path, what="arrays of DeepLab")
        if path.suffix == ".safetensors" and path.is_file():
            return load_file(path)
        if path.suffix == ".h5" and path.is_file():
            return _read_h5(path)
        if path.suffix == ".caffemodel" and path.is_file():
            return read_caffemodel(path)
    except CheckpointError:
        raise
    except Exception as error:  # on damaged bytes the readers raise nearly anything
        raise CheckpointError(f"{path} cannot be read as arrays: {error}") from error
    if is_tf_checkpoint(path):
        return read_tf_checkpoint(path)
    if not path.exists():
        raise CheckpointError(f"expected DeepLab's weights at {path}, found no file")
    hint = "; of a pickled .npy, write its arrays to an .npz" if path.suffix == ".npy" else ""
    raise CheckpointError(
        f"expected a TensorFlow checkpoint or a file that ends in {', '.join(_SUFFIXES)}, got {path}{hint}"
    )


def _read_h5(path: Path) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}

    with opened(path, what="arrays of DeepLab") as file:

        def keep(name: str, found: object) -> None:
            if isinstance(found, h5py.Dataset) and found.dtype.kind in "fiu":
                arrays[name] = file.numbers(found)

        file.root.visititems(keep)
    return arrays


def _checked(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    with torch.device("meta"):
        own = DilatedResNet("deeplab_resnet101").state_dict()
    for name, values in state.items():
        if values.shape != own[name].shape:
            raise CheckpointError(
                f"{path} is not a DeepLab ResNet-101: {name} is {tuple(values.shape)}, "
                f"expected {tuple(own[name].shape)}"
            )
        lowest = -OUR_EPS if name.endswith("running_var") else -float("inf")
        if not values.isfinite().all() or values.min() < lowest:
            raise CheckpointError(f"{path} is damaged or not a DeepLab ResNet-101: {name} holds impossible numbers")
    return state
