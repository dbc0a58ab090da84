"""The files of published figures: every row is complete, has a source, and names figures that we compute."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from risctl.data.datasets.registry import DATASETS
from risctl.errors import DataError
from risctl.evaluation.published.rows import DETECTION_PROTOCOLS, TABLES, published_rows, read_rows
from risctl.metrics.protocols import PROTOCOLS
from risctl.recipe.load import load_recipe
from risctl.recipe.shipped import shipped_recipes

FIGURES = {
    "zsi": {"recall@100 0.4", "recall@100 0.5", "recall@100 0.6", "mAP 0.5"},
    "gzsi": {f"{part} {name} 0.5" for part in ("seen", "unseen", "HM") for name in ("mAP", "recall@100")},
    "videos": {f"{name}{task}" for name in ("J&F", "J", "F") for task in ("", " (unsupervised)")},
    "a2d": {"oIoU", "mIoU", "mAP_0.5:0.95"},
    "rela": {"cIoU", "gIoU", "N-acc"},
}
BACKBONES = {"ResNet-50", "ResNet-101", "Swin-T", "Swin-L", "Video-Swin-T", "Video-Swin-S", "Video-Swin-B"}


def test_every_row_names_known_data_and_figures_and_its_source() -> None:
    rows = published_rows()
    assert len(rows) >= 30
    counted = Counter(row.system for row in rows)
    assert set(counted) == {"vlt", "step", "referformer", "zsi", "global_local_clip", "lavt", "cris", "rela"}
    for row in rows:
        dataset = DATASETS[row.dataset]
        known = dataset.published.get(row.split_by or "", {})
        assert not known or row.split in known or set(known) == {"total"}, row
        assert not dataset.split_by or row.split_by in dataset.split_by, row
        assert row.protocol in (*PROTOCOLS, "videos", *DETECTION_PROTOCOLS)
        own = FIGURES.get(row.protocol, {"oIoU", "mIoU", "Pr@0.5", "Pr@0.6", "Pr@0.7", "Pr@0.8", "Pr@0.9"})
        assert set(row.figures) <= own, row
        assert len(row.source) > 10
    keys = [(row.model, row.dataset, row.split_by, row.split, row.protocol, *sorted(row.figures)) for row in rows]
    assert len(keys) == len(set(keys))


def test_every_backbone_of_referformer_with_published_figures_has_rows() -> None:
    rows = [row for row in published_rows() if row.system == "referformer"]
    assert {row.model.split(", ")[1] for row in rows} == BACKBONES
    found = {(row.model.split(", ")[1], row.dataset): row.figures for row in rows if "joint" not in row.model}
    assert found["ResNet-50", "refcoco"] == {"oIoU": 71.1}
    assert found["Video-Swin-B", "a2d"] == {"oIoU": 78.6, "mIoU": 70.3, "mAP_0.5:0.95": 55.0}


@pytest.mark.parametrize(
    ("recipe", "split", "figure", "value"),
    [
        ("vlt-refcoco", "testA", "mIoU", 68.29),
        ("vlt-refcocog", "test", "mIoU", 56.65),
        ("step-refclef", "test", "oIoU", 64.13),
        ("referformer-pretrain", "val", "oIoU", 71.1),
        ("zsi-48-17", "test", "mAP 0.5", 9.0),
    ],
)
def test_recipes_print_in_their_headers_what_the_files_hold(recipe: str, split: str, figure: str, value: float) -> None:
    read = load_recipe(recipe)
    header = shipped_recipes()[recipe].read_text(encoding="utf-8").partition("\nname:")[0]
    dataset = Path(read.data.store).stem.split("_")[0]
    figures = [
        row.figures[figure]
        for row in published_rows()
        if (row.system, row.dataset, row.split) == (read.model.system, dataset, split) and figure in row.figures
    ]
    assert value in figures and f"{value:g}" in header


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("split: testA", "splitt: testA"), "table 1, row 2: "),
        (("protocol: mcn", "protocol: mnc"), "expected a protocol of original"),
        (("mIoU: 65.65", "mIoU: 165.65"), "less than or equal to 100"),
        (("checked: true", "checked: maybe"), "checked: Input should be a valid boolean"),
        (("tables:", "table:"), "tables: expected a list"),
        (("rows:\n", "lines:\n"), "rows: expected a list"),
    ],
)
def test_a_damaged_file_is_told_by_its_row_and_key(tmp_path: Path, change: tuple[str, str], told: str) -> None:
    text = (TABLES / "vlt.yaml").read_text(encoding="utf-8")
    assert change[0] in text
    file = tmp_path / "vlt.yaml"
    file.write_text(text.replace(*change, 1), encoding="utf-8")
    with pytest.raises(DataError, match=r"vlt\.yaml") as error:
        read_rows(file)
    assert told in str(error.value) and "\n" not in str(error.value)
