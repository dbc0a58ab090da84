"""The detector: parity with the published one, and which of its predictions are kept."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from risctl.core.heads.detection import BINS, CellPredictions
from risctl.core.heads.detector import select_detections


@pytest.fixture(scope="module")
def start_tool() -> ModuleType:
    pytest.importorskip("onnx", reason="needs the onnx package, which reads the published detector")
    path = Path(__file__).resolve().parents[3] / "tools" / "nanodet_start.py"
    spec = importlib.util.spec_from_file_location("nanodet_start", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["nanodet_start"] = module
    spec.loader.exec_module(module)
    return module


def test_outputs_equal_the_published_detector(shared: Path, start_tool: ModuleType) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime, to run the published detector")
    path = shared / "data" / "weights" / "nanodet_m.onnx"
    parts = start_tool.start(path).eval()
    images = torch.rand(1, 3, 416, 416, generator=torch.Generator().manual_seed(0))
    backbone = parts["backbone"]
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(str(path), options)
    names = [get_output.name for get_output in session.get_outputs()]
    # The published network wants BGR.
    out = session.run(None, {"input.1": ((images - backbone.mean) / backbone.std).flip(1).numpy()})
    published = {name: torch.from_numpy(values) for name, values in zip(names, out, strict=True)}
    with torch.no_grad():
        maps = backbone(images, torch.zeros(1, 416, 416, dtype=torch.bool)).maps
        cells = parts["detect"](parts["neck"](maps[1:]))
    scores = torch.cat([published[name] for name in ("792", "814", "836")], 1)
    sides = torch.cat([published[name] for name in ("795", "817", "839")], 1)
    assert torch.allclose(cells.scores.sigmoid(), scores, atol=1e-5)
    assert torch.allclose(cells.sides.flatten(2), sides, atol=1e-4)


def test_picking_keeps_one_a_place_within_the_image() -> None:
    sides = torch.full((1, 3, 4, BINS), -50.0)
    sides[..., 2] = 0
    cells = CellPredictions(
        scores=torch.tensor([[[2.0, -9], [-9, 1.0], [0.0, -9]]]),
        sides=sides,
        centres=torch.tensor([[20.0, 20], [21, 20], [60, 20]]),
        strides=torch.full((3,), 8.0),
    )
    things = select_detections(cells, extents=torch.tensor([[0.0, 10, 64, 64]]), max_count=5)
    assert things.mask.tolist() == [[True, True]]
    assert things.corners[0].tolist() == [[4, 10, 36, 36], [44, 10, 64, 36]]
    assert things.scores[0].argmax(1).tolist() == [0, 0]
    assert select_detections(cells, extents=torch.tensor([[0.0, 10, 64, 64]]), max_count=1).mask.tolist() == [[True]]
    assert select_detections(
        cells, extents=torch.tensor([[0.0, 10, 64, 64]]), max_count=5, score_threshold=0.99
    ).mask.shape == (1, 0)
