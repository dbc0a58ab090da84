"""Learning curves: every run a line, scales that hold all values, few points for long runs."""

from __future__ import annotations

import re
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risctl.visualization.report.learning_curves import MAX_POINTS, STYLES, Line, curve_chart, legend


def line(*values: float, name: str = "run", style: int = 0) -> Line:
    return Line(name=name, points=tuple(enumerate(values)), style=style)


def heights(chart: str) -> list[float]:
    (path,) = re.findall(r'<path d="([^"]+)"', chart)
    return [float(point.split()[1]) for point in re.split("[ML]", path)[1:]]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_every_value_lies_within_the_chart_and_larger_ones_higher(values: list[float]) -> None:
    drawn = heights(curve_chart("loss", [line(*values)]))
    assert all(14 - 0.1 <= y <= 220.1 for y in drawn)
    for (low, at), (high, above) in zip(sorted(zip(values, drawn)), sorted(zip(values, drawn))[1:], strict=False):
        assert low == high or above <= at + 0.05


def test_losses_that_fall_by_decades_are_drawn_on_a_logarithmic_scale() -> None:
    chart = curve_chart("loss", [line(100, 10, 1)], logarithmic=True)
    assert heights(chart) == pytest.approx([14, 117, 220]) and "logarithmic" in chart
    for values in ((3, 2, 1), (10, 0, 100), (5,)):
        assert "logarithmic" not in curve_chart("loss", [line(*values)], logarithmic=True)


def test_a_long_run_keeps_its_extremes_and_its_end() -> None:
    values = [0.0] * 100_000
    values[31_415], values[-1] = 9.0, 4.0
    chart = curve_chart("loss", [line(*values)])
    drawn = heights(chart)
    assert len(drawn) <= MAX_POINTS + 1 and "<circle" not in chart
    assert min(drawn) < drawn[-1] < drawn[0]


def test_names_of_runs_are_text() -> None:
    name = "<script>alert(1)</script>"
    for made in (curve_chart("loss", [line(1, 2, name=name)]), legend([(name, 3)])):
        assert "<script" not in made and "&lt;script&gt;" in made


def test_every_style_of_a_line_is_one_of_the_page() -> None:
    rules = (resources.files("risctl.visualization.report") / "page.css").read_text(encoding="utf-8").splitlines()
    drawn = {rule.partition(" {")[2] for rule in rules if rule.startswith("svg .style")}
    assert len(drawn) == STYLES - 1, "the first is the plain line; all others differ"


def test_a_figure_that_stays_at_nothing_has_no_values_below() -> None:
    assert "-1" not in re.findall(r">([-\d.]+)</text>", curve_chart("Pr@0.5", [line(0, 0, 0)]))
