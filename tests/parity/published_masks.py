"""Parity of datasets: published annotations and the masks that the published code makes of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from comparison import Row

from risctl.data.datasets.reasonseg.reader import label_map


def rows(case: dict[str, Any], arrays: Mapping[str, np.ndarray], folder: Path) -> Iterator[Row]:
    """Yield (mask, number of pixels that differ, 0) for every image of `case`."""
    del folder
    if case["kind"] != "reasonseg_masks":
        raise ValueError(f"no such kind of dataset: {case['kind']}")
    for number, item in enumerate(case["items"]):
        height, width = item["size"]
        found = label_map(item["annotation"], height=height, width=width)
        yield f"mask_{number}", float(np.count_nonzero(found != arrays[f"mask_{number}"])), 0.0
