"""One sheet of what STEP does over time: for each step its heatmap, its map, and what each word weighs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from risctl.vision.drawing.heat import colours_of, heat, outline
from risctl.vision.drawing.lettering import Font, line_height, readable, shortened, wrap
from risctl.vision.drawing.overlays import overlay

_PAPER, _PEN, _FAINT = (255, 255, 255), (24, 24, 24), (110, 110, 110)
_GROUND, _BAR, _TOP = (238, 240, 243), (120, 170, 215), (230, 159, 0)
_MARGIN, _GAP = 20, 12
_CELL, _HIGH, _LABELS = 210, 190, 120
_ROW = 21
_COLUMNS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class StepView:
    """One step: the level seen (1 to 5), its heatmap Q (h, w), the map P after it (h, w), both in [0, 1] and of the

    picture alone, and the weight of each word (L,), together one.
    """

    level: int
    heatmap: np.ndarray
    probability: np.ndarray
    weights: np.ndarray


def steps_sheet(
    image: np.ndarray,
    text: str,
    *,
    words: Sequence[str],
    steps: Sequence[StepView],
    mask: np.ndarray,
    columns: int,
    threshold: float = 0.5,
) -> np.ndarray:
    """Return the sheet, uint8 (H', W', 3): the picture with its mask and a legend, then `columns` steps a band.

    image: uint8 (H, W, 3); mask: bool (H, W), the answer; words: those that the steps weigh, in order; columns: steps
    of a fold, at most five are put beside each other. Heatmaps share one scale, from 0 to the highest cosine of all;
    maps have theirs from 0 to 1 and a white outline at the mask's `threshold`. Raises `ValueError` if there is no step.
    """
    if not steps:
        raise ValueError("a sheet of steps shows at least one step")
    columns = min(columns, _COLUMNS, len(steps))
    bands = [steps[start : start + columns] for start in range(0, len(steps), columns)]
    thumb = _fitted(image, width=_CELL, height=_HIGH)
    band_high = _ROW + 2 * (thumb.shape[0] + 6) + _ROW * len(words) + 2 * _GAP
    width = 2 * _MARGIN + _LABELS + columns * (_CELL + _GAP)
    head = _Head(image, text, mask=mask, steps=steps, columns=columns, width=max(width, 760), threshold=threshold)
    sheet = Image.new("RGB", (max(width, 760), head.height + len(bands) * band_high + _MARGIN), _PAPER)
    head.draw(sheet)
    peak = max(float(step.heatmap.max()) for step in steps) or 1.0
    most = max(float(step.weights.max(initial=0.0)) for step in steps) or 1.0
    for row, band in enumerate(bands):
        y = head.height + row * band_high
        _draw_labels(sheet, words, y=y, high=thumb.shape[0])
        for column, step in enumerate(band):
            x = _MARGIN + _LABELS + column * (_CELL + _GAP)
            number = row * columns + column + 1
            _draw_step(sheet, step, thumb, number=number, x=x, y=y, peak=peak, most=most, threshold=threshold)
    return np.asarray(sheet)


class _Head:
    """The picture with the answer on it, the text, and how to read the rest."""

    def __init__(
        self,
        image: np.ndarray,
        text: str,
        *,
        mask: np.ndarray,
        steps: Sequence[StepView],
        columns: int,
        width: int,
        threshold: float,
    ) -> None:
        self._picture = _fitted(overlay(image, [mask]), width=320, height=260)
        self._peak = max(float(step.heatmap.max()) for step in steps)
        room = width - self._picture.shape[1] - 3 * _MARGIN
        shown, self._title_font = readable(f'"{text}"', size=24)
        self._title = wrap(shown, font=self._title_font, width=room)[:3]
        _, self._font = readable("x", size=15)
        folds = math.ceil(len(steps) / columns)
        course = " ".join(f"F{step.level}" for step in steps[:columns])
        found = "the mask found is drawn on the picture" if mask.any() else "nothing was found"
        lines = [
            f"{len(steps)} steps: {folds} {'fold' if folds == 1 else 'folds'} of {course}; {found}.",
            "Q: how well the text fits this level of the picture (cosine).",
            f"P: the map after this step (probability); the white line is {threshold:g}, from where on the mask is.",
            "Words: each one's share of the text at this step, in per cent; the heaviest is orange.",
        ]
        self._lines = [part for line in lines for part in wrap(line, font=self._font, width=room)]
        beside = len(self._title) * line_height(self._title_font) + (len(self._lines) + 4) * line_height(self._font)
        self.height = max(self._picture.shape[0], beside) + 2 * _MARGIN

    def draw(self, sheet: Image.Image) -> None:
        """Draw it at the top of `sheet`."""
        sheet.paste(Image.fromarray(self._picture), (_MARGIN, _MARGIN))
        pen = ImageDraw.Draw(sheet)
        x, y = self._picture.shape[1] + 2 * _MARGIN, _MARGIN
        for line in self._title:
            pen.text((x, y), line, font=self._title_font, fill=_PEN)
            y += line_height(self._title_font)
        y += 6
        for line in self._lines:
            pen.text((x, y), line, font=self._font, fill=_PEN)
            y += line_height(self._font)
        y += 8
        for name, most in (("Q", self._peak), ("P", 1.0)):
            _draw_scale(sheet, name, most, font=self._font, x=x, y=y)
            y += line_height(self._font) + 4


def _draw_scale(sheet: Image.Image, name: str, most: float, *, font: Font, x: int, y: int) -> None:
    pen = ImageDraw.Draw(sheet)
    high = line_height(font) - 4
    ramp = np.broadcast_to(colours_of(np.linspace(0, 1, 160)), (high, 160, 3)).astype(np.uint8)
    pen.text((x, y), f"{name}   0", font=font, fill=_PEN)
    sheet.paste(Image.fromarray(ramp), (x + 44, y + 2))
    pen.text((x + 44 + 168, y), f"{most:.2g}", font=font, fill=_PEN)


def _draw_labels(sheet: Image.Image, words: Sequence[str], *, y: int, high: int) -> None:
    pen = ImageDraw.Draw(sheet)
    right = _MARGIN + _LABELS - _GAP
    top = y + _ROW
    _right_aligned(pen, "Q", right=right, y=top + high // 2 - 12, size=20)
    _right_aligned(pen, "P", right=right, y=top + high + 6 + high // 2 - 12, size=20)
    top += 2 * (high + 6)
    for row, word in enumerate(words):
        _right_aligned(pen, word, right=right, y=top + row * _ROW + 1, size=14)


def _draw_step(
    sheet: Image.Image,
    step: StepView,
    thumb: np.ndarray,
    *,
    number: int,
    x: int,
    y: int,
    peak: float,
    most: float,
    threshold: float,
) -> None:
    pen = ImageDraw.Draw(sheet)
    _, font = readable("x", size=15)
    pen.text((x, y), f"step {number}", font=font, fill=_PEN)
    pen.text((x + 70, y), f"level F{step.level}", font=font, fill=_FAINT)
    y += _ROW
    shape = thumb.shape[:2]
    found = heat(thumb, _resized(step.heatmap, shape) / peak)
    sheet.paste(Image.fromarray(found), (x, y))
    y += shape[0] + 6
    probability = _resized(step.probability, shape)
    drawn = heat(thumb, probability)
    drawn[outline(probability > threshold)] = (255, 255, 255)
    sheet.paste(Image.fromarray(drawn), (x, y))
    y += shape[0] + 6
    _, font = readable("x", size=13)
    heaviest = int(step.weights.argmax()) if len(step.weights) else -1
    for row, weight in enumerate(step.weights):
        top = y + row * _ROW
        pen.rectangle((x, top + 2, x + _CELL - 1, top + _ROW - 3), fill=_GROUND)
        long = round((_CELL - 40) * float(weight) / most)
        if long > 0:
            pen.rectangle((x, top + 2, x + long - 1, top + _ROW - 3), fill=_TOP if row == heaviest else _BAR)
        pen.text((x + long + 5, top + 2), f"{100 * float(weight):.0f}", font=font, fill=_PEN)


def _right_aligned(pen: ImageDraw.ImageDraw, text: str, *, right: int, y: int, size: int) -> None:
    shown, font = shortened(text, size=size, width=_LABELS - _GAP)
    pen.text((right - font.getlength(shown), y), shown, font=font, fill=_PEN)


def _fitted(image: np.ndarray, *, width: int, height: int) -> np.ndarray:
    """Return the picture scaled, up or down, to fit `width` x `height`."""
    scale = min(width / image.shape[1], height / image.shape[0])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def _resized(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    picture = Image.fromarray(values.astype(np.float32))
    return np.asarray(picture.resize((shape[1], shape[0]), Image.Resampling.BILINEAR))
