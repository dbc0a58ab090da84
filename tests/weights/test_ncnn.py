"""Networks in ncnn's format: what is read, and which files are refused."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from risctl.errors import CheckpointError
from risctl.weights.ncnn import read_ncnn

FLOAT16 = struct.pack("<I", 0x01306B47)
INPUT = "Input in 0 1 data 0=8"
CONVOLUTION = "Convolution c 1 1 data a 0=2 1=1 5=1 6=6 -23310=1,1.000000e-01 9=2"
DEPTHWISE = "ConvolutionDepthWise d 1 1 a out 0=1 1=3 11=1 6=3 7=1"


def network(folder: Path, *lines: str, weights: bytes, layers: int | None = None) -> Path:
    """Writes a network of `lines` with `weights` and returns its .param file."""
    count = len(lines) if layers is None else layers
    path = folder / "net.param"
    path.write_text("\n".join(["7767517", f"{count} 3", *lines]) + "\n", encoding="ascii")
    path.with_suffix(".bin").write_bytes(weights)
    return path


def numbers(*values: float, kind: str = "<f4") -> bytes:
    return np.array(values, dtype=kind).tobytes()


def test_kernels_and_biases_in_both_types(tmp_path: Path) -> None:
    half = FLOAT16 + numbers(1, 2, 3, 4, 5, 6, kind="<f2") + numbers(0.25, 0.5)
    single = bytes(4) + numbers(7, 8, 9)
    entry, first, second = read_ncnn(network(tmp_path, INPUT, CONVOLUTION, DEPTHWISE, weights=half + single))
    assert (entry.kind, entry.outputs, entry.kernel) == ("Input", ("data",), None)
    assert first.kernel is not None and first.bias is not None
    assert (first.name, first.inputs, first.outputs) == ("c", ("data",), ("a",))
    assert first.kernel.shape == (2, 3, 1, 1) and first.kernel.flatten().tolist() == [1, 2, 3, 4, 5, 6]
    assert first.bias.tolist() == [0.25, 0.5]
    assert second.kernel is not None and second.bias is None
    assert second.kernel.tolist() == [[[[7, 8, 9]]]]


def test_float16_is_filled_up_to_four_bytes(tmp_path: Path) -> None:
    weights = FLOAT16 + numbers(1, 2, 3, kind="<f2") + bytes(2)
    (layer,) = read_ncnn(network(tmp_path, DEPTHWISE, weights=weights))
    assert layer.kernel is not None and layer.kernel.flatten().tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("lines", "weights", "message"),
    [
        ((DEPTHWISE,), bytes(4) + numbers(1, 2), "line 3: .* ends early, at byte 12"),
        ((DEPTHWISE,), b"", "ends early, at byte 0"),
        ((DEPTHWISE,), bytes(4) + numbers(1, 2, 3, 4), "4 bytes are left over"),
        ((DEPTHWISE,), bytes(4) + numbers(1, 2, float("nan")), "not finite"),
        ((DEPTHWISE,), struct.pack("<I", 0x000D4B38) + bytes(12), "quantised"),
        (("InnerProduct f 1 1 data out 0=2",), b"", "kind InnerProduct are not read"),
        (("Convolution c 1 1 data out 0=2 1=1 6=3",), b"", "cannot have 3 weights, 2 outputs"),
        (("Convolution c 1 1 data out 0=1 1=1 6=999999999",), b"", "ends early, at byte 0"),
        (("Convolution c 1 1 data out 0=1 1=1 6=99999999999",), b"", "expected a whole number"),
        (("Split s 1 9 data a b",), b"", "names 3 of its 10"),
        (("Split s",), b"", "expected a kind, a name"),
        (("Convolution c 1 1 data out nonsense",), b"", "expected key=value, got nonsense"),
    ],
)
def test_damaged_networks_are_refused(tmp_path: Path, lines: tuple[str, ...], weights: bytes, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_ncnn(network(tmp_path, *lines, weights=weights))


def test_other_and_incomplete_files_are_refused(tmp_path: Path) -> None:
    path = network(tmp_path, INPUT, weights=b"", layers=2)
    with pytest.raises(CheckpointError, match="is incomplete: it has 1 layers and states 2"):
        read_ncnn(path)
    path.with_suffix(".bin").unlink()
    with pytest.raises(CheckpointError, match=r"expected the weights .* found no file"):
        read_ncnn(path)
    path.write_bytes(b"\xff\xfe\x00")
    path.with_suffix(".bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"expected ncnn's \.param file, a text"):
        read_ncnn(path)
    path.write_text("hello\n", encoding="ascii")
    with pytest.raises(CheckpointError, match="which begins with 7767517"):
        read_ncnn(path)
