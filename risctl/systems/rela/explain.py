"""Computes what ReLA shows of a prediction: its minimap, the weights of its regions, the masks of the strongest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from risctl.results import Prediction
from risctl.systems.explanation import map_at_image_size


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionWeights:
    """The regions of a prediction (Liu et al., CVPR 2023, section 4.2).

    Attributes:
        target: The probability that there is a target.
        minimap: The probability of target in each region, (rows, columns).
        weights: How each region's filter counts for the target against the background, (rows, columns), of any sign.
        strongest: Row and column of the regions with the largest weights, largest first.
        masks: Their own masks, float32 (N, H', W') in [0, 1], at the image's aspect ratio.
    """

    kind: ClassVar[str] = "regions"
    target: float
    minimap: np.ndarray
    weights: np.ndarray
    strongest: tuple[tuple[int, int], ...]
    masks: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """Returns all but the masks as JSON values."""
        return {
            "target": round(self.target, 6),
            "minimap": _rounded(self.minimap),
            "region_weights": _rounded(self.weights),
            "strongest": [list(one) for one in self.strongest],
        }


def explain_regions(prediction: Prediction) -> RegionWeights:
    """Returns the regions of `prediction`."""
    if prediction.geometry is None:
        raise ValueError("expected a prediction that kept its geometry")
    maps = prediction.maps
    columns = maps["minimap"].shape[1]
    return RegionWeights(
        target=float(prediction.score),
        minimap=maps["minimap"],
        weights=maps["region_weights"],
        strongest=tuple(divmod(int(region), columns) for region in maps["strongest"]),
        masks=np.stack([map_at_image_size(one, prediction.geometry) for one in maps["region_masks"]]),
    )


def _rounded(values: np.ndarray) -> list[list[float]]:
    return [[round(float(value), 6) for value in row] for row in values]
