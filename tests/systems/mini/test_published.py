"""NanoDet-Plus-m as mini's detector: parity with ncnn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from helpers.command_line import Run
from torch import nn

from risctl.core.encoders.load_weights import load_backbone
from risctl.core.heads.detector import InstanceDetector
from risctl.errors import CheckpointError
from risctl.systems.mini.published import read_nanodet_plus

# What ncnn 1.0 computes for the input below, without its half-precision and Winograd options: score of a class in a
# cell, and the fourth logit of the distance to the left there. The cells are on all four levels.
REFERENCE = (
    (0, 0, 0.01202, -4.1727),
    (1352, 0, 0.010381, -4.1737),
    (2703, 60, 0.004159, -2.5933),
    (2704, 2, 0.000896, -1.1558),
    (3379, 56, 0.010579, -1.5557),
    (3380, 0, 0.005181, -1.3279),
    (3465, 15, 0.363726, None),
    (3548, 41, 0.004422, -1.1038),
    (3549, 0, 0.003821, -1.4522),
    (3597, 13, 0.013061, -1.717),
)
ALL_SCORES = 962.77466


@pytest.fixture
def param(shared: Path) -> Path:
    return shared / "data" / "weights" / "nanodet-plus-m_416.param"


def test_outputs_equal_those_of_ncnn(param: Path, tmp_path: Path, risctl: Run) -> None:
    out = tmp_path / "start.safetensors"
    ran = risctl("import", "nanodet-plus", param, "--out", out, "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["numbers"] == 1_186_346
    detector = InstanceDetector(plus=True).eval()
    parts = nn.ModuleDict({"backbone": detector.backbone, "neck": detector.neck, "detect": detector.head})
    load_backbone(parts, "the detector", str(out))
    images = torch.rand(1, 3, 416, 416, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        maps = detector.backbone(images, torch.zeros(1, 416, 416, dtype=torch.bool)).maps
        cells = detector.head(detector.neck(maps[1:]))
    scores = cells.scores.sigmoid()[0]
    assert scores.shape == (3598, 80)
    assert float(scores.sum()) == pytest.approx(ALL_SCORES, abs=0.01)
    for cell, category, score, side in REFERENCE:
        assert float(scores[cell, category]) == pytest.approx(score, abs=2e-6)
        assert side is None or float(cells.sides[0, cell].flatten()[3]) == pytest.approx(side, abs=2e-4)


def test_boxes_are_measured_from_the_corners_of_cells() -> None:
    with torch.no_grad():
        cells, _ = InstanceDetector(plus=True)(torch.rand(1, 3, 64, 64), torch.zeros(1, 64, 64, dtype=torch.bool))
    assert cells.strides.unique().tolist() == [8, 16, 32, 64]
    assert cells.centres[:2].tolist() == [[0, 0], [8, 0]] and cells.centres[-1].tolist() == [0, 0]


def test_another_network_is_refused(param: Path, tmp_path: Path) -> None:
    text = param.read_text()
    other = tmp_path / "other.param"
    # As many weights in a kernel of another shape.
    other.write_text(text.replace("0=112 1=1 11=1", "0=56 1=2 11=1", 1))
    weights = param.with_suffix(".bin").read_bytes()
    other.with_suffix(".bin").write_bytes(weights)
    with pytest.raises(CheckpointError, match="other"):
        read_nanodet_plus(other)
