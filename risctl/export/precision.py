"""Stores the weights of ONNX graphs in half precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from risctl.errors import UsageError

PRECISIONS = ("fp32", "fp16")
# Below this many numbers a tensor is a constant of the arithmetic rather than weights, and saves nothing.
_SMALL = 64
_LARGEST_HALF = 65504.0


def store_in_half(path: Path) -> None:
    """Stores the weights of a graph in half precision; they are computed with in float32, as on every CPU.

    The file has half the size. A checkpoint whose weights have half precision loses nothing.

    Args:
        path: The graph, which is replaced.

    Raises:
        UsageError: A weight is too large for half precision, or the weights stand in a file of their own.
    """
    import onnx
    from onnx import numpy_helper

    model: Any = onnx.load(str(path), load_external_data=False)
    graph, casts = model.graph, []
    for tensor in graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise UsageError(f"--precision fp16 takes graphs of less than 2 GB; {path.name} is larger")
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < _SMALL:
            continue
        if np.abs(values).max() > _LARGEST_HALF:
            raise UsageError(f"the weight {tensor.name} is too large for half precision; export it with fp32")
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name=f"{name}.half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *nodes])
    onnx.save(model, str(path))
