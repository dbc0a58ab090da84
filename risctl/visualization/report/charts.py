"""Draws the report's charts as inline SVG: curves, bars and intervals, readable without colour or script."""

from __future__ import annotations

from collections.abc import Sequence

from risctl.visualization.report.markup import Markup, element, joined

_WIDTH, _HEIGHT = 480, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 14, 40


def precision_chart(points: Sequence[Sequence[float]], *, reported: Sequence[float], compare: str) -> Markup:
    """Returns a curve through `points` (X, percent of samples); a ring marks each X that the protocol reports."""
    if not points:
        return element("p", "No sample with a target.", class_="none")
    path = " ".join(f"{'L' if index else 'M'}{_x(x):.1f} {_y(y):.1f}" for index, (x, y) in enumerate(points))
    rings = [
        element(
            "circle", element("title", f"IoU {compare} {x:g}: {y:.2f}%"), cx=f"{_x(x):.1f}", cy=f"{_y(y):.1f}", r=radius
        )
        for x, y in points
        for radius in ("4.5" if any(abs(x - own) < 0.005 for own in reported) else "2.5",)
    ]
    ticks = [
        element("text", f"{tick / 10:g}", x=_x(tick / 10), y=_HEIGHT - 22, class_="mid") for tick in range(0, 11, 2)
    ]
    return _svg(
        *_percent_grid(),
        *ticks,
        element("text", f"X (share of samples with IoU {compare} X)", x=_x(0.5), y=_HEIGHT - 4, class_="mid"),
        element("path", d=path, class_="line"),
        *rings,
        label="share of samples by IoU",
    )


def histogram_chart(counts: Sequence[int], *, zero: int) -> Markup:
    """Returns a histogram of IoUs; the first bar, striped and apart, counts the samples without any overlap."""
    total = zero + sum(counts)
    if not total:
        return element("p", "No sample with a target.", class_="none")
    largest = max(zero, *counts)
    slot = (_WIDTH - _LEFT - _RIGHT) / (len(counts) + 1.5)
    base = _HEIGHT - _BOTTOM
    bars = [_bar(_LEFT, slot - 2, zero, largest, title=f"IoU 0: {zero} of {total}", class_="zero")]
    for index, count in enumerate(counts):
        left = _LEFT + (index + 1.5) * slot
        low, high = index / len(counts), (index + 1) / len(counts)
        bars.append(_bar(left, slot - 2, count, largest, title=f"IoU {low:.2f} to {high:.2f}: {count} of {total}"))
    ticks = [element("text", "none", x=_LEFT + slot / 2 - 1, y=_HEIGHT - 22, class_="mid")]
    for index in range(0, len(counts) + 1, 4):
        at = _LEFT + (index + 1.5) * slot - 1
        ticks.append(element("text", f"{index / len(counts):g}", x=f"{at:.1f}", y=_HEIGHT - 22, class_="mid"))
    stripes = Markup(
        '<defs><pattern id="stripes" width="6" height="6" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><rect width="6" height="6" class="ground"></rect>'
        '<rect width="3" height="6" class="stripe"></rect></pattern></defs>'
    )
    return _svg(
        stripes,
        element("line", x1=_LEFT, y1=base, x2=_WIDTH - _RIGHT, y2=base, class_="axis"),
        element("text", f"{largest:,}", x=_LEFT - 6, y=_TOP + 6, class_="end"),
        element("line", x1=_LEFT - 3, y1=_TOP, x2=_WIDTH - _RIGHT, y2=_TOP, class_="grid"),
        *bars,
        *ticks,
        element("text", "IoU (striped: no overlap at all)", x=(_WIDTH + _LEFT) / 2, y=_HEIGHT - 4, class_="mid"),
        label="IoU histogram",
    )


def interval_bar(value: float | None, low: float | None, high: float | None) -> Markup:
    """Returns a scale from 0 to 100 with a dot at `value` and a line from `low` to `high`; "" without a value."""
    if value is None:
        return Markup("")
    width, height, pad = 160, 14, 5

    def at(percent: float) -> str:
        return f"{pad + (width - 2 * pad) * min(max(percent, 0), 100) / 100:.1f}"

    middle = height / 2
    pieces = [element("line", x1=at(0), y1=middle, x2=at(100), y2=middle, class_="grid")]
    if low is not None and high is not None:
        pieces.append(element("line", x1=at(low), y1=middle, x2=at(high), y2=middle, class_="range"))
        pieces += [
            element("line", x1=at(end), y1=2, x2=at(end), y2=height - 2, class_="range end") for end in (low, high)
        ]
    pieces.append(element("circle", cx=at(value), cy=middle, r="3.5", class_="dot"))
    return element("svg", *pieces, class_="interval", viewBox=f"0 0 {width} {height}", aria_hidden="true")


def _svg(*pieces: Markup, label: str) -> Markup:
    box = f"0 0 {_WIDTH} {_HEIGHT}"
    return element("svg", element("title", label), joined(*pieces), class_="chart", viewBox=box, role="img")


def _x(share: float) -> float:
    return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)


def _y(percent: float) -> float:
    return round(_HEIGHT - _BOTTOM - percent / 100 * (_HEIGHT - _BOTTOM - _TOP), 1)


def _percent_grid() -> list[Markup]:
    pieces = []
    for percent in range(0, 101, 20):
        y = _y(percent)
        class_ = "grid" if percent else "axis"
        pieces.append(element("line", x1=_LEFT, y1=y, x2=_WIDTH - _RIGHT, y2=y, class_=class_))
        pieces.append(element("text", f"{percent}%", x=_LEFT - 6, y=y + 4, class_="end"))
    return pieces


def _bar(left: float, width: float, count: int, largest: int, *, title: str, class_: str = "bar") -> Markup:
    high = (_HEIGHT - _BOTTOM - _TOP) * count / largest
    top = _HEIGHT - _BOTTOM - high
    return element(
        "rect",
        element("title", title),
        x=f"{left:.1f}",
        y=f"{top:.1f}",
        width=f"{width:.1f}",
        height=f"{high:.1f}",
        class_=class_,
    )
