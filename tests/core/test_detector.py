"""Backbone, neck, detection head and masks of boxes: shapes, geometry, and parity with the published detector."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from risctl.core.encoders.visual.shufflenet import ShuffleNet
from risctl.core.fusion.pan import PathAggregation
from risctl.core.heads.detection import BINS, CellPredictions, DetectionHead
from risctl.core.heads.instance_masks import OUTSIDE, InstanceMaskHead, MaskFeatures, expand_boxes, paste_logits
from risctl.core.losses.detection import assign_cells, detection_losses


def seen(height: int = 64, width: int = 96) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    images = torch.rand(2, 3, height, width)
    return ShuffleNet()(images, torch.zeros(2, height, width, dtype=torch.bool)).maps


def test_the_backbone_has_the_stated_maps() -> None:
    maps = seen()
    assert [feature_map.shape[1] for feature_map in maps] == list(ShuffleNet.channels)
    assert [(feature_map.shape[2], feature_map.shape[3]) for feature_map in maps] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    assert sum(parameter.numel() for parameter in ShuffleNet().parameters()) < 0.8e6


def test_a_unit_of_stride_one_passes_half_of_the_channels() -> None:
    unit = ShuffleNet().stages[0][1]
    x = torch.rand(1, 116, 4, 4)
    assert torch.equal(unit(x)[:, ::2], x[:, :58])


def test_every_level_depends_on_every_other() -> None:
    maps = [one.detach().requires_grad_() for one in seen()[1:]]
    for out in PathAggregation((116, 232, 464), channels=96)(maps):
        grads = torch.autograd.grad(out.sum(), maps, retain_graph=True)
        assert all(grad.abs().sum() > 0 for grad in grads)


def cells_for(side: float) -> CellPredictions:
    """Returns one cell of stride 8 at (20, 20) whose four distances are `side` strides."""
    sides = torch.full((1, 1, 4, BINS), -50.0)
    sides[..., int(side)] = 0
    if side % 1:
        sides[..., int(side) + 1] = 0
    return CellPredictions(
        scores=torch.zeros(1, 1, 3), sides=sides, centres=torch.tensor([[20.0, 20.0]]), strides=torch.tensor([8.0])
    )


def test_a_box_is_the_mean_of_its_distance_distributions() -> None:
    assert cells_for(2).boxes()[0, 0].tolist() == pytest.approx([4, 4, 36, 36])
    assert cells_for(1.5).boxes()[0, 0].tolist() == pytest.approx([8, 8, 32, 32])


def test_cell_centres_lie_at_half_strides() -> None:
    head = DetectionHead(8, classes=3, strides=(8, 16))
    cells = head([torch.rand(1, 8, 2, 3), torch.rand(1, 8, 1, 2)])
    assert cells.centres.tolist() == [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12], [8, 8], [24, 8]]
    assert cells.scores.shape == (1, 8, 3) and cells.sides.shape == (1, 8, 4, BINS)


def test_instances_are_assigned_cells_inside_them() -> None:
    cells = DetectionHead(8, classes=3, strides=(8, 16, 32))(
        [torch.rand(1, 8, 128 // stride, 128 // stride) for stride in (8, 16, 32)]
    )
    boxes = torch.tensor([[8.0, 8, 56, 56], [70, 70, 120, 120]])
    given = assign_cells(cells.centres, cells.strides, boxes)
    for index, box in enumerate(boxes):
        own = cells.centres[given == index]
        assert len(own)
        assert bool(((own > box[:2]) & (own < box[2:])).all())
    assert bool((assign_cells(cells.centres, cells.strides, boxes[:0]) == -1).all())


def test_training_fits_a_box_to_its_instance() -> None:
    torch.manual_seed(0)
    head = DetectionHead(16, classes=3, strides=(8, 16))
    maps = [torch.rand(2, 16, 8, 8), torch.rand(2, 16, 4, 4)]
    boxes, classes = [torch.tensor([[10.0, 12, 50, 44]]), torch.zeros(0, 4)], [torch.tensor([2]), torch.zeros(0).long()]
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    for _ in range(120):
        loss = torch.stack(list(detection_losses(head(maps), boxes, classes).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    cells = head(maps)
    best = cells.scores[0].amax(1).argmax()
    assert int(cells.scores[0, best].argmax()) == 2
    assert (cells.boxes()[0, best] - boxes[0][0]).abs().max() < 3
    assert cells.scores[1].sigmoid().max() < 0.3


def test_an_image_without_instances_has_a_finite_loss() -> None:
    cells = DetectionHead(8, classes=3, strides=(8,))([torch.rand(1, 8, 4, 4)])
    terms = detection_losses(cells, [torch.zeros(0, 4)], [torch.zeros(0, dtype=torch.int64)])
    assert all(bool(term.isfinite()) for term in terms.values())


def test_logits_are_pasted_where_the_box_is() -> None:
    box = torch.tensor([[16.0, 8, 48, 40]])
    square = torch.full((1, 56, 56), -5.0)
    inside = (torch.arange(56) + 0.5) / 56 * 1.3 - 0.15  # the box's own share of the enlarged square
    within = (inside > 0) & (inside < 1)
    square[0, within[:, None] & within[None]] = 5.0
    laid = paste_logits(square, box, height=20, width=20, stride=4)[0] > 0
    expected = torch.zeros(20, 20, dtype=torch.bool)
    expected[2:10, 4:12] = True
    assert torch.equal(laid, expected)
    assert float(paste_logits(square, box, height=20, width=20, stride=4)[0, -1, -1]) == OUTSIDE


def test_a_mask_depends_on_its_own_image_only() -> None:
    maps = seen()
    features = MaskFeatures(24, 96, levels=3, channels=16)(
        maps[0], PathAggregation((116, 232, 464), channels=96)(maps[1:])
    )
    head = InstanceMaskHead(16, grid=14)
    box = torch.tensor([[8.0, 8, 40, 56]])
    both = head(features, box.repeat(2, 1), torch.tensor([0, 1]))
    assert both.shape == (2, 28, 28)
    assert torch.allclose(both[1], head(features[1:], box, torch.tensor([0]))[0], atol=1e-5)
    assert head(features, box[:0], torch.zeros(0).long()).shape == (0, 28, 28)


def test_expanding_a_box_keeps_its_centre() -> None:
    assert expand_boxes(torch.tensor([10.0, 20, 30, 60])).tolist() == pytest.approx([7, 14, 33, 66])


@pytest.fixture(scope="module")
def start_tool() -> ModuleType:
    pytest.importorskip("onnx", reason="needs the onnx package, which reads the published detector")
    path = Path(__file__).resolve().parents[2] / "tools" / "nanodet_start.py"
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
