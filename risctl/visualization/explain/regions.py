"""Draws ReLA's regions on one contact sheet: the minimap, how each region counts, and what the strongest ones show."""

from __future__ import annotations

import numpy as np
from PIL import Image

from risctl.inference.explanation import ExplainedPrediction
from risctl.systems.rela.explain import RegionWeights
from risctl.vision.drawing.captions import Caption, with_captions
from risctl.vision.drawing.contact_sheet import fit_image, grid
from risctl.vision.drawing.heatmap import heatmap_overlay
from risctl.vision.drawing.overlays import overlay
from risctl.vision.drawing.palette import colour
from risctl.visualization.explain.images import with_image

_SIDE, _FONT_SIZE, _COLUMNS = 340, 15, 3


def regions_contact_sheet(explained: ExplainedPrediction[RegionWeights]) -> np.ndarray:
    """Draws the mask of the prediction, the minimap, the weights of the regions, and the masks of the strongest.

    Args:
        explained: A prediction that kept its image.

    Returns:
        The contact sheet, uint8 (H', W', 3).
    """
    [prediction], view = explained.frames, explained.explanation
    scaled, [mask] = fit_image(with_image(prediction), [prediction.mask], width=_SIDE, height=_SIDE)
    shape = (scaled.shape[0], scaled.shape[1])
    caption = Caption(text=f"a target: {view.target:.2f}", colour=colour(0), filled=bool(mask.any()))
    panels = [_panel(overlay(scaled, [mask]), caption)]
    chances = f"minimap, {_named(view.minimap)}: probability of target, from 0 (violet) to 1 (yellow)"
    panels.append(_panel(heatmap_overlay(scaled, _cells(view.minimap, shape)), Caption(text=chances)))
    reach = float(np.abs(view.weights).max()) or 1.0
    weights = f"region weights: how each region's mask counts, from {-reach:.2g} (violet) to {reach:.2g} (yellow)"
    spread = (_cells(view.weights, shape) / reach + 1) / 2
    panels.append(_panel(heatmap_overlay(scaled, spread), Caption(text=weights)))
    for (row, column), own in zip(view.strongest, view.masks, strict=True):
        weight = float(view.weights[row, column])
        text = f"own mask of row {row + 1}, column {column + 1}, weight {weight:.2g}"
        panels.append(_panel(heatmap_overlay(scaled, _resized(own, shape)), Caption(text=text)))
    return grid(panels, columns=_COLUMNS, heading=[Caption(text=f"“{prediction.text}”")])


def _panel(image: np.ndarray, caption: Caption) -> np.ndarray:
    return with_captions(image, [caption], size=_FONT_SIZE, width=_SIDE)


def _named(values: np.ndarray) -> str:
    return f"{values.shape[0]} x {values.shape[1]} regions"


def _cells(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Returns values (rows, columns) as cells with edges, (H, W)."""
    return _resized(values, shape, resample=Image.Resampling.NEAREST)


def _resized(
    values: np.ndarray, shape: tuple[int, int], *, resample: Image.Resampling = Image.Resampling.BILINEAR
) -> np.ndarray:
    return np.asarray(Image.fromarray(values.astype(np.float32)).resize((shape[1], shape[0]), resample))
