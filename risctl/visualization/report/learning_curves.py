"""Draws learning curves as inline SVG: one chart a quantity, one line a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from risctl.visualization.report.markup import Markup, element, joined

_WIDTH, _HEIGHT = 480, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 14, 40
MAX_POINTS = 400
"""Points of a line; of more, stretches are drawn by their least and greatest value."""
STYLES = 8
"""How many lines can be told apart by colour and dashes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A run's values over the steps.

    Attributes:
        name: The run.
        points: (step, value), steps in order, at least one.
        style: From 0 to `STYLES` - 1, the same in all charts of a page.
    """

    name: str
    points: Sequence[tuple[int, float]]
    style: int


def curve_chart(name: str, lines: Sequence[Line], *, logarithmic: bool = False) -> Markup:
    """Returns a chart of one quantity of some runs.

    Args:
        name: The quantity.
        lines: The runs, at least one.
        logarithmic: Whether the values are drawn on a logarithmic scale; only if all are above 0.
    """
    values = [value for line in lines for _, value in line.points]
    logarithmic = logarithmic and min(values) > 0 and max(values) > 10 * min(values)
    ticks = log_ticks(min(values), max(values)) if logarithmic else ticks_of(min(values), max(values))
    low, high = min(ticks[0], *values), max(ticks[-1], *values)
    last = max(1, *(line.points[-1][0] for line in lines))

    def x(step: float) -> str:
        return f"{_LEFT + step / last * (_WIDTH - _LEFT - _RIGHT):.1f}"

    def y(value: float) -> float:
        if logarithmic:
            share = math.log(value / low) / math.log(high / low)
        else:
            share = (value - low) / (high - low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP)

    pieces = []
    for tick in ticks:
        at = f"{y(tick):.1f}"
        pieces.append(element("line", x1=_LEFT, y1=at, x2=_WIDTH - _RIGHT, y2=at, class_="grid"))
        pieces.append(element("text", f"{tick:.6g}", x=_LEFT - 6, y=f"{y(tick) + 4:.1f}", class_="end"))
    for tick in ticks_of(0, last, whole=True):
        if tick <= last:
            pieces.append(element("text", f"{tick:,.0f}", x=x(tick), y=_HEIGHT - 22, class_="mid"))
    pieces.append(element("text", "step", x=(_WIDTH + _LEFT) / 2, y=_HEIGHT - 4, class_="mid"))
    for line in lines:
        points = thinned(line.points)
        path = " ".join(
            f"{'L' if place else 'M'}{x(step)} {y(value):.1f}" for place, (step, value) in enumerate(points)
        )
        label = f"{line.name}: {line.points[-1][1]:.4g} at step {line.points[-1][0]:,}"
        pieces.append(element("path", element("title", label), d=path, class_=f"line style{line.style}"))
        if len(points) <= 30:
            pieces += [
                element(
                    "circle",
                    element("title", f"{line.name}, step {step:,}: {value:.4g}"),
                    cx=x(step),
                    cy=f"{y(value):.1f}",
                    r="2.5",
                    class_=f"style{line.style}",
                )
                for step, value in points
            ]
    box = f"0 0 {_WIDTH} {_HEIGHT}"
    title = f"{name} over the steps" + (", logarithmic scale" if logarithmic else "")
    chart = element("svg", element("title", title), joined(*pieces), class_="chart", viewBox=box, role="img")
    ends = ", ".join(f"{line.name}: {line.points[-1][1]:.4g} at step {line.points[-1][0]:,}" for line in lines)
    numbers = element("details", element("summary", "The last values"), element("p", ends))
    caption = name + (" (logarithmic)" if logarithmic else "")
    return element("figure", element("figcaption", caption), chart, numbers)


def legend(names: Sequence[tuple[str, int]]) -> Markup:
    """Returns the key to the lines: (run, style) each."""
    keys = [
        element(
            "span",
            element(
                "svg",
                element("line", x1=0, y1=6, x2=26, y2=6, class_=f"line style{style}"),
                class_="key",
                viewBox="0 0 26 12",
                aria_hidden="true",
            ),
            " ",
            name,
            class_="keyed",
        )
        for name, style in names
    ]
    return element("p", *keys, class_="legend")


def thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Returns at most some `MAX_POINTS` points of a line, with the least and greatest of every stretch."""
    if len(points) <= MAX_POINTS:
        return list(points)
    size = math.ceil(2 * len(points) / MAX_POINTS)
    kept = []
    for start in range(0, len(points), size):
        part = points[start : start + size]
        extremes = {min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])}
        kept += sorted(extremes)
    return [*kept, points[-1]] if kept[-1] != points[-1] else kept


def ticks_of(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Returns 3 to 7 round numbers from below `low` to above `high`."""
    if high <= low:
        # One value alone: a scale around it, which does not leave its sign.
        low, high = (min(low * 0.9, low * 1.1), max(low * 0.9, low * 1.1)) if low else (0.0, 1.0)
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    if whole:
        step = max(1.0, step)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [place * step for place in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Returns powers of ten from below `low` to above `high`, at most 8 of them."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    stride = math.ceil((last - first) / 7)
    return [10.0**power for power in range(first, last + stride, stride)]
