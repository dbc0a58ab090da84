"""Draws what LAVT's stages read, and how far their gates open, on one contact sheet: a column a stage."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from risctl.inference.explanation import ExplainedPrediction
from risctl.systems.lavt.explain import StageWords
from risctl.vision.drawing.captions import Caption, caption_block
from risctl.vision.drawing.contact_sheet import fit_image
from risctl.vision.drawing.heatmap import heatmap_overlay
from risctl.vision.drawing.lettering import line_height, readable, truncated
from risctl.vision.drawing.overlays import overlay
from risctl.visualization.explain.images import with_image

_PAPER, _PEN, _FAINT = (255, 255, 255), (24, 24, 24), (110, 110, 110)
_MARGIN, _GAP, _LABELS = 20, 8, 120
_CELL, _CELL_HEIGHT, _LINE = 170, 130, 18
_PICTURE_HEIGHT = 260


def stages_contact_sheet(explained: ExplainedPrediction[StageWords]) -> np.ndarray:
    """Draws the image with its mask, a row with the gates of the stages, and a row for each token.

    All heatmaps of a stage's attention share one scale, from 0 to the stage's highest; gates have one scale for all
    stages.

    Args:
        explained: A prediction that kept its image.

    Returns:
        The contact sheet, uint8 (H', W', 3).
    """
    [prediction], view = explained.frames, explained.explanation
    image = with_image(prediction)
    width = 2 * _MARGIN + _LABELS + len(view.stages) * (_CELL + _GAP)
    large, [mask] = fit_image(image, [prediction.mask], width=width - 2 * _MARGIN, height=_PICTURE_HEIGHT)
    thumb, _ = fit_image(image, width=_CELL, height=_CELL_HEIGHT)
    opened = [float(stage.gate.max()) for stage in view.stages if stage.gate is not None]
    widest = max(opened, default=0.0) or 1.0
    heading = caption_block(
        [
            Caption(text=f"“{prediction.text}”"),
            Caption(text="Found: " + ("drawn on the picture." if mask.any() else "nothing.")),
            Caption(
                text=f"Gate: how much of what a stage read goes into the next one, from 0 (violet) to {widest:.2g} "
                "(yellow). What the last stage read goes to the decoder only."
            ),
            Caption(
                text="Words: where each stage reads them, from 0 to the stage's highest. Below: their share of the "
                "attention, and of that within the mask."
            ),
        ],
        width=width,
        size=16,
    )
    top = len(heading) + large.shape[0] + _GAP
    step = thumb.shape[0] + _LINE + _GAP
    sheet = Image.new("RGB", (width, top + _LINE + _GAP + (1 + len(view.words)) * step + _MARGIN), _PAPER)
    sheet.paste(Image.fromarray(heading), (0, 0))
    sheet.paste(Image.fromarray(overlay(large, [mask])), (_MARGIN, len(heading)))
    for row, word in enumerate(("gate", *view.words)):
        _draw_label(sheet, word, y=top + _LINE + _GAP + row * step + thumb.shape[0] // 2)
    for column, stage in enumerate(view.stages):
        x, y = _MARGIN + _LABELS + column * (_CELL + _GAP), top
        _draw_text(sheet, f"stage {column + 1}", x=x, y=y, colour=_PEN)
        y += _LINE + _GAP
        if stage.gate is None:
            _draw_text(sheet, "none", x=x, y=y, colour=_FAINT)
        else:
            _draw_map(sheet, thumb, stage.gate / widest, f"mean {float(stage.gate.mean()):.2f}", x=x, y=y)
        highest = float(stage.attention.max(initial=0.0)) or 1.0
        for token, attention in enumerate(stage.attention):
            y += step
            note = f"{100 * view.overall[column, token]:.0f} %, in mask {100 * view.in_mask[column, token]:.0f} %"
            _draw_map(sheet, thumb, attention / highest, note, x=x, y=y)
    return np.asarray(sheet)


def _draw_map(sheet: Image.Image, thumb: np.ndarray, values: np.ndarray, note: str, *, x: int, y: int) -> None:
    size = (thumb.shape[1], thumb.shape[0])
    sized = np.asarray(Image.fromarray(values.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))
    sheet.paste(Image.fromarray(heatmap_overlay(thumb, sized)), (x, y))
    _draw_text(sheet, note, x=x, y=y + thumb.shape[0], colour=_FAINT)


def _draw_text(sheet: Image.Image, text: str, *, x: int, y: int, colour: tuple[int, int, int]) -> None:
    _, font = readable("x", size=13)
    ImageDraw.Draw(sheet).text((x, y), text, font=font, fill=colour)


def _draw_label(sheet: Image.Image, word: str, *, y: int) -> None:
    short, font = truncated(word, size=15, width=_LABELS - _GAP)
    x = _MARGIN + _LABELS - _GAP - font.getlength(short)
    ImageDraw.Draw(sheet).text((x, y - line_height(font) // 2), short, font=font, fill=_PEN)
