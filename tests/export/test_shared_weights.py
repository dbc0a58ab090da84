"""Graphs that read their weights from a checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from risctl.errors import CheckpointError
from risctl.export.compact import compact
from risctl.export.formats import open_onnx
from risctl.export.shared_weights import share_weights

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def written(path: Path, *, table: np.ndarray, matrix: np.ndarray, own: np.ndarray) -> None:
    """Write a graph that looks rows up in a table and multiplies them by a matrix and by another."""
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("Gather", ["table", "rows"], ["found"]),
        helper.make_node("MatMul", ["found", "matrix"], ["once"], doc_string="where this came from"),
        helper.make_node("MatMul", ["once", "own"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "made by hand",
        [helper.make_tensor_value_info("rows", onnx.TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("y", float32, ["n", own.shape[1]])],
        [
            onnx.numpy_helper.from_array(value, name)
            for name, value in (("table", table), ("matrix", matrix), ("own", own))
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(path))


def test_weights_are_read_from_the_checkpoint(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    table, matrix, own = (generator.standard_normal(shape).astype(np.float32) for shape in ((50, 8), (8, 16), (16, 4)))
    table, matrix = (value.astype(np.float16).astype(np.float32) for value in (table, matrix))
    graph, weights = tmp_path / "g.onnx", tmp_path / "w.safetensors"
    written(graph, table=table, matrix=matrix, own=own)
    # The checkpoint has the matrix as a linear layer has it, and not the last one.
    save_file(
        {"model.table": table.astype(np.float16), "model.layer.weight": np.ascontiguousarray(matrix.T, np.float16)},
        weights,
    )
    compact(graph)
    assert share_weights(graph, weights, location=weights.name) == own.size
    assert graph.stat().st_size < own.nbytes + 1_500
    rows = np.array([3, 0, 49])
    [found] = open_onnx(graph, threads=1, weights=weights).run(None, {"rows": rows})
    assert np.allclose(found, table[rows] @ matrix @ own, atol=1e-4)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    graph, weights = tmp_path / "g.onnx", tmp_path / "w.safetensors"
    written(
        graph, table=np.ones((5, 4), np.float32), matrix=np.eye(4, dtype=np.float32), own=np.eye(4, dtype=np.float32)
    )
    save_file({"model.table": np.ones((5, 4), np.float16)}, weights)
    for data in (b"\xff" * 30, weights.read_bytes()[:-9]):
        weights.write_bytes(data)
        with pytest.raises(CheckpointError, match="damaged"):
            share_weights(graph, weights, location=weights.name)
