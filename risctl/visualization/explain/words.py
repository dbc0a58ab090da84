"""Draws what VLT's queries read and where they look on one contact sheet: words by query, confidences, attention."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from risctl.inference.explanation import ExplainedPrediction
from risctl.systems.vlt.explain import QueryWords
from risctl.vision.drawing.captions import Caption, caption_block
from risctl.vision.drawing.contact_sheet import fit_image
from risctl.vision.drawing.heatmap import heatmap_overlay, viridis
from risctl.vision.drawing.lettering import line_height, readable, truncated
from risctl.vision.drawing.overlays import overlay
from risctl.vision.drawing.palette import Colour, text_colour
from risctl.visualization.explain.images import with_image

_PAPER: Colour = (255, 255, 255)
_PEN: Colour = (24, 24, 24)
_GROUND: Colour = (238, 240, 243)
_BAR: Colour = (120, 170, 215)
_TOP: Colour = (230, 159, 0)
_MARGIN, _GAP = 20, 16
_PICTURE, _PICTURE_HEIGHT = 420, 320
_ROW_HEIGHT, _NAME, _CONFIDENCE = 26, 84, 150
_CELL, _NARROW = 92, 56


def words_contact_sheet(explained: ExplainedPrediction[QueryWords]) -> np.ndarray:
    """Draws what VLT's queries read: the image with its mask, the attention beside it, and one query per row.

    Args:
        explained: A prediction that kept its image.

    Returns:
        The contact sheet, uint8 (H', W', 3).

    Raises:
        ValueError: Words and weights differ in number.
    """
    [prediction], view, words = explained.frames, explained.explanation, explained.explanation.words
    queries, count = view.weights.shape
    if len(words) != count or len(view.confidences) != queries:
        raise ValueError(f"weights are (queries, words); got {view.weights.shape} for {len(words)} words")
    scaled, [small] = fit_image(with_image(prediction), [prediction.mask], width=_PICTURE, height=_PICTURE_HEIGHT)
    shape = scaled.shape[:2]
    attention = np.asarray(
        Image.fromarray(view.attention.astype(np.float32)).resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    )
    low, high, mean = (float(one) for one in (attention.min(), attention.max(), attention.mean()))
    spread = (attention - low) / ((high - low) or 1.0)
    extremes = f"{low / mean:.1f} (violet) to {high / mean:.1f} (yellow)" if mean else "0"
    cell = min(_CELL, max(_NARROW, 900 // max(1, count)))
    width = max(2 * shape[1] + _GAP, _NAME + count * cell + _GAP + _CONFIDENCE) + 2 * _MARGIN
    answer = "drawn on the picture, left" if small.any() else "nothing"
    heading = caption_block(
        [
            Caption(text=f"“{prediction.text}”"),
            Caption(
                text=f"Found: {answer}. Right: where the queries look, weighed by their confidences, from {extremes} "
                "times an even share."
            ),
            Caption(
                text="Rows: what each query reads, in per cent of its attention, and how much its answer counts "
                "(confidence, 0 to 1; the highest is orange)."
            ),
        ],
        width=width,
        size=16,
    )
    top = len(heading)
    table = top + shape[0] + _GAP
    sheet = Image.new("RGB", (width, table + (queries + 1) * _ROW_HEIGHT + _MARGIN), _PAPER)
    sheet.paste(Image.fromarray(heading), (0, 0))
    sheet.paste(Image.fromarray(overlay(scaled, [small])), (_MARGIN, top))
    sheet.paste(Image.fromarray(heatmap_overlay(scaled, spread)), (_MARGIN + shape[1] + _GAP, top))
    _draw_titles(sheet, words, y=table, cell=cell)
    best = int(view.confidences.argmax())
    largest = float(view.weights.max()) or 1.0
    for query in range(queries):
        _draw_query(
            sheet,
            number=query,
            weights=view.weights[query],
            confidence=float(view.confidences[query]),
            best=query == best,
            largest=largest,
            y=table + (query + 1) * _ROW_HEIGHT,
            cell=cell,
        )
    return np.asarray(sheet)


def _draw_titles(sheet: Image.Image, words: Sequence[str], *, y: int, cell: int) -> None:
    pen = ImageDraw.Draw(sheet)
    for column, word in enumerate(words):
        short, font = truncated(word, size=14, width=cell - 6)
        left = _MARGIN + _NAME + column * cell
        pen.text((left + (cell - font.getlength(short)) / 2, y + 4), short, font=font, fill=_PEN)
    _, font = readable("x", size=14)
    pen.text((_MARGIN + _NAME + len(words) * cell + _GAP, y + 4), "confidence", font=font, fill=_PEN)


def _draw_query(
    sheet: Image.Image,
    *,
    number: int,
    weights: np.ndarray,
    confidence: float,
    best: bool,
    largest: float,
    y: int,
    cell: int,
) -> None:
    pen = ImageDraw.Draw(sheet)
    _, font = readable("x", size=13)
    lower = (_ROW_HEIGHT - line_height(font)) // 2
    pen.text((_MARGIN, y + lower), f"query {number}", font=font, fill=_PEN)
    for column, weight in enumerate(weights.tolist()):
        left = _MARGIN + _NAME + column * cell
        red, green, blue = (round(part) for part in viridis(np.array(weight / largest)).tolist())
        pen.rectangle((left, y, left + cell - 2, y + _ROW_HEIGHT - 2), fill=(red, green, blue))
        percent = f"{100 * weight:.0f}"
        x = left + (cell - 2 - font.getlength(percent)) / 2
        pen.text((x, y + lower), percent, font=font, fill=text_colour((red, green, blue)))
    left = _MARGIN + _NAME + len(weights) * cell + _GAP
    bar_width = _CONFIDENCE - 44
    pen.rectangle((left, y + 4, left + bar_width - 1, y + _ROW_HEIGHT - 6), fill=_GROUND)
    if round(bar_width * confidence) > 0:
        fill = _TOP if best else _BAR
        pen.rectangle((left, y + 4, left + round(bar_width * confidence) - 1, y + _ROW_HEIGHT - 6), fill=fill)
    pen.text((left + bar_width + 6, y + lower), f"{confidence:.2f}", font=font, fill=_PEN)
