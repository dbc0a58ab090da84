"""An exported model made by hand: what is bright is what every phrase means."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from risctl.runtime.manifest import FORMAT, MANIFEST, VERSION, VOCABULARY

SIZE = 32


PLACES = np.array([[[0.0, 0.0, 0.5, 0.5], [0.25, 0.5, 0.75, 1.0], [0.0, 0.0, 0.0, 0.0]]], dtype=np.float32)
CHOICE = np.array([[0.125, 0.75, 0.0]], dtype=np.float32)


def write_exported(folder: Path, *, explains: bool = False, **changes: Any) -> Path:
    """Write the folder; `changes` replace entries of its description. Returns the folder.

    With `explains` it says what it chose among: `PLACES`, x1, y1, x2, y2 relative to the image, and `CHOICE`, how
    probably each is meant.
    """
    folder.mkdir(parents=True)
    _save(
        folder / "encode.onnx",
        [
            helper.make_node("ReduceMean", ["images", "axes"], ["seen"], keepdims=0),
            *([helper.make_node("Identity", ["all"], ["places"])] if explains else []),
        ],
        inputs=[("images", TensorProto.FLOAT, ["images", 3, SIZE, SIZE])],
        outputs=[
            ("seen", TensorProto.FLOAT, ["images", SIZE, SIZE]),
            *([("places", TensorProto.FLOAT, list(PLACES.shape))] if explains else []),
        ],
        constants={"axes": np.array([1]), **({"all": PLACES} if explains else {})},
    )
    _save(
        folder / "answer.onnx",
        [
            helper.make_node("Gather", ["seen", "image_of"], ["asked"]),
            helper.make_node("Sub", ["asked", "half"], ["centred"]),
            helper.make_node("Mul", ["centred", "steep"], ["logits"]),
            helper.make_node("ReduceMax", ["asked", "axes"], ["scores"], keepdims=0),
            *([helper.make_node("Identity", ["all"], ["choice"])] if explains else []),
        ],
        inputs=[
            ("seen", TensorProto.FLOAT, ["images", SIZE, SIZE]),
            ("image_of", TensorProto.INT64, ["expressions"]),
        ],
        outputs=[
            ("logits", TensorProto.FLOAT, ["expressions", SIZE, SIZE]),
            ("scores", TensorProto.FLOAT, ["expressions"]),
            *([("choice", TensorProto.FLOAT, list(CHOICE.shape))] if explains else []),
        ],
        constants={
            "half": np.array(0.5, dtype=np.float32),
            "steep": np.array(20, dtype=np.float32),
            "axes": np.array([1, 2]),
            **({"all": CHOICE} if explains else {}),
        },
    )
    (folder / VOCABULARY).write_text(json.dumps(["<pad>", "<unk>", "the", "bright", "part"]))
    header: dict[str, Any] = {
        "format": FORMAT,
        "format_version": VERSION,
        "risctl": "0",
        "name": "bright",
        "system": "by-hand",
        "parameters": 0,
        "graph_format": "onnx",
        "graphs": {
            "encode": {
                "file": "encode.onnx",
                "inputs": [{"name": "images"}, {"name": "padding"}],
                "outputs": [{"name": "seen"}, *([{"name": "places"}] if explains else [])],
            },
            "answer": {
                "file": "answer.onnx",
                "inputs": [{"name": "seen"}, {"name": "image_of"}],
                "outputs": [{"name": "logits"}, {"name": "scores"}, *([{"name": "choice"}] if explains else [])],
            },
        },
        "image": {"kind": "MiniPreprocess", "size": SIZE, "fill": 0.45},
        "text": {"kind": "hashed_words", "max_words": 4, "buckets": 16},
        "output": {"threshold": 0.5, "no_target_threshold": 0.6},
        "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()},
    }
    (folder / MANIFEST).write_text(json.dumps(header | changes))
    return folder


def _save(
    path: Path,
    nodes: list[Any],
    *,
    inputs: list[tuple[str, int, list[Any]]],
    outputs: list[tuple[str, int, list[Any]]],
    constants: dict[str, np.ndarray],
) -> None:
    graph = helper.make_graph(
        nodes,
        "by hand",
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info(*one) for one in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(path))
