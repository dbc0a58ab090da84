"""Draws STEP's steps on one contact sheet: for each step its heatmap, its map, and the weights of the words."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from risctl.inference.explanation import ExplainedPrediction
from risctl.results import Prediction
from risctl.systems.step.explain import Steps, StepView
from risctl.vision.drawing.heatmap import heatmap_overlay, outline, viridis
from risctl.vision.drawing.lettering import Font, line_height, readable, truncated, wrap
from risctl.vision.drawing.overlays import overlay
from risctl.visualization.explain.images import with_image

_PAPER, _PEN, _FAINT = (255, 255, 255), (24, 24, 24), (110, 110, 110)
_GROUND, _BAR, _TOP = (238, 240, 243), (120, 170, 215), (230, 159, 0)
_MARGIN, _GAP = 20, 12
_CELL, _CELL_HEIGHT, _LABELS = 210, 190, 120
_WORD_HEIGHT = 21
_COLUMNS, _MIN_WIDTH = 5, 760


def steps_contact_sheet(explained: ExplainedPrediction[Steps]) -> np.ndarray:
    """Draws STEP's steps: the image with its mask and a legend, then one fold per row.

    A row has at most five steps. Heatmaps share one scale, from 0 to the highest cosine of all; maps have theirs from 0
    to 1, and a white outline at the mask's threshold.

    Args:
        explained: A prediction that kept its image, with at least one step.

    Returns:
        The contact sheet, uint8 (H', W', 3).
    """
    [prediction], steps, words = explained.frames, explained.explanation.steps, explained.explanation.words
    if not steps:
        raise ValueError("a contact sheet of steps shows at least one step")
    columns = min(explained.explanation.levels_per_fold, _COLUMNS, len(steps))
    rows = [steps[start : start + columns] for start in range(0, len(steps), columns)]
    image = with_image(prediction)
    thumb = _fitted(image, width=_CELL, height=_CELL_HEIGHT)
    row_height = _WORD_HEIGHT + 2 * (thumb.shape[0] + 6) + _WORD_HEIGHT * len(words) + 2 * _GAP
    width = max(2 * _MARGIN + _LABELS + columns * (_CELL + _GAP), _MIN_WIDTH)
    head = _Head(prediction, steps=steps, columns=columns, width=width)
    sheet = Image.new("RGB", (width, head.height + len(rows) * row_height + _MARGIN), _PAPER)
    head.draw(sheet)
    peak = max(float(step.heatmap.max()) for step in steps) or 1.0
    largest = max(float(step.weights.max(initial=0.0)) for step in steps) or 1.0
    for row, of_row in enumerate(rows):
        y = head.height + row * row_height
        _draw_labels(sheet, words, y=y, height=thumb.shape[0])
        for column, step in enumerate(of_row):
            x = _MARGIN + _LABELS + column * (_CELL + _GAP)
            number = row * columns + column + 1
            title = f"step {number}"
            _draw_step(
                sheet, step, thumb, title=title, x=x, y=y, peak=peak, largest=largest, threshold=prediction.threshold
            )
    return np.asarray(sheet)


class _Head:
    """The image with its mask, the expression, and how to read the rest."""

    def __init__(
        self,
        prediction: Prediction,
        *,
        steps: Sequence[StepView],
        columns: int,
        width: int,
    ) -> None:
        mask = prediction.mask
        self._picture = _fitted(overlay(with_image(prediction), [mask]), width=320, height=260)
        self._peak = max(float(step.heatmap.max()) for step in steps)
        room = width - self._picture.shape[1] - 3 * _MARGIN
        title, self._title_font = readable(f'"{prediction.text}"', size=24)
        self._title = wrap(title, font=self._title_font, width=room)[:3]
        _, self._font = readable("x", size=15)
        folds = math.ceil(len(steps) / columns)
        levels = " ".join(f"F{step.level}" for step in steps[:columns])
        answer = "the mask found is drawn on the picture" if mask.any() else "nothing was found"
        legend = f"P: the map after this step (probability); the white line is {prediction.threshold:g}, "
        legend += "from where on the mask is."
        lines = [
            f"{len(steps)} steps: {folds} {'fold' if folds == 1 else 'folds'} of {levels}; {answer}.",
            "Q: how well the text fits this level of the picture (cosine).",
            legend,
            "Words: each one's share of the text at this step, in per cent; the heaviest is orange.",
        ]
        self._lines = [part for line in lines for part in wrap(line, font=self._font, width=room)]
        beside = len(self._title) * line_height(self._title_font) + (len(self._lines) + 4) * line_height(self._font)
        self.height = max(self._picture.shape[0], beside) + 2 * _MARGIN

    def draw(self, sheet: Image.Image) -> None:
        """Draws it at the top of `sheet`."""
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
        for name, highest in (("Q", self._peak), ("P", 1.0)):
            _draw_scale(sheet, name, highest, font=self._font, x=x, y=y)
            y += line_height(self._font) + 4


def _draw_scale(sheet: Image.Image, name: str, highest: float, *, font: Font, x: int, y: int) -> None:
    pen = ImageDraw.Draw(sheet)
    height = line_height(font) - 4
    ramp = np.broadcast_to(viridis(np.linspace(0, 1, 160)), (height, 160, 3)).astype(np.uint8)
    pen.text((x, y), f"{name}   0", font=font, fill=_PEN)
    sheet.paste(Image.fromarray(ramp), (x + 44, y + 2))
    pen.text((x + 44 + 168, y), f"{highest:.2g}", font=font, fill=_PEN)


def _draw_labels(sheet: Image.Image, words: Sequence[str], *, y: int, height: int) -> None:
    pen = ImageDraw.Draw(sheet)
    right = _MARGIN + _LABELS - _GAP
    top = y + _WORD_HEIGHT
    _right_aligned(pen, "Q", right=right, y=top + height // 2 - 12, size=20)
    _right_aligned(pen, "P", right=right, y=top + height + 6 + height // 2 - 12, size=20)
    top += 2 * (height + 6)
    for row, word in enumerate(words):
        _right_aligned(pen, word, right=right, y=top + row * _WORD_HEIGHT + 1, size=14)


def _draw_step(
    sheet: Image.Image,
    step: StepView,
    thumb: np.ndarray,
    *,
    title: str,
    x: int,
    y: int,
    peak: float,
    largest: float,
    threshold: float,
) -> None:
    pen = ImageDraw.Draw(sheet)
    _, font = readable("x", size=15)
    pen.text((x, y), title, font=font, fill=_PEN)
    pen.text((x + 70, y), f"level F{step.level}", font=font, fill=_FAINT)
    y += _WORD_HEIGHT
    shape = thumb.shape[:2]
    heatmap = heatmap_overlay(thumb, _resized(step.heatmap, shape) / peak)
    sheet.paste(Image.fromarray(heatmap), (x, y))
    y += shape[0] + 6
    probability = _resized(step.probability, shape)
    drawn = heatmap_overlay(thumb, probability)
    drawn[outline(probability > threshold)] = (255, 255, 255)
    sheet.paste(Image.fromarray(drawn), (x, y))
    y += shape[0] + 6
    _, font = readable("x", size=13)
    heaviest = int(step.weights.argmax()) if len(step.weights) else -1
    for row, weight in enumerate(step.weights):
        top = y + row * _WORD_HEIGHT
        pen.rectangle((x, top + 2, x + _CELL - 1, top + _WORD_HEIGHT - 3), fill=_GROUND)
        length = round((_CELL - 40) * float(weight) / largest)
        if length > 0:
            pen.rectangle((x, top + 2, x + length - 1, top + _WORD_HEIGHT - 3), fill=_TOP if row == heaviest else _BAR)
        pen.text((x + length + 5, top + 2), f"{100 * float(weight):.0f}", font=font, fill=_PEN)


def _right_aligned(pen: ImageDraw.ImageDraw, text: str, *, right: int, y: int, size: int) -> None:
    short, font = truncated(text, size=size, width=_LABELS - _GAP)
    pen.text((right - font.getlength(short), y), short, font=font, fill=_PEN)


def _fitted(image: np.ndarray, *, width: int, height: int) -> np.ndarray:
    """Returns the image scaled, up or down, to fit `width` x `height`."""
    scale = min(width / image.shape[1], height / image.shape[0])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def _resized(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(
        Image.fromarray(values.astype(np.float32)).resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    )
