"""Writes the published case of concepts as SA-Co's and PBench's files, and its predictions as SAM 3 writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from helpers import refer_files

from risctl.vision import rle


@dataclass(frozen=True)
class ConceptCase:
    """The case with its masks."""

    case: dict[str, Any]
    arrays: Mapping[str, np.ndarray]

    @classmethod
    def read(cls, shared: Path) -> ConceptCase:
        folder = shared / "parity" / "more_metrics" / "cgf1_eighteen"
        with np.load(folder / "io.npz") as arrays:
            return cls(json.loads((folder / "case.json").read_text()), dict(arrays))

    def masks(self, name: str, number: int) -> np.ndarray:
        """Returns the masks (N, H, W) of a pair: `pred`, or `gt_a` and so on."""
        pair = self.case["pairs"][number]
        shape = (pair[name], *pair["size"])
        return np.unpackbits(self.arrays[f"{name}_{number}"], count=int(np.prod(shape))).reshape(shape).astype(bool)

    def stated(self, protocol: str, number: int) -> dict[str, float]:
        """Returns the published code's figures of a run, fractions and counts."""
        figures: dict[str, float] = self.case["protocols"][protocol]["runs"][number]["figures"]
        return figures

    def write_saco(self, root: Path, annotators: Sequence[str], *, part: str = "gold") -> Path:
        """Write the files of annotators, with a picture a size."""
        root.mkdir(parents=True)
        for annotator in annotators:
            images, annotations = [], []
            for number, pair in enumerate(self.case["pairs"]):
                height, width = pair["size"]
                file = root / "images" / f"{height}x{width}.jpg"
                file.parent.mkdir(exist_ok=True)
                file.write_bytes(refer_files.jpeg(height, width))
                images.append(
                    {
                        "id": pair["id"],
                        "file_name": file.name,
                        "text_input": f"Thing {number}",
                        "width": width,
                        "height": height,
                        "is_instance_exhaustive": pair["is_instance_exhaustive"][annotator],
                    }
                )
                annotations += [
                    {
                        "id": len(annotations) + place,
                        "image_id": pair["id"],
                        "category_id": 1,
                        "iscrowd": int(place in pair[f"crowd_{annotator}"]),
                        "bbox": [0.0, 0.0, 0.5, 0.5],
                        "segmentation": rle.encode(mask),
                    }
                    for place, mask in enumerate(self.masks(f"gt_{annotator}", number))
                ]
            name = f"gold_crowded_merged_{annotator}_release_test" if part == "gold" else "silver_food_merged_test"
            (root / f"{name}.json").write_text(json.dumps({"images": images, "annotations": annotations}))
        return root

    def write_predictions(self, path: Path, *, ids: Sequence[int] | None = None) -> Path:
        """Write COCO results as SAM 3's `coco_predictions_segm.json`."""
        records = [
            {
                "image_id": pair["id"] if ids is None else ids[number],
                "category_id": 1,
                "score": score,
                "bbox": [0.0, 0.0, 0.5, 0.5],
                "segmentation": rle.encode(mask),
            }
            for number, pair in enumerate(self.case["pairs"])
            for mask, score in zip(self.masks("pred", number), pair["scores"], strict=True)
        ]
        path.write_text(json.dumps(records))
        return path

    def write_pbench(self, path: Path) -> Path:
        """Write the first annotator's instances as a table of PBench; crowds are left out, as in the published case."""
        import pyarrow
        from pyarrow import parquet

        rows = []
        for number, pair in enumerate(self.case["pairs"]):
            masks = [
                dict(rle.encode(mask))
                for place, mask in enumerate(self.masks("gt_a", number))
                if place not in pair["crowd_a"]
            ]
            picture = {"bytes": refer_files.jpeg(*pair["size"]), "path": f"{number}.jpg"}
            rows.append({"image": picture, "expression": f"things of kind {number}", "masks": json.dumps(masks)})
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        return path
