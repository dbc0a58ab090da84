"""Lets graphs read their weights from the checkpoint that they were made from, so that nothing is stored twice.

ONNX keeps weights inside the graph or, as bytes from an offset on, in a file beside it. A safetensors file is such a
file: its tensors are plain numbers one after the other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from risctl.errors import CheckpointError

_PREFIX = "model."
# Below this many numbers a tensor is a constant of the arithmetic rather than a weight.
_SMALL = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """Where a tensor of half precision stands in a file."""

    shape: tuple[int, ...]
    start: int
    end: int


def share_weights(path: Path, checkpoint: Path, *, location: str) -> int:
    """Replaces the weights of a graph by references into a checkpoint; half precision is widened by nodes of the graph.

    Weights that the checkpoint has in another form (a transposed matrix) become nodes as well, which engines compute
    once, when they open the graph. What the checkpoint does not have, number for number, stays in the graph.

    Args:
        path: The graph, which is replaced.
        checkpoint: The safetensors file.
        location: What the graph calls it.

    Returns:
        How many numbers still stand in the graph.

    Raises:
        CheckpointError: The file is damaged.
    """
    import onnx
    from onnx import numpy_helper

    data = checkpoint.read_bytes()
    entries = _entries(data, checkpoint)
    model: Any = onnx.load(str(path), load_external_data=False)
    known = _Known(entries, data)
    graph, kept, made, left = model.graph, [], [], 0
    held: dict[str, str] = {}
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        found = known.find(tensor.name, values) if values.dtype == np.float32 and values.size >= _SMALL else None
        if found is None:
            kept.append(tensor)
            left += values.size
            continue
        name, transposed = found
        if name not in held:
            held[name] = f"{name}.half"
            kept.append(_reference(onnx, held[name], entries[name], location=location))
        rows = [node for node in graph.node if tensor.name in node.input]
        if not transposed and rows and all(node.op_type == "Gather" and node.input[0] == tensor.name for node in rows):
            # A table of words: the rows that are read are widened, not all of it.
            for node in rows:
                node.input[0] = held[name]
                output = node.output[0]
                node.output[0] = f"{output}.half"
                made.append((node, onnx.helper.make_node("Cast", [f"{output}.half"], [output], to=1)))
            continue
        wide = f"{tensor.name}.wide" if transposed else tensor.name
        made.append((None, onnx.helper.make_node("Cast", [held[name]], [wide], to=onnx.TensorProto.FLOAT)))
        if transposed:
            made.append((None, onnx.helper.make_node("Transpose", [wide], [tensor.name], perm=[1, 0])))
    first = [node for after, node in made if after is None]
    nodes = [*first]
    for node in graph.node:
        nodes.append(node)
        nodes.extend(cast for after, cast in made if after is node)
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(nodes)
    kept = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    onnx.save(model, str(path))
    return left


def _entries(data: bytes, path: Path) -> dict[str, _Entry]:
    """Returns the tensors of half precision of a safetensors file."""
    length = int.from_bytes(data[:8], "little")
    try:
        if length > len(data) - 8:
            raise ValueError("its header is longer than the file")
        header = json.loads(data[8 : 8 + length])
        found = {}
        for name, entry in header.items():
            if name == "__metadata__" or entry["dtype"] != "F16":
                continue
            start, end = (8 + length + int(offset) for offset in entry["data_offsets"])
            shape = tuple(int(side) for side in entry["shape"])
            if not 0 <= start <= end <= len(data) or end - start != 2 * int(np.prod(shape)):
                raise ValueError(f"{name} does not lie within it")
            found[name] = _Entry(shape=shape, start=start, end=end)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    return found


class _Known:
    """Finds the tensors of a checkpoint by name and by their numbers."""

    def __init__(self, entries: Mapping[str, _Entry], data: bytes) -> None:
        self._values = {
            name: np.frombuffer(data[entry.start : entry.end], np.float16).astype(np.float32).reshape(entry.shape)
            for name, entry in entries.items()
        }
        self._by_size: dict[int, list[str]] = {}
        for name, values in self._values.items():
            self._by_size.setdefault(values.size, []).append(name)

    def find(self, name: str, values: np.ndarray) -> tuple[str, bool] | None:
        """Returns the tensor that has these numbers, and whether it is to be transposed; None if there is none."""
        own = _PREFIX + name.removeprefix("system.")
        for other in [own, *self._by_size.get(values.size, ())]:
            candidate = self._values.get(other)
            if candidate is None:
                continue
            if candidate.shape == values.shape and np.array_equal(candidate, values):
                return other, False
            if candidate.ndim == 2 and candidate.T.shape == values.shape and np.array_equal(candidate.T, values):
                return other, True
        return None


def _reference(onnx: Any, name: str, entry: _Entry, *, location: str) -> Any:
    tensor = onnx.TensorProto(name=name, dims=entry.shape, data_type=onnx.TensorProto.FLOAT16)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", entry.start), ("length", entry.end - entry.start)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor
