"""Draws how CRIS compares pixels with a phrase, with the sentence and with each token, on one contact sheet."""

from __future__ import annotations

import numpy as np
from PIL import Image

from risctl.inference.explanation import ExplainedPrediction
from risctl.systems.cris.explain import PixelSimilarity
from risctl.vision.drawing.captions import Caption, with_captions
from risctl.vision.drawing.contact_sheet import fit_image, grid
from risctl.vision.drawing.heatmap import heatmap_overlay
from risctl.vision.drawing.overlays import overlay
from risctl.vision.drawing.palette import colour
from risctl.visualization.explain.images import with_image

_CELL, _FONT_SIZE, _COLUMNS = 260, 14, 4


def similarity_contact_sheet(explained: ExplainedPrediction[PixelSimilarity]) -> np.ndarray:
    """Draws the mask, the similarity of pixels to the sentence, and to each token.

    Args:
        explained: A prediction that kept its image.

    Returns:
        The contact sheet, uint8 (H', W', 3).
    """
    [prediction], view = explained.frames, explained.explanation
    scaled, [mask] = fit_image(with_image(prediction), [prediction.mask], width=_CELL, height=_CELL)
    answer = Caption(text=f"mask, score {prediction.score:.2f}", colour=colour(0), filled=bool(mask.any()))
    sentence = Caption(text=f"the sentence: probability, from 0 to 1; in the mask above {prediction.threshold:g}")
    panels = [_panel(overlay(scaled, [mask]), answer), _panel(_heatmap(scaled, view.sentence), sentence)]
    for word, share, inside, outside in zip(view.words, view.attention, view.inside, view.outside, strict=True):
        low, high = float(share.min()), float(share.max())
        means = "" if np.isnan([inside, outside]).any() else f"; in the mask {inside:.2f}, beside it {outside:.2f}"
        caption = Caption(text=f"“{word}”: {low:.2f} to {high:.2f}{means}")
        panels.append(_panel(_heatmap(scaled, (share - low) / ((high - low) or 1.0)), caption))
    heading = [
        Caption(text=f"“{prediction.text}”"),
        Caption(
            text="How similar each pixel is to the sentence, then the share of its attention that it gives each token, "
            "each from its lowest (violet) to its highest (yellow)."
        ),
    ]
    return grid(panels, columns=_COLUMNS, heading=heading)


def _panel(image: np.ndarray, caption: Caption) -> np.ndarray:
    return with_captions(image, [caption], size=_FONT_SIZE, width=_CELL)


def _heatmap(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    size = (image.shape[1], image.shape[0])
    resized = Image.fromarray(values.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    return heatmap_overlay(image, np.asarray(resized))
