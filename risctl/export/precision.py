"""Stores the weights of ONNX graphs in half precision, or quantises their layers to whole numbers of 8 bits."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from risctl.errors import UsageError
from risctl.export.compact import compact

PRECISIONS = ("fp32", "fp16", "int8")
WEIGHTED = ("Conv", "Gemm", "MatMul")
"""The operations whose products are computed with 8 bits, where one side is a weight."""

LEFT_IN_FLOAT: Mapping[str, str] = {
    "softmax, scores and sums of attention": "products of two activations have no fixed range, and a softmax needs the "
    "small differences between its largest inputs",
    "the layers nearest to an output other than a map": "box regressions, scores and logits are read at full precision",
    "norms and activation functions": "they cost little, and divide by small numbers",
    "tables of embeddings": "they are read row by row, never multiplied; they are stored in half precision",
}
"""What int8 leaves in float, and why."""

# Below this many numbers a tensor is a constant of the arithmetic rather than weights, and saves nothing.
_SMALL = 64
_LARGEST_HALF = 65504.0
_QUANTISED = ("QuantizeLinear", "DequantizeLinear")
_MAP = 4  # axes of a feature map


def store_in_half(path: Path, *, keep_large: bool = False) -> None:
    """Stores the weights of a graph in half precision; they are computed with in float32, as on every CPU.

    The file has half the size. A checkpoint whose weights have half precision loses nothing. The scales of quantised
    layers stay.

    Args:
        path: The graph, which is replaced.
        keep_large: Whether what is too large for half precision stays as it is: constants that were folded, such as the
            lowest number of float32 where attention is masked.

    Raises:
        UsageError: A weight is too large for half precision, or the weights stand in a file of their own.
    """
    import onnx
    from onnx import numpy_helper

    model = _load(path, precision="fp16")
    graph, casts = model.graph, []
    scales = {name for node in graph.node if node.op_type in _QUANTISED for name in node.input[1:]}
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or tensor.name in scales:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < _SMALL:
            continue
        if np.abs(values).max() > _LARGEST_HALF:
            if keep_large:
                continue
            raise UsageError(f"the weight {tensor.name} is too large for half precision; export it with fp32")
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name=f"{name}.half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *nodes])
    onnx.save(model, str(path))


def quantise(path: Path, feeds: Iterable[Mapping[str, np.ndarray]]) -> dict[str, int]:
    """Quantises the layers of a graph to 8 bits, statically, as pairs of QuantizeLinear and DequantizeLinear (QDQ).

    Weights have 7 bits of a range per output channel, so that products of bytes do not overflow on processors without
    VNNI; activations have 8, over the range that they have on `feeds`. `LEFT_IN_FLOAT` says what stays.

    Args:
        path: The graph, which is replaced.
        feeds: Inputs by name, which activations are observed on.

    Returns:
        How many layers there are with weights, and how many of them are quantised: `layers`, `quantised`.

    Raises:
        UsageError: The weights stand in a file of their own.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quant_pre_process, quantize_static

    _load(path, precision="int8")
    with _quiet():
        # Folds constants, and norms into the convolutions before them, whose ranges would be of no use otherwise.
        quant_pre_process(str(path), str(path), skip_symbolic_shape=True)
        model = _load(path, precision="int8")
        layers = _layers(model.graph)
        kept = _nearest_to_outputs(model.graph, layers)
        quantised = sorted(set(layers) - kept)
        if quantised:
            quantize_static(
                str(path),
                str(path),
                _Reader(feeds, {one.name for one in model.graph.input}),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(WEIGHTED),
                nodes_to_quantize=quantised,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                extra_options={"MatMulConstBOnly": True, "CalibMovingAverage": True},
            )
    compact(path)
    store_in_half(path, keep_large=True)
    return {"layers": len(layers), "quantised": len(quantised)}


class _Reader:
    """Hands feeds to the calibration, without the inputs that the graph does not read."""

    def __init__(self, feeds: Iterable[Mapping[str, np.ndarray]], read: set[str]) -> None:
        self._feeds: Iterator[Mapping[str, np.ndarray]] = iter(feeds)
        self._read = read

    def get_next(self) -> dict[str, np.ndarray] | None:
        feed = next(self._feeds, None)
        return None if feed is None else {name: value for name, value in feed.items() if name in self._read}


def _layers(graph: Any) -> dict[str, Any]:
    """Returns the nodes by name that multiply an activation by a weight."""
    held = {tensor.name for tensor in graph.initializer}
    return {
        node.name: node
        for node in graph.node
        if node.op_type in WEIGHTED and node.name and node.input[1] in held and node.input[0] not in held
    }


def _nearest_to_outputs(graph: Any, layers: Mapping[str, Any]) -> set[str]:
    """Returns the layers between which and an output of the graph, unless that is a map, there is no other layer."""
    maker = {name: node for node in graph.node for name in node.output}
    seen: set[str] = set()
    found: set[str] = set()
    waiting = [one.name for one in graph.output if len(one.type.tensor_type.shape.dim) != _MAP]
    while waiting:
        name = waiting.pop()
        if name in seen or name not in maker:
            continue
        seen.add(name)
        node = maker[name]
        if node.name in layers:
            found.add(node.name)
        else:
            waiting.extend(node.input)
    return found


def _load(path: Path, *, precision: str) -> Any:
    import onnx

    model: Any = onnx.load(str(path), load_external_data=False)
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise UsageError(f"--precision {precision} takes graphs of less than 2 GB; {path.name} is larger")
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences the quantiser, which warns of what is done here on purpose."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
