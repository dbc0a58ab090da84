"""Renders a comparison of runs as one self-contained HTML page, from its JSON."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from risctl.visualization import comparison as text
from risctl.visualization.report.frame import framed
from risctl.visualization.report.markup import Markup, element, joined

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A picture of one answer, or of the target.

    Attributes:
        title: Whose answer it is.
        jpeg: The picture.
        width: Its width in pixels.
        height: Its height in pixels.
        note: What stands beside the title.
    """

    title: str
    jpeg: bytes
    width: int
    height: int
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownSample:
    """An expression with the answers of all runs.

    Attributes:
        text: The expression.
        image_id: The image.
        answers: Pictures side by side, the target first.
    """

    text: str
    image_id: int
    answers: Sequence[Answer]


def as_page(comparison: Json, *, shown: Sequence[ShownSample] = (), note: str = "") -> str:
    """Returns the page: figures, every breakdown's groups, and all samples that flipped, to be sorted and filtered.

    Args:
        comparison: What was compared, as JSON.
        shown: Expressions with pictures of the answers; rows have no masks, so that whoever has the models draws them.
        note: What to know about these.
    """
    data = comparison["data"]
    title = "Comparison of runs" + (f": {data['dataset']}, split {data['split']}" if data else "")
    facts, protocol = text.heading(comparison)
    entries = [
        element("div", element("dt", letter), element("dd", text.named(run))) for letter, run in text.runs(comparison)
    ]
    notes = [joined(line, element("br")) for line in text.notes(comparison).splitlines()]
    body = joined(
        element(
            "header",
            element("h1", title),
            element("p", facts),
            element("dl", *entries, class_="facts"),
            element("p", protocol, class_="protocol-line"),
            element("p", *notes, class_="note"),
        ),
        element(
            "main",
            *_all(comparison),
            *_pictures(shown, note),
            *(_against(comparison, letter, one) for letter, one in text.others(comparison)),
        ),
    )
    return framed(body, title=f"risctl: {title}", style="page.css", script="comparison.js")


def _all(comparison: Json) -> list[Markup]:
    """Returns the section that has all runs side by side, where there are more than two."""
    if len(comparison["against"]) < 2:
        return []
    titles = [f"{letter} {text.short_name(run)}" for letter, run in text.runs(comparison)]
    figures = [
        element("tr", element("th", name, scope="row"), *_side_by_side(of))
        for name, of in text.figures_of_all(comparison)
    ]
    parts = [
        element(
            "tr",
            element("th", text.part_name(of[0]), scope="row", dir="auto"),
            element("td", f"{of[0]['samples']:,}{text.few(of[0])}", class_="num", data_value=of[0]["samples"]),
            element("td", of[0]["figure"]),
            *_side_by_side(of),
        )
        for of in text.parts_of_all(comparison)
    ]
    note = (
        f"Under each figure its difference from A's and the {text.interval_title(comparison)}; * the interval "
        "excludes 0."
    )
    tables = [element("div", _table(("figure", *titles), figures, numbers_from=1, class_="figures"), class_="wide")]
    if parts:
        heads = ("group", "samples", "figure", *titles)
        tables += [
            element("h3", "Breakdowns"),
            element("div", _table(heads, parts, numbers_from=3, class_="sortable", id="parts-all"), class_="wide"),
        ]
    return [element("section", element("h2", "All runs"), element("p", note, class_="note"), *tables, id="all-runs")]


def _pictures(shown: Sequence[ShownSample], note: str) -> list[Markup]:
    """Returns the section of expressions with pictures of the answers, where there are any."""
    if not shown:
        return []
    parts = []
    for one in shown:
        title = element(
            "h3", element("q", one.text, dir="auto"), element("span", f" image {one.image_id}", class_="small")
        )
        parts += [title, element("div", *(_figure(answer, one.text) for answer in one.answers), class_="answers")]
    return [
        element("section", element("h2", "Answers"), element("p", note, class_="note"), *parts, id="answers"),
    ]


def _figure(answer: Answer, expression: str) -> Markup:
    source = "data:image/jpeg;base64," + base64.b64encode(answer.jpeg).decode("ascii")
    picture = element(
        "img", src=source, width=answer.width, height=answer.height, alt=f"{answer.title}, for: {expression}"
    )
    caption = element("figcaption", answer.title, " ", element("span", answer.note, class_="small"))
    return element("figure", picture, caption, class_="card")


def _side_by_side(of: Sequence[Json]) -> list[Markup]:
    """Returns the cells of one figure of all runs, the first run's first."""
    first = element("td", text.number(of[0]["before"]), class_="num", data_value=_key(of[0]["before"]))
    cells = []
    for one in of:
        star = "*" if one["significant"] else ""
        told = element("span", f"{text.difference(one)}{star} ({text.interval(one)})", class_="small")
        cells.append(
            element("td", text.number(one["after"]), element("br"), told, class_="num", data_value=_key(one["after"]))
        )
    return [first, *cells]


def _against(comparison: Json, letter: str, against: Json) -> Markup:
    return element(
        "section",
        element("h2", f"{letter} against A"),
        _figures(comparison, letter, against),
        element("h3", "Breakdowns"),
        element("p", text.changed_title(against), "."),
        *_breakdowns(comparison, letter, against),
        element("h3", "Flipped samples"),
        element("p", text.flips_title(against, letter), "."),
        *_flips(letter, against),
        id=f"run-{letter}",
    )


def _figures(comparison: Json, letter: str, against: Json) -> Markup:
    reach = _reach(list(against["figures"].values()))
    rows = [
        element("tr", element("th", name, scope="row"), *_cells(one, reach=reach))
        for name, one in against["figures"].items()
    ]
    return element("div", _table(("figure", *_titles(comparison, letter)), rows, class_="figures"), class_="wide")


def _breakdowns(comparison: Json, letter: str, against: Json) -> list[Markup]:
    parts: Sequence[Json] = against["breakdowns"]
    if not parts:
        return []
    reach = _reach(parts)
    rows = [
        element(
            "tr",
            element("th", text.part_name(part), scope="row", dir="auto"),
            element("td", f"{part['samples']:,}{text.few(part)}", class_="num", data_value=part["samples"]),
            element("td", part["figure"]),
            *_cells(part, reach=reach),
            data_changed="yes" if part["significant"] else "no",
        )
        for part in parts
    ]
    table = f"parts-{letter}"
    box = element("input", type="checkbox", data_table=table, id=f"changed-{letter}")
    titles = ("group", "samples", "figure", *_titles(comparison, letter))
    return [
        element("p", element("label", box, " only groups that changed beyond their interval")),
        element("div", _table(titles, rows, class_="sortable", id=table), class_="wide"),
    ]


def _flips(letter: str, against: Json) -> list[Markup]:
    flips = [(way, comparison) for way in ("won", "lost") for comparison in against["flips"][way]]
    if not flips:
        return []
    rows = [
        element(
            "tr",
            element("td", "won" if way == "won" else "lost"),
            element("td", one["sample"], class_="num"),
            element("td", one["text"] + text.absent(one), dir="auto"),
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


def _titles(comparison: Json, letter: str) -> tuple[str, ...]:
    return ("A", letter, f"{letter} - A", text.interval_title(comparison), "")


def _cells(one: Json, *, reach: float) -> list[Markup]:
    return [
        element("td", text.number(one["before"]), class_="num", data_value=_key(one["before"])),
        element("td", text.number(one["after"]), class_="num", data_value=_key(one["after"])),
        element("td", text.difference(one), class_="num", data_value=_key(one["difference"])),
        element("td", text.interval(one), class_="num", data_value=_key(one["low"])),
        element("td", _bar(one, reach=reach), "*" if one["significant"] else ""),
    ]


def _bar(one: Json, *, reach: float) -> Markup:
    """Returns the interval on a scale from -reach to reach points, 0 in its middle."""
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


def _reach(every: Sequence[Json]) -> float:
    """Returns how far the longest interval of a table reaches, one point at least."""
    return max([1.0, *(abs(run[end]) for run in every for end in ("low", "high") if run[end] is not None)])


def _key(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def _table(
    titles: Sequence[str], rows: Sequence[Markup], *, numbers_from: int | None = None, **attributes: str
) -> Markup:
    """Returns a table; the titles from the place `numbers_from` on stand over numbers."""
    classes = ["num" if numbers_from is not None and place >= numbers_from else None for place in range(len(titles))]
    head = element(
        "tr", *(element("th", title, scope="col", class_=class_) for title, class_ in zip(titles, classes, strict=True))
    )
    return element("table", element("thead", head), element("tbody", *rows), **attributes)
