"""One sheet of what VLT's queries read and where they look: words by query, confidences, attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from risctl.vision.drawing.captions import Caption, caption_block
from risctl.vision.drawing.contact_sheet import fitted
from risctl.vision.drawing.heat import colours_of, heat
from risctl.vision.drawing.lettering import line_height, readable, shortened
from risctl.vision.drawing.overlays import overlay
from risctl.vision.drawing.palette import Colour, ink

_PAPER: Colour = (255, 255, 255)
_PEN: Colour = (24, 24, 24)
_GROUND: Colour = (238, 240, 243)
_BAR: Colour = (120, 170, 215)
_TOP: Colour = (230, 159, 0)
_MARGIN, _GAP = 20, 16
_PICTURE, _HIGH = 420, 320
_ROW, _NAME, _CONFIDENCE = 26, 84, 150
_CELL, _NARROW = 92, 56


@dataclass(frozen=True, slots=True, kw_only=True)
class WordsView:
    """weights (Q, L): each query's shares of the words, rows together one; confidences (Q,) in [0, 1]; attention

    (h, w): where the queries look, weighed by their confidences, at the picture's shape or a scaled one, not negative.
    """

    weights: np.ndarray
    confidences: np.ndarray
    attention: np.ndarray


def words_sheet(image: np.ndarray, text: str, *, words: Sequence[str], view: WordsView, mask: np.ndarray) -> np.ndarray:
    """Return the sheet, uint8 (H', W', 3): the picture with its mask, the attention, and a row a query.

    image: uint8 (H, W, 3); mask: bool (H, W), the answer; words: the columns of the weights, in order. Raises
    `ValueError` if words and weights differ in number.
    """
    queries, count = view.weights.shape
    if len(words) != count or len(view.confidences) != queries:
        raise ValueError(f"weights are (queries, words); got {view.weights.shape} for {len(words)} words")
    picture, [small] = fitted(image, [mask], width=_PICTURE, height=_HIGH)
    shape = picture.shape[:2]
    attention = np.asarray(
        Image.fromarray(view.attention.astype(np.float32)).resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    )
    low, high, mean = (float(one) for one in (attention.min(), attention.max(), attention.mean()))
    spread = (attention - low) / ((high - low) or 1.0)
    extremes = f"{low / mean:.1f} (violet) to {high / mean:.1f} (yellow)" if mean else "0"
    cell = min(_CELL, max(_NARROW, 900 // max(1, count)))
    width = max(2 * shape[1] + _GAP, _NAME + count * cell + _GAP + _CONFIDENCE) + 2 * _MARGIN
    found = "drawn on the picture, left" if small.any() else "nothing"
    heading = caption_block(
        [
            Caption(text=f"“{text}”"),
            Caption(
                text=f"Found: {found}. Right: where the queries look, weighed by their confidences, from {extremes} "
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
    sheet = Image.new("RGB", (width, table + (queries + 1) * _ROW + _MARGIN), _PAPER)
    sheet.paste(Image.fromarray(heading), (0, 0))
    sheet.paste(Image.fromarray(overlay(picture, [small])), (_MARGIN, top))
    sheet.paste(Image.fromarray(heat(picture, spread)), (_MARGIN + shape[1] + _GAP, top))
    _draw_titles(sheet, words, y=table, cell=cell)
    best = int(view.confidences.argmax())
    most = float(view.weights.max()) or 1.0
    for query in range(queries):
        _draw_query(
            sheet,
            number=query,
            weights=view.weights[query],
            confidence=float(view.confidences[query]),
            best=query == best,
            most=most,
            y=table + (query + 1) * _ROW,
            cell=cell,
        )
    return np.asarray(sheet)


def _draw_titles(sheet: Image.Image, words: Sequence[str], *, y: int, cell: int) -> None:
    pen = ImageDraw.Draw(sheet)
    for column, word in enumerate(words):
        shown, font = shortened(word, size=14, width=cell - 6)
        left = _MARGIN + _NAME + column * cell
        pen.text((left + (cell - font.getlength(shown)) / 2, y + 4), shown, font=font, fill=_PEN)
    _, font = readable("x", size=14)
    pen.text((_MARGIN + _NAME + len(words) * cell + _GAP, y + 4), "confidence", font=font, fill=_PEN)


def _draw_query(
    sheet: Image.Image,
    *,
    number: int,
    weights: np.ndarray,
    confidence: float,
    best: bool,
    most: float,
    y: int,
    cell: int,
) -> None:
    pen = ImageDraw.Draw(sheet)
    _, font = readable("x", size=13)
    lower = (_ROW - line_height(font)) // 2
    pen.text((_MARGIN, y + lower), f"query {number}", font=font, fill=_PEN)
    for column, weight in enumerate(weights.tolist()):
        left = _MARGIN + _NAME + column * cell
        red, green, blue = (round(part) for part in colours_of(np.array(weight / most)).tolist())
        pen.rectangle((left, y, left + cell - 2, y + _ROW - 2), fill=(red, green, blue))
        told = f"{100 * weight:.0f}"
        place = left + (cell - 2 - font.getlength(told)) / 2
        pen.text((place, y + lower), told, font=font, fill=ink((red, green, blue)))
    left = _MARGIN + _NAME + len(weights) * cell + _GAP
    wide = _CONFIDENCE - 44
    pen.rectangle((left, y + 4, left + wide - 1, y + _ROW - 6), fill=_GROUND)
    if round(wide * confidence) > 0:
        fill = _TOP if best else _BAR
        pen.rectangle((left, y + 4, left + round(wide * confidence) - 1, y + _ROW - 6), fill=fill)
    pen.text((left + wide + 6, y + lower), f"{confidence:.2f}", font=font, fill=_PEN)
