"""Leaves out of ONNX graphs what engines do not read: where each node came from in Python, and inferred shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def compact(path: Path) -> None:
    """Rewrites a graph without remarks, which are a quarter of a small one and are parsed whenever it is opened.

    Args:
        path: The graph, which is replaced. Weights that stand in a file of their own stay there.
    """
    import onnx

    model: Any = onnx.load(str(path), load_external_data=False)
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    del graph.value_info[:]
    onnx.save(model, str(path))
