"""RoI sampling and non-maximum suppression in plain torch equal torchvision's operators, which are slow to import."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torchvision import ops

from risctl.core.heads.roi_ops import nms, nms_ordered, sample_boxes
from risctl.export.formats import as_exported


@pytest.mark.parametrize(("size", "samples"), [(28, 2), (56, 1), (8, 1), (3, 4)])
def test_sampled_boxes_equal_roi_align(size: int, samples: int) -> None:
    torch.manual_seed(size)
    maps = torch.randn(3, 5, 40, 60, requires_grad=True)
    low = torch.rand(30, 2) * torch.tensor([300.0, 220]) - 40  # some lie beyond the map, in part or wholly
    boxes = torch.cat([low, low + torch.rand(30, 2) * 120], 1)
    boxes[0], boxes[1] = torch.tensor([20.0, 20, 20, 20]), torch.tensor([-900.0, -900, 900, 900])
    indices = torch.randint(0, 3, (30,))
    ours = sample_boxes(maps, boxes, indices, size=size, scale=0.25, samples=samples)
    rois = torch.cat([indices[:, None].float(), boxes], 1)
    theirs = ops.roi_align(maps, rois, size, spatial_scale=0.25, sampling_ratio=samples, aligned=True)
    assert torch.allclose(ours, theirs, atol=1e-4)
    weights = torch.randn_like(ours)
    [gradient], [expected] = torch.autograd.grad(ours, maps, weights), torch.autograd.grad(theirs, maps, weights)
    assert torch.allclose(gradient, expected, atol=1e-3)


def test_no_boxes_give_an_empty_tensor() -> None:
    none = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
    assert sample_boxes(torch.randn(2, 5, 8, 8), *none, size=7, scale=1.0).shape == (0, 5, 7, 7)


def test_half_precision_samples_the_same_points() -> None:
    maps, boxes = torch.randn(1, 4, 104, 104), torch.tensor([[301.0, 302, 333, 351]])
    indices = torch.zeros(1, dtype=torch.int64)
    plain = sample_boxes(maps, boxes, indices, size=14, scale=0.25)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(sample_boxes(maps, boxes, indices, size=14, scale=0.25), plain)
    half = sample_boxes(maps.bfloat16(), boxes, indices, size=14, scale=0.25)
    assert half.dtype == torch.bfloat16 and torch.allclose(half.float(), plain, atol=0.05)


@pytest.mark.parametrize("count", [0, 1, 200])
def test_nms_equals_torchvision(count: int) -> None:
    torch.manual_seed(count)
    low = torch.rand(count, 2) * 100
    boxes, scores = torch.cat([low, low + torch.rand(count, 2) * 100], 1), torch.rand(count)
    kept = nms(boxes, scores, 0.4)
    assert torch.equal(kept, ops.nms(boxes, scores, 0.4))
    assert len(kept) == count if count < 2 else 1 < len(kept) < count


def test_mini_is_built_without_slow_imports_such_as_torchvision() -> None:
    asked = (
        "import sys; import risctl.inference.predictor, risctl.inference.output_files, risctl.systems.mini.build; "
        "print(sorted({'torchvision', 'torch._dynamo', 'transformers', 'accelerate', 'h5py', 'spacy', 'scipy'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_suppression_without_a_loop_keeps_the_same_boxes() -> None:
    torch.manual_seed(2)
    low = torch.rand(2, 120, 2) * 60
    boxes = torch.cat([low, low + 20 + torch.rand(2, 120, 2) * 30], -1)
    valid = torch.ones(2, 120, dtype=torch.bool)
    valid[1, 70:] = False
    kept = nms_ordered(boxes, valid, 0.5)
    scores = torch.linspace(1, 0.1, 120)
    for row, count in enumerate((120, 70)):
        expected = nms(boxes[row, :count], scores[:count], 0.5)
        assert 5 < len(expected) < count
        assert torch.equal(torch.nonzero(kept[row])[:, 0], expected)


@pytest.mark.parametrize("samples", [1, 2])
def test_an_exported_graph_samples_the_same(samples: int) -> None:
    torch.manual_seed(0)
    maps, boxes, indices = torch.randn(2, 5, 30, 40), torch.rand(9, 4) * 100 - 10, torch.randint(0, 2, (9,))
    boxes[:, 2:] += boxes[:, :2]
    boxes[0, 2:] = boxes[0, :2]
    plain = sample_boxes(maps, boxes, indices, size=7, scale=0.5, samples=samples)
    with as_exported():
        found = sample_boxes(maps, boxes, indices, size=7, scale=0.5, samples=samples)
    assert torch.allclose(found, plain, atol=1e-5)
