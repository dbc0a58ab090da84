"""A comparison of runs as one HTML page that needs nothing else, made from its JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from risctl.visualization import comparison as words
from risctl.visualization.report.frame import framed
from risctl.visualization.report.markup import Markup, element, joined

Told = Mapping[str, Any]


def as_page(comparison: Told) -> str:
    """Return the page: figures, every breakdown's groups, and all samples that flipped, to be sorted and filtered."""
    data = comparison["data"]
    title = "Comparison of runs" + (f": {data['dataset']}, split {data['split']}" if data else "")
    facts, protocol = words.heading(comparison)
    entries = [
        element("div", element("dt", letter), element("dd", words.named(run))) for letter, run in words.runs(comparison)
    ]
    notes = [joined(line, element("br")) for line in words.notes(comparison).splitlines()]
    body = joined(
        element(
            "header",
            element("h1", title),
            element("p", facts),
            element("dl", *entries, class_="facts"),
            element("p", protocol, class_="protocol-line"),
            element("p", *notes, class_="note"),
        ),
        element("main", *(_against(comparison, letter, one) for letter, one in words.others(comparison))),
    )
    return framed(body, title=f"risctl: {title}", style="page.css", script="comparison.js")


def _against(comparison: Told, letter: str, against: Told) -> Markup:
    return element(
        "section",
        element("h2", f"{letter} against A"),
        _figures(comparison, letter, against),
        element("h3", "Breakdowns"),
        element("p", words.changed_title(against), "."),
        *_breakdowns(comparison, letter, against),
        element("h3", "Flipped samples"),
        element("p", words.flips_title(against, letter), "."),
        *_flips(letter, against),
        id=f"run-{letter}",
    )


def _figures(comparison: Told, letter: str, against: Told) -> Markup:
    reach = _reach(list(against["figures"].values()))
    rows = [
        element("tr", element("th", name, scope="row"), *_cells(one, reach=reach))
        for name, one in against["figures"].items()
    ]
    return _table(("figure", *_titles(comparison, letter)), rows, class_="figures")


def _breakdowns(comparison: Told, letter: str, against: Told) -> list[Markup]:
    parts: Sequence[Told] = against["breakdowns"]
    if not parts:
        return []
    reach = _reach(parts)
    rows = [
        element(
            "tr",
            element("th", words.part_name(one), scope="row", dir="auto"),
            element("td", f"{one['samples']:,}{words.few(one)}", class_="num", data_value=one["samples"]),
            element("td", one["figure"]),
            *_cells(one, reach=reach),
            data_changed="yes" if one["significant"] else "no",
        )
        for one in parts
    ]
    table = f"parts-{letter}"
    box = element("input", type="checkbox", data_table=table, id=f"changed-{letter}")
    titles = ("group", "samples", "figure", *_titles(comparison, letter))
    return [
        element("p", element("label", box, " only groups that changed beyond their interval")),
        element("div", _table(titles, rows, class_="sortable", id=table), class_="wide"),
    ]


def _flips(letter: str, against: Told) -> list[Markup]:
    flips = [(way, one) for way in ("won", "lost") for one in against["flips"][way]]
    if not flips:
        return []
    rows = [
        element(
            "tr",
            element("td", "won" if way == "won" else "lost"),
            element("td", one["sample"], class_="num"),
            element("td", one["text"] + words.absent(one), dir="auto"),
            element("td", f"{one['before']:.3f}", class_="num"),
            element("td", f"{one['after']:.3f}", class_="num"),
            element(
                "td", f"{one['after'] - one['before']:+.3f}", class_="num", data_value=one["after"] - one["before"]
            ),
            element("td", one["image_id"], class_="num"),
            element("td", one["ref_id"], class_="num"),
            element("td", ", ".join(one["abilities"])),
        )
        for way, one in flips
    ]
    table = f"flips-{letter}"
    box = element("input", type="search", id=f"filter-{letter}", data_table=table, autocomplete="off", size="40")
    titles = (letter, "sample", "expression", "IoU of A", f"IoU of {letter}", "change", "image", "ref", "abilities")
    return [
        element("form", element("label", "Filter ", box), " ", element("output", id=f"filter-{letter}-count")),
        element("div", _table(titles, rows, class_="sortable", id=table), class_="wide"),
    ]


def _titles(comparison: Told, letter: str) -> tuple[str, ...]:
    return ("A", letter, f"{letter} - A", words.interval_title(comparison), "")


def _cells(one: Told, *, reach: float) -> list[Markup]:
    return [
        element("td", words.number(one["before"]), class_="num", data_value=_key(one["before"])),
        element("td", words.number(one["after"]), class_="num", data_value=_key(one["after"])),
        element("td", words.difference(one), class_="num", data_value=_key(one["difference"])),
        element("td", words.interval(one), class_="num", data_value=_key(one["low"])),
        element("td", _bar(one, reach=reach), "*" if one["significant"] else ""),
    ]


def _bar(one: Told, *, reach: float) -> Markup:
    """Return the interval on a scale from -reach to reach points, 0 in its middle."""
    if one["low"] is None:
        return Markup("")
    width, height, pad = 160, 14, 5

    def at(points: float) -> str:
        return f"{width / 2 + (width / 2 - pad) * min(max(points / reach, -1), 1):.1f}"

    line = {"y1": height / 2, "y2": height / 2}
    return element(
        "svg",
        element("line", x1=pad, x2=width - pad, **line, class_="grid"),
        element("line", x1=at(0), x2=at(0), y1=0, y2=height, class_="axis"),
        element("line", x1=at(one["low"]), x2=at(one["high"]), **line, class_="range"),
        element("circle", cx=at(one["difference"]), cy=height / 2, r="3.5", class_="dot"),
        class_="interval",
        viewBox=f"0 0 {width} {height}",
        aria_hidden="true",
    )


def _reach(every: Sequence[Told]) -> float:
    """Return how far the longest interval of a table reaches, one point at least."""
    return max([1.0, *(abs(one[end]) for one in every for end in ("low", "high") if one[end] is not None)])


def _key(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def _table(titles: Sequence[str], rows: Sequence[Markup], **attributes: str) -> Markup:
    head = element("tr", *(element("th", title, scope="col") for title in titles))
    return element("table", element("thead", head), element("tbody", *rows), **attributes)
