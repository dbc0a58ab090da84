"""DeepLab's backbone from TensorFlow's and from Caffe's names: the same network, whichever it comes from."""

from __future__ import annotations

import struct
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from risctl.checkpoints.import_backbone import import_deeplab
from risctl.core.encoders.load_weights import load_backbone
from risctl.core.encoders.visual.deeplab_weights import layer_names, read_deeplab
from risctl.core.encoders.visual.dilated_resnet import DilatedResNet
from risctl.errors import CheckpointError

Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def shapes() -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {name: tuple(one.shape) for name, one in DilatedResNet("deeplab_resnet101").state_dict().items()}


def norm_name(layer: str, kind: str) -> str:
    return f"{kind}_conv1" if layer == "conv1" else f"{kind}{layer[3:]}"


@pytest.fixture(scope="module")
def tensorflow(shapes: dict[str, tuple[int, ...]]) -> Arrays:
    """The published names with numbers that tell layers and axes apart."""
    generator = np.random.default_rng(0)
    arrays: Arrays = {}
    for number, (layer, convolution, norm) in enumerate(layer_names()):
        outputs, inputs, height, width = shapes[f"{convolution}.weight"]
        line = generator.standard_normal((1, 1, inputs, 1)) + generator.standard_normal((1, 1, 1, outputs))
        kernel = (line + np.arange(height * width).reshape(height, width, 1, 1)) / (inputs * 10)
        arrays[f"{layer}/weights"] = kernel.astype(np.float32)
        own = norm_name(layer, "bn")
        for leaf, low in (("gamma", 0.5), ("beta", -0.1), ("moving_mean", 0.0), ("moving_variance", 0.5)):
            values = generator.uniform(low, low + 1, shapes[f"{norm}.weight"]) + number / 1000
            arrays[f"{own}/{leaf}"] = values.astype(np.float32)
    arrays["fc1_voc12_c0/weights"] = np.zeros((3, 3, 8, 21), np.float32)
    arrays["conv1/weights/Momentum"] = np.zeros((7, 7, 3, 64), np.float32)
    return arrays


def in_caffe(arrays: Arrays) -> Arrays:
    """The same network as Caffe keeps it: statistics times a factor, an epsilon of 1e-5, kernels (out, in, h, w)."""
    found: Arrays = {}
    for layer, _, _ in layer_names():
        found[f"{layer}/0"] = np.ascontiguousarray(arrays[f"{layer}/weights"].transpose(3, 2, 0, 1))
        own = norm_name(layer, "bn")
        found[f"{own}/0"] = arrays[f"{own}/moving_mean"] * 4
        found[f"{own}/1"] = (arrays[f"{own}/moving_variance"] + np.float32(1e-3 - 1e-5)) * 4
        found[f"{own}/2"] = np.array([4.0], np.float32)
        found[f"{norm_name(layer, 'scale')}/0"] = arrays[f"{own}/gamma"]
        found[f"{norm_name(layer, 'scale')}/1"] = arrays[f"{own}/beta"]
    found["conv1/1"] = np.zeros(64, np.float32)
    found["fc1_voc12_c0/0"] = np.zeros((21, 8, 3, 3), np.float32)
    return found


def varint(number: int) -> bytes:
    head = bytes([number & 0x7F | (0x80 if number > 0x7F else 0)])
    return head + (varint(number >> 7) if number > 0x7F else b"")


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def write_caffemodel(path: Path, arrays: Arrays) -> None:
    """Write a NetParameter, by caffe.proto."""
    layers: dict[str, bytes] = {}
    for name, values in arrays.items():
        shape = field(7, field(1, b"".join(varint(size) for size in values.shape)))
        blob = field(7, shape + field(5, values.astype("<f4").tobytes()))
        layers[name.rpartition("/")[0]] = layers.get(name.rpartition("/")[0], b"") + blob
    path.write_bytes(
        field(1, b"net") + b"".join(field(100, field(1, name.encode()) + rest) for name, rest in layers.items())
    )


@pytest.fixture(scope="module")
def state(tensorflow: Arrays, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    path = tmp_path_factory.mktemp("deeplab") / "backbone.safetensors"
    save_file({f"model/{name}": values for name, values in tensorflow.items()}, path)
    return read_deeplab(path)


def test_tensorflow_names(
    state: dict[str, torch.Tensor], tensorflow: Arrays, shapes: dict[str, tuple[int, ...]]
) -> None:
    assert {name: tuple(one.shape) for name, one in state.items()} == {
        name: shape for name, shape in shapes.items() if not name.endswith("num_batches_tracked")
    }
    first = tensorflow["conv1/weights"].transpose(3, 2, 0, 1)
    assert np.array_equal(state["conv1.weight"].numpy(), first[:, ::-1])  # blue first there, red first here
    for ours, theirs in (
        ("layer2.0.conv1", "res3a_branch2a"),
        ("layer2.0.downsample.0", "res3a_branch1"),
        ("layer3.22.conv2", "res4b22_branch2b"),
        ("layer4.2.conv3", "res5c_branch2c"),
    ):
        assert np.array_equal(state[f"{ours}.weight"].numpy(), tensorflow[f"{theirs}/weights"].transpose(3, 2, 0, 1))
    assert np.array_equal(state["layer2.3.bn1.running_var"].numpy(), tensorflow["bn3b3_branch2a/moving_variance"])


@pytest.mark.parametrize("form", ["npz", "caffemodel", "h5"])
def test_caffe_names_give_the_same_network(
    state: dict[str, torch.Tensor], tensorflow: Arrays, tmp_path: Path, form: str
) -> None:
    arrays, path = in_caffe(tensorflow), tmp_path / f"backbone.{form}"
    if form == "npz":
        np.savez(path, **tensorflow)
    elif form == "caffemodel":
        write_caffemodel(path, arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, values in arrays.items():
                file[f"data/{name}"] = values
    found = read_deeplab(path)
    assert found.keys() == state.keys()
    assert all(torch.allclose(found[name], state[name], atol=1e-6) for name in state)


def test_the_imported_file_fills_the_backbone(tensorflow: Arrays, tmp_path: Path) -> None:
    np.savez(tmp_path / "backbone.npz", **tensorflow)
    count = import_deeplab(tmp_path / "backbone.npz", tmp_path / "backbone.safetensors")
    backbone = DilatedResNet("deeplab_resnet101", depth=3)
    load_backbone(backbone, "deeplab_resnet101", str(tmp_path / "backbone.safetensors"), ignored=("layer3.", "layer4."))
    assert count == 42_605_504
    assert np.array_equal(backbone.bn1.weight.detach().numpy(), tensorflow["bn_conv1/gamma"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda arrays: arrays.pop("res4b7_branch2b/weights"), r"1 missing \(res4b7_branch2b/weights"),
        (lambda arrays: arrays.clear(), "missing"),
        (lambda arrays: arrays.update({"conv1/weights": np.zeros((3, 3, 3, 64), np.float32)}), "conv1.weight is"),
        (lambda arrays: arrays["bn_conv1/moving_variance"].__setitem__(3, -1.0), "impossible numbers"),
    ],
)
def test_other_networks_are_refused(tensorflow: Arrays, tmp_path: Path, change: object, says: str) -> None:
    arrays = {name: values.copy() if "bn_conv1" in name else values for name, values in tensorflow.items()}
    change(arrays)
    save_file(arrays or {"x": np.zeros(1, np.float32)}, tmp_path / "backbone.safetensors")
    with pytest.raises(CheckpointError, match=says):
        read_deeplab(tmp_path / "backbone.safetensors")


@pytest.mark.parametrize("name", ["absent.ckpt", "backbone.npy", "backbone.npz", "backbone.caffemodel", "backbone.h5"])
def test_an_unreadable_file_is_refused(tmp_path: Path, name: str) -> None:
    if not name.startswith("absent"):
        (tmp_path / name).write_bytes(struct.pack("<16I", *range(16)))
    with pytest.raises(CheckpointError, match=r"found no file|cannot be read|expected a TensorFlow|holds no layer"):
        read_deeplab(tmp_path / name)


def test_same_padding_and_strides_are_those_of_the_published_network() -> None:
    """Of an even side, the first convolution begins two pixels before the image, the pooling at it, 1x1 strides at 0.

    The features F1 to F5 of a random network were compared with TensorFlow's own: 2e-6 of the largest value apart.
    """
    backbone = DilatedResNet("deeplab_resnet101", depth=3).eval()
    with torch.no_grad():
        backbone.conv1.weight.zero_()[:, :, 2, 2] = 1  # now it reads pixel 2i of each channel
        backbone.mean.zero_()
        backbone.deviation.fill_(1.0)
        images = torch.arange(64, dtype=torch.float32)[None, None, None, :].expand(1, 3, 64, 64)
        maps = backbone(images, torch.zeros(1, 64, 64, dtype=torch.bool)).maps
    peaks = [3 * 2 * min(2 * cell + 2, 31) for cell in range(16)]  # the largest of columns 2i, 2i + 1, 2i + 2
    assert torch.allclose(maps[0][0, 0, 8], torch.tensor(peaks, dtype=torch.float32), rtol=1e-3)
    assert backbone.layer2[0].conv1.stride == backbone.layer2[0].downsample[0].stride == (2, 2)
    assert backbone.layer2[0].conv2.stride == (1, 1)
