"""Exporting a model: the folder, its description, and what is refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from helpers.exportable_tiny import ExportableTiny, loaded
from helpers.tiny import TinySystem

from risctl.errors import UsageError
from risctl.export.export import export_model
from risctl.export.folder import export_to
from risctl.export.precision import store_in_half

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def test_a_folder_says_all_that_its_graphs_need(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    out = tmp_path / "tiny.onnx"
    out.mkdir()
    header = export_model(loaded(ExportableTiny, tmp_path), out)
    assert header == json.loads((out / "model.json").read_text(encoding="utf-8"))
    assert sorted(header["sha256"]) == ["answer.onnx", "encode.onnx", "vocabulary.json"]
    for name, digest in header["sha256"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest
    assert header["max_error"] < 1e-4 and [one["images"] for one in header["checked"]] == [1, 2, 3]
    assert header["figures"] == {"mIoU": 1.0} and header["image"]["size"] == 32
    [logits] = header["graphs"]["answer"]["outputs"]
    assert logits["shape"] == ["expressions", 16, 16]
    # The graph alone, as another program would run it.
    encode = onnxruntime.InferenceSession(str(out / "encode.onnx"), providers=["CPUExecutionProvider"])
    feed = {"images": np.zeros((5, 3, 32, 32), np.float32), "padding": np.zeros((5, 32, 32), bool)}
    read = {one.name for one in encode.get_inputs()}
    [features] = encode.run(None, {name: value for name, value in feed.items() if name in read})
    assert features.shape[0] == 5


@pytest.mark.parametrize(("format_name", "suffix"), [("pt2", ".pt2"), ("torchscript", ".ts")])
def test_torchs_own_formats_are_written(tmp_path: Path, format_name: str, suffix: str) -> None:
    out = tmp_path / "tiny"
    out.mkdir()
    header = export_model(loaded(ExportableTiny, tmp_path), out, format_name=format_name)
    assert header["max_error"] < 1e-5 and (out / f"encode{suffix}").is_file()


def test_what_cannot_be_exported_says_why(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="TinySystem cannot be exported"):
        export_model(loaded(TinySystem, tmp_path), tmp_path)
    for wrong, said in (({"format_name": "onxx"}, "did you mean 'onnx'"), ({"precision": "fp61"}, "did you mean")):
        with pytest.raises(UsageError, match=said):
            export_model(loaded(ExportableTiny, tmp_path), tmp_path, **wrong)
    with pytest.raises(UsageError, match="--precision fp16"):
        export_model(loaded(ExportableTiny, tmp_path), tmp_path, format_name="pt2", precision="fp16")


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="there already"):
            export_to("mini", tmp_path / "mine", format_name="onnx", precision="fp32", overwrite=overwrite)
    assert (tmp_path / "mine" / "file").read_text() == "mine"


def test_weights_of_half_precision_are_stored_without_loss(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).standard_normal((16, 16)).astype(np.float16).astype(np.float32)
    helper = onnx.helper
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weight"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 16])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 16])],
        [onnx.numpy_helper.from_array(weight, "weight")],
    )
    path = tmp_path / "g.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(path))
    x, before = np.ones((1, 16), dtype=np.float32), path.stat().st_size
    store_in_half(path)
    assert path.stat().st_size < before - 400
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert np.allclose(session.run(None, {"x": x})[0], x @ weight, atol=1e-5)
