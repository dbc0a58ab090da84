"""int8: which samples it is calibrated and measured on, which layers it takes, and what the folder says of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import small_models
from helpers.exportable_tiny import ExportableTiny, loaded
from helpers.tiny import tiny_store

from risctl.checkpoints.loaded_model import LoadedModel
from risctl.data.store.reader import Store
from risctl.errors import DataError, UsageError
from risctl.export.calibration import Calibration, choose
from risctl.export.export import export_model
from risctl.export.precision import quantise
from risctl.language.vocabulary import Vocabulary
from risctl.systems.registry import build_system

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def test_no_image_is_both_calibrated_and_measured_on(tmp_path: Path) -> None:
    path = tiny_store(tmp_path, images=12, validation=4)
    with Store(path) as store:
        usual = choose(store, Calibration(store=path, samples=5, measured=6))
        assert (usual.split, usual.measured_split) == ("train", "val")
        assert (len(usual.rows), len(usual.measured_rows)) == (5, 6)
        assert usual == choose(store, Calibration(store=path, samples=5, measured=6))
        # Of one split, half the images are left to measure on.
        one = choose(store, Calibration(store=path, split="val", samples=64, measured=64))
        images = [{store.sentence(row).image for row in rows} for rows in (one.rows, one.measured_rows)]
        assert len(images[0]) == len(one.rows) == 2 and len(images[1]) == 2 and not images[0] & images[1]


def test_samples_that_cannot_be_are_refused(tmp_path: Path) -> None:
    path = tiny_store(tmp_path, images=4, validation=1)
    with Store(path) as store:
        with pytest.raises(UsageError, match="'train'"):
            choose(store, Calibration(store=path, split="trian"))
        with pytest.raises(UsageError, match="expected 1 to 1,024 samples to calibrate on, got 0"):
            choose(store, Calibration(store=path, samples=0))
        with pytest.raises(DataError, match="too few images in val"):
            choose(store, Calibration(store=path, split="val"))
        store.splits = ["test", "testA"]
        with pytest.raises(UsageError, match="split of tests"):
            choose(store, Calibration(store=path, split="testA"))
        with pytest.raises(UsageError, match="neither train nor val"):
            choose(store, Calibration(store=path))


def test_layers_between_are_quantised_and_those_before_an_output_are_not(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    weights = {name: generator.standard_normal((32, 32)).astype(np.float32) for name in ("inner", "last")}
    table = generator.standard_normal((64, 32)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "ids"], ["read"], name="read"),
            helper.make_node("MatMul", ["read", "inner"], ["hidden"], name="first"),
            helper.make_node("Relu", ["hidden"], ["positive"], name="relu"),
            helper.make_node("MatMul", ["positive", "last"], ["raw"], name="second"),
            helper.make_node("Sigmoid", ["raw"], ["scores"], name="sigmoid"),
        ],
        "layers",
        [helper.make_tensor_value_info("ids", onnx.TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, ["n", 32])],
        [numpy_helper.from_array(values, name) for name, values in {**weights, "table": table}.items()],
    )
    path = tmp_path / "layers.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(path))
    feeds = [{"ids": np.arange(64), "unread": np.zeros(3)} for _ in range(3)]
    assert quantise(path, feeds) == {"layers": 2, "quantised": 1}
    made = onnx.load(str(path))
    kept = {one.name: onnx.numpy_helper.to_array(one) for one in made.graph.initializer}
    types = {values.shape: values.dtype for values in kept.values() if values.ndim == 2}
    assert types[(64, 32)] == np.float16
    assert sorted(str(one.dtype) for one in kept.values() if one.shape == (32, 32)) == ["float16", "int8"]
    [found] = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(
        None, {"ids": np.arange(64)}
    )
    expected = 1 / (1 + np.exp(-np.maximum(table @ weights["inner"], 0) @ weights["last"]))
    assert 0 < np.abs(found - expected).mean() < 0.02


def test_a_folder_of_int8_says_what_it_loses(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    store = tiny_store(tmp_path, images=6, validation=2)
    out = tmp_path / "tiny.onnx"
    out.mkdir()
    header = export_model(
        loaded(ExportableTiny, tmp_path), out, precision="int8", calibration=Calibration(store=store, samples=3)
    )
    assert header == json.loads((out / "model.json").read_text(encoding="utf-8"))
    said = header["int8"]
    assert header["precision"] == "int8" and 0 < header["max_error"] < 1
    assert said["calibrated_on"] == {"split": "train", "samples": 3}
    assert said["measured_on"] == {"split": "val", "samples": 8, "images": 2}
    assert said["figure"] == "mIoU" and said["protocol"].startswith("original")
    assert said["loss"] == pytest.approx(said["fp32"]["mIoU"] - said["int8"]["mIoU"])
    assert said["layers"]["encode"] == {"layers": 2, "quantised": 2}
    kinds = {node.op_type for node in onnx.load(str(out / "encode.onnx")).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear", "Conv"} <= kinds and "BatchNormalization" not in kinds


def test_int8_and_a_store_go_together(tmp_path: Path) -> None:
    model, calibration = loaded(ExportableTiny, tmp_path), Calibration(store=tmp_path / "none.h5")
    with pytest.raises(UsageError, match="give --calibrate STORE"):
        export_model(model, tmp_path, precision="int8")
    with pytest.raises(UsageError, match="leave it out with fp16"):
        export_model(model, tmp_path, precision="fp16", calibration=calibration)
    with pytest.raises(UsageError, match="--precision int8 is of ONNX graphs"):
        export_model(model, tmp_path, format_name="pt2", precision="int8", calibration=calibration)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["VLT", "STEP", "LAVT", "CRIS", "RELA"])
def test_systems_are_quantised_and_measured(tmp_path: Path, name: str) -> None:
    pytest.importorskip("onnxscript")
    store = tiny_store(tmp_path, images=6, validation=2)
    out = tmp_path / "small.onnx"
    out.mkdir()
    torch.manual_seed(0)
    vocabulary = Vocabulary(["box", "red", "green", "blue", "left", "right", "one"])
    recipe = small_models.recipe_of(getattr(small_models, name))
    system = build_system(recipe.model, vocabulary=vocabulary).eval()
    model = LoadedModel(
        system=system, recipe=recipe, vocabulary=vocabulary, header={}, path=tmp_path / "small.safetensors"
    )
    header = export_model(model, out, precision="int8", calibration=Calibration(store=store, samples=3))
    said = header["int8"]
    for graph in ("encode", "answer"):
        assert 0 < said["layers"][graph]["quantised"] <= said["layers"][graph]["layers"], said["layers"]
    assert said["figure"] == ("gIoU" if name == "RELA" else "mIoU")
    assert said["loss"] == pytest.approx(said["fp32"][said["figure"]] - said["int8"][said["figure"]])
    assert said["measured_on"] == {"split": "val", "samples": 8, "images": 2}
