"""Reads networks in ncnn's format without ncnn: a `.param` file of text, and a `.bin` file of weights beside it.

Format: ncnn's documentation, "param and model file structure". A line of the text is a layer: its kind, its name, the
numbers of its inputs and outputs, their names, and its numbered parameters as `key=value`. The weights of the layers
follow one another in the order of the lines: a convolution's kernel after a tag that gives its type, then its bias.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from risctl.errors import CheckpointError
from risctl.weights.budget import Budget, check_regular

_MAGIC = "7767517"
_MOST_TEXT = 4 * 2**20
_MOST_LAYERS = 10_000
_TAG_BYTES = 4
_FLOAT32, _FLOAT16 = 0, 0x01306B47
# ncnn's numbers of a convolution's parameters.
_OUTPUTS, _WIDTH, _HEIGHT, _HAS_BIAS, _COUNT, _GROUPS = 0, 1, 11, 5, 6, 7
_CONVOLUTIONS = ("Convolution", "ConvolutionDepthWise")
# Kinds without weights. Of another kind it is unknown how many weights it has in the file.
_WEIGHTLESS = (
    *("BinaryOp", "Clip", "Concat", "Crop", "Flatten", "HardSigmoid", "HardSwish", "Input", "Interp", "Permute"),
    *("Pooling", "ReLU", "Reshape", "ShuffleChannel", "Sigmoid", "Slice", "Softmax", "Split", "Swish", "UnaryOp"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NcnnLayer:
    """A layer of a network.

    Attributes:
        kind: Its kind, for instance "Convolution".
        name: Its name.
        inputs: Names of what it reads.
        outputs: Names of what it writes.
        kernel: (outputs, inputs / groups, height, width) float32, of a convolution; else None.
        bias: (outputs,) float32, of a convolution that has one.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    kernel: np.ndarray | None = None
    bias: np.ndarray | None = None


def read_ncnn(param: Path) -> tuple[NcnnLayer, ...]:
    """Returns the layers of a network in their order.

    Args:
        param: The `.param` file; the weights are in the `.bin` file of the same name.

    Raises:
        CheckpointError: A file is missing or damaged, or holds a layer or type of weights that is not read.
    """
    weights = param.with_suffix(".bin")
    check_regular(param, what="ncnn's .param file")
    check_regular(weights, what="the weights of ncnn's .param file")
    if param.stat().st_size > _MOST_TEXT:
        raise CheckpointError(f"expected ncnn's .param file, got {param} of {param.stat().st_size:,} bytes")
    try:
        lines = param.read_text(encoding="ascii").splitlines()
    except UnicodeDecodeError as error:
        raise CheckpointError(f"expected ncnn's .param file, a text, got {param}") from error
    if not lines or lines[0].strip() != _MAGIC:
        raise CheckpointError(f"expected ncnn's .param file, which begins with {_MAGIC}, got {param}")
    blob = _Blob(weights)
    layers: list[NcnnLayer] = []
    for number, line in enumerate(lines[2:], start=3):
        if not line.strip():
            continue
        if len(layers) >= _MOST_LAYERS:
            raise CheckpointError(f"{param} has more than {_MOST_LAYERS:,} layers")
        try:
            layers.append(_layer(line.split(), blob))
        except ValueError as error:
            raise CheckpointError(f"{param}, line {number}: {error}") from error
    stated = lines[1].split() if len(lines) > 1 else []
    if not stated or stated[0] != str(len(layers)):
        raise CheckpointError(f"{param} is incomplete: it has {len(layers)} layers and states {' '.join(stated[:1])}")
    blob.finish()
    return tuple(layers)


class _Blob:
    """The weights, read from front to back."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._budget = Budget(path)
        self._data = np.memmap(path, dtype=np.uint8, mode="r") if path.stat().st_size else np.zeros(0, np.uint8)
        self._at = 0

    def tagged(self, count: int) -> np.ndarray:
        """Returns the next `count` numbers after a tag that gives their type. Raises `ValueError` if it cannot."""
        tag = int(self._take(_TAG_BYTES).view("<u4")[0])
        if tag == _FLOAT32:
            return self.plain(count)
        if tag != _FLOAT16:
            raise ValueError(f"its weights are of type {tag:#x}; only float32 and float16 are read, not quantised ones")
        size = count * 2
        self._budget.spend(count * 4)
        values = self._take(-(-size // 4) * 4)[:size].view("<f2").astype(np.float32)  # filled up to four bytes
        return _finite(values)

    def plain(self, count: int) -> np.ndarray:
        """Returns the next `count` float32 numbers. Raises `ValueError` if there are not as many."""
        self._budget.spend(count * 4)
        return _finite(self._take(count * 4).view("<f4").astype(np.float32))

    def finish(self) -> None:
        """Raises `CheckpointError` if weights are left over."""
        rest = len(self._data) - self._at
        if rest:
            raise CheckpointError(f"{self._path} is of another network: {rest:,} bytes are left over")

    def _take(self, size: int) -> np.ndarray:
        if size > len(self._data) - self._at:
            raise ValueError(f"{self._path} ends early, at byte {len(self._data):,}")
        part = np.array(self._data[self._at : self._at + size])
        self._at += size
        return part


def _layer(parts: list[str], blob: _Blob) -> NcnnLayer:
    if len(parts) < 4:
        raise ValueError("expected a kind, a name and the numbers of inputs and outputs")
    kind, name = parts[:2]
    inputs, outputs = _whole(parts[2]), _whole(parts[3])
    rest = parts[4 + inputs + outputs :]
    names = parts[4 : 4 + inputs + outputs]
    if len(names) < inputs + outputs:
        raise ValueError(f"layer {name} names {len(names)} of its {inputs + outputs} inputs and outputs")
    kernel, bias = None, None
    if kind in _CONVOLUTIONS:
        kernel, bias = _convolution(name, _numbers(rest), blob)
    elif kind not in _WEIGHTLESS:
        raise ValueError(f"layers of the kind {kind} are not read")
    return NcnnLayer(
        kind=kind, name=name, inputs=tuple(names[:inputs]), outputs=tuple(names[inputs:]), kernel=kernel, bias=bias
    )


def _convolution(name: str, numbers: dict[int, int], blob: _Blob) -> tuple[np.ndarray, np.ndarray | None]:
    outputs, width = numbers.get(_OUTPUTS, 0), numbers.get(_WIDTH, 0)
    height, groups, count = numbers.get(_HEIGHT, width), numbers.get(_GROUPS, 1), numbers.get(_COUNT, 0)
    rows = outputs * height * width
    if min(outputs, width, height, groups, count) < 1 or count % rows:
        raise ValueError(
            f"convolution {name} cannot have {count} weights, {outputs} outputs and a kernel of {height}x{width}"
        )
    kernel = blob.tagged(count).reshape(outputs, count // rows, height, width)
    return kernel, blob.plain(outputs) if numbers.get(_HAS_BIAS, 0) else None


def _numbers(parts: list[str]) -> dict[int, int]:
    """Returns the whole numbers of `key=value`; arrays and fractions, which no weights depend on, are left out."""
    found = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"expected key=value, got {part:.40}")
        if not key.startswith("-") and value.isdigit():
            found[_whole(key)] = _whole(value)
    return found


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise ValueError(f"expected a whole number, got {text:.40}")
    return int(text)


def _finite(values: np.ndarray) -> np.ndarray:
    if not math.isfinite(float(np.abs(values).max(initial=0))):
        raise ValueError("its weights hold numbers that are not finite")
    return values
