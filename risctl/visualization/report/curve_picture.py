"""Draws the learning curves of runs as one picture: a chart a quantity, a line a run, and the key below."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw

from risctl.training.run_record import Curve, RunRecord
from risctl.vision.drawing.lettering import line_height, readable, truncated
from risctl.vision.drawing.palette import COLOURS, Colour
from risctl.visualization.report.learning_curves import log_ticks, thinned, ticks_of
from risctl.visualization.report.run_page import curve_title, is_logarithmic, quantities_of

_COLUMNS = 3
_WIDTH, _HEIGHT = 560, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 20, 40, 56
_SIZE, _LINE = 16, 3
_INK, _GREY, _GRID, _PAPER = (30, 30, 30), (90, 90, 90), (222, 222, 222), (255, 255, 255)
# Those that stand out on white.
_COLOURS: tuple[Colour, ...] = tuple(one for one in COLOURS if one != (240, 228, 66))
_MOST_KEYS = 24


def curve_picture(runs: Sequence[RunRecord], names: Sequence[str], styles: Sequence[int]) -> Image.Image:
    """Returns the picture, RGB: the evaluations first, then the training.

    Args:
        runs: The runs, at least one.
        names: Their names.
        styles: The number of the colour of each.
    """
    evaluated, trained = quantities_of(runs)
    quantities = [*evaluated, *trained]
    columns = max(1, min(_COLUMNS, len(quantities)))
    keys = list(dict.fromkeys(zip(names, styles, strict=True)))[:_MOST_KEYS]
    row = line_height(readable("g", size=_SIZE)[1]) + 8
    charts = max(1, -(-len(quantities) // columns)) * _HEIGHT
    picture = Image.new("RGB", (columns * _WIDTH, charts + 16 + row * len(keys)), _PAPER)
    for place, quantity in enumerate(quantities):
        lines = [
            (run.curves[quantity], style) for run, style in zip(runs, styles, strict=True) if run.curves.get(quantity)
        ]
        chart = _chart(quantity, lines, in_percent=quantity in evaluated)
        picture.paste(chart, (place % columns * _WIDTH, place // columns * _HEIGHT))
    draw = ImageDraw.Draw(picture)
    if not quantities:
        _text(draw, "Nothing is recorded yet.", (_LEFT, _TOP), colour=_INK)
    for place, (name, style) in enumerate(keys):
        y = charts + 8 + place * row
        draw.line(
            (_LEFT, y + row // 2, _LEFT + 36, y + row // 2), fill=_COLOURS[style % len(_COLOURS)], width=_LINE + 2
        )
        shown, font = truncated(name, size=_SIZE, width=columns * _WIDTH - _LEFT - 70)
        draw.text((_LEFT + 48, y + 2), shown, font=font, fill=_INK)
    return picture


def _chart(quantity: str, lines: Sequence[tuple[Curve, int]], *, in_percent: bool) -> Image.Image:
    """Returns the chart of one quantity; `lines` has (step, value) and the number of the colour of each run."""
    picture = Image.new("RGB", (_WIDTH, _HEIGHT), _PAPER)
    draw = ImageDraw.Draw(picture)
    values = [value for curve, _ in lines for _, value in curve]
    logarithmic = is_logarithmic(quantity) and min(values) > 0 and max(values) > 10 * min(values)
    ticks = log_ticks(min(values), max(values)) if logarithmic else ticks_of(min(values), max(values))
    low, high = min(ticks[0], *values), max(ticks[-1], *values)
    last = max(1, *(curve[-1][0] for curve, _ in lines))

    def at(step: float, value: float) -> tuple[float, float]:
        if logarithmic:
            share = math.log(value / low) / math.log(high / low)
        else:
            share = (value - low) / (high - low)
        return _LEFT + step / last * (_WIDTH - _LEFT - _RIGHT), _HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP)

    title = curve_title(quantity) + (", %" if in_percent else "") + (" (logarithmic)" if logarithmic else "")
    _text(draw, title, (_LEFT, 10), colour=_INK)
    for tick in ticks:
        y = at(0, tick)[1]
        draw.line((_LEFT, y, _WIDTH - _RIGHT, y), fill=_GRID)
        _text(draw, f"{tick:.6g}", (_LEFT - 8, y), colour=_GREY, anchor="rm")
    for tick in ticks_of(0, last, whole=True):
        if tick <= last:
            _text(draw, f"{tick:,.0f}", (at(tick, low)[0], _HEIGHT - _BOTTOM + 8), colour=_GREY, anchor="ma")
    _text(draw, "step", ((_WIDTH + _LEFT) / 2, _HEIGHT - 26), colour=_GREY, anchor="ma")
    for curve, style in lines:
        points = [at(step, value) for step, value in thinned(curve)]
        colour = _COLOURS[style % len(_COLOURS)]
        draw.line(points, fill=colour, width=_LINE, joint="curve")
        if len(points) <= 30:
            for x, y in points:
                draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=colour)
    return picture


def _text(draw: ImageDraw.ImageDraw, text: str, at: tuple[float, float], *, colour: Colour, anchor: str = "la") -> None:
    shown, font = readable(text, size=_SIZE)
    draw.text(at, shown, font=font, fill=colour, anchor=anchor)
