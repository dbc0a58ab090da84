"""Renders our figures beside the published ones, for the report's page and its Markdown, from the report's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from risctl.visualization.report.markup import Markup, element, joined

Json = Mapping[str, Any]

TITLE = "Beside published figures"
COLUMNS = ("figure", "ours", "95% interval", "published", "ours - published")


def published_section(published: Json | None) -> Markup:
    """Returns the page's section, with a table for each published row; "" if the report has none."""
    if not published:
        return Markup("")
    return element(
        "section",
        element("h2", TITLE),
        *map(_row, published["rows"]),
        *(element("p", line, class_="note") for line in published["missing"]),
        id="published",
    )


def row_title(row: Json) -> str:
    """Returns the title of a published row."""
    return f"{row['model']} by protocol {row['protocol']} ({row['paper']})"


def row_cells(row: Json) -> list[tuple[str, ...]]:
    """Returns the cells of a row's table, one line a figure, in the order of `COLUMNS`."""
    cells: list[tuple[str, ...]] = []
    for name, one in row["figures"].items():
        interval = "–" if one["interval"] is None else f"{one['interval'][0]:.2f} to {one['interval'][1]:.2f}"
        difference = "–" if one["difference"] is None else f"{one['difference']:+.2f}"
        ours = "–" if one["ours"] is None else f"{one['ours']:.2f}"
        cells.append((name, ours, interval, f"{one['published']:.2f}", difference))
    return cells


def row_notes(row: Json) -> list[str]:
    """Returns a row's source, what differs, and its remark, one line each."""
    unchecked = "" if row["checked"] else " (not compared with it here)"
    notes = [f"Source: {row['source']}{unchecked}."]
    notes += [f"Differs in {one['what']}: {one['published']}; here {one['ours']}." for one in row["differs"]]
    return notes + ([f"Remark: {row['remark']}."] if row["remark"] else [])


def _row(row: Json) -> Markup:
    lines = [
        element(
            "tr",
            element("th", name, scope="row"),
            *(element("td", cell, class_="num", data_label=COLUMNS[place]) for place, cell in enumerate(rest, start=1)),
        )
        for name, *rest in row_cells(row)
    ]
    heads = [element("th", name, scope="col", class_="num" if place else None) for place, name in enumerate(COLUMNS)]
    head = element("tr", *heads)
    table = element("table", element("thead", head), element("tbody", *lines), class_="published")
    return joined(
        element("h3", row_title(row)),
        element("div", table, class_="wide"),
        element("ul", *(element("li", note) for note in row_notes(row)), class_="note"),
    )
