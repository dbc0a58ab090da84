"""Renders an evaluation as one HTML page that needs no network, no other files and no server.

Its policy lets the browser run only the page's own script and style, named by their hashes, and load nothing; what
comes from data (expressions, names) is text.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from risctl.visualization.report.charts import histogram_chart, interval_bar, precision_chart
from risctl.visualization.report.figure_names import (
    beside_protocols,
    curve_name,
    dataset_name,
    figures_in_breakdowns,
    meaning,
    report_title,
)
from risctl.visualization.report.frame import framed
from risctl.visualization.report.markup import Markup, data_block, element, joined
from risctl.visualization.report.published import published_section
from risctl.visualization.report.samples import IllustratedSample, Listing

Json = Mapping[str, Any]


def render_page(report: Json, *, listing: Listing, pictures: Sequence[IllustratedSample] = ()) -> str:
    """Returns the page of an evaluation.

    Args:
        report: The evaluation's JSON.
        listing: The samples that are listed.
        pictures: Samples with images.
    """
    title = report_title(report)
    protocols: Mapping[str, Json] = report["protocols"]
    unit: str = report["unit"]
    body = joined(
        _header(report, title),
        element(
            "main",
            _warnings(report["warnings"]),
            _chooser(list(protocols)),
            element(
                "section",
                element("h2", "Figures"),
                *(_protocol(name, _figures(result, unit=unit)) for name, result in protocols.items()),
                id="figures",
            ),
            published_section(report.get("published")),
            element(
                "section",
                element("h2", "Breakdowns"),
                _parts_note(unit),
                *(
                    _protocol(name, *map(_breakdown(result, unit=unit), result["breakdowns"]))
                    for name, result in protocols.items()
                ),
                id="breakdowns",
            ),
            _gallery(listing, pictures, next(iter(protocols))),
            _samples(listing),
        ),
        data_block("sample-data", _data(listing, pictures)),
    )
    return framed(body, title=f"risctl: {title}", style="page.css", script="page.js")


def _header(report: Json, title: str) -> Markup:
    facts = {
        "Model": report.get("model"),
        "Predictions": report.get("predictions"),
        "Checkpoint (SHA-256)": report["checkpoint"] or (None if report.get("predictions") else "none"),
        "Data": report.get("data"),
        "Dataset": f"{dataset_name(report)}, fingerprint {report['dataset']['fingerprint']}",
        "Split": report["split"],
        "Counts": f"{report['images']:,} {report['unit']}s, {report['refs']:,} refs, {report['sentences']:,} sentences"
        + (
            "" if report["sentences"] == report["total_sentences"] else f" of the split's {report['total_sentences']:,}"
        ),
        "Texts": report["text_field"],
        "Computed": f"in {report['seconds']:,.1f} s on {report['device']}"
        + (f" by {report['processes']} processes" if report["processes"] > 1 else ""),
        "Beside the protocols": beside_protocols(report),
        "Written by": report.get("written_by"),
    }
    entries = [element("div", element("dt", name), element("dd", value)) for name, value in facts.items() if value]
    links = [
        ("#figures", "Figures"),
        *([("#published", "Published")] if report.get("published") else []),
        ("#breakdowns", "Breakdowns"),
        ("#gallery", "Worst and best"),
        ("#samples", "Samples"),
    ]
    return element(
        "header",
        element("h1", title),
        element("nav", *(element("a", name, href=target) for target, name in links), aria_label="Parts of the page"),
        element("dl", *entries, class_="facts"),
    )


def _warnings(warnings: Sequence[str]) -> Markup:
    if not warnings:
        return Markup("")
    lines = [element("li", line) for line in warnings]
    return element("section", element("h2", "Warnings"), element("ul", *lines), class_="warnings", id="warnings")


def _chooser(names: Sequence[str]) -> Markup:
    if len(names) < 2:
        return Markup("")
    options = [element("option", name, value=name) for name in names]
    return element("p", element("label", "Protocol ", element("select", *options, id="protocol")), class_="chooser")


_WITHOUT_TARGET = (
    "A sample without a target has no IoU where the protocol keeps such samples apart; it is sorted as 1 if nothing "
    "was predicted there, else as 0."
)


def _parts_note(unit: str) -> Markup:
    return element(
        "p",
        f"A bar shows the 95% interval over {unit}s. ",
        element("b", "few", class_="few"),
        " marks a group of fewer than 30 samples: read it with care. The name of a group lists its samples.",
        class_="note",
    )


def _protocol(name: str, *content: Markup) -> Markup:
    return element("div", *content, class_="protocol", data_protocol=name)


def _figures(result: Json, *, unit: str) -> Markup:
    rows = []
    for figure, value in result["figures"].items():
        low, high = result["intervals"].get(figure, (None, None))
        rows.append(
            element(
                "tr",
                element("th", figure, scope="row"),
                element("td", _percent(value), class_="num", data_figure=figure),
                element("td", _interval(low, high), class_="num", data_label="95%"),
                element("td", interval_bar(value, low, high), class_="scale"),
                element("td", meaning(figure, compare=result["precision_comparison"]), class_="meaning"),
            )
        )
    apart = "" if result["targeted"] == result["samples"] else f", {result['targeted']:,} of them with a target"
    columns = ("figure", "%", f"95% interval over {unit}s", "0 to 100%", "meaning")
    head = element("tr", *(element("th", column, scope="col") for column in columns))
    caption = element("caption", f"{result['samples']:,} samples{apart}")
    table = element("table", caption, element("thead", head), element("tbody", *rows), class_="figures")
    charts = element("div", _curve(result), _spread(result), class_="charts")
    summary = element("p", element("b", "Protocol "), result["protocol"], class_="protocol-line")
    return joined(summary, element("div", table, class_="wide"), charts)


def _curve(result: Json) -> Markup:
    points = result["precision_curve"]
    compare = result["precision_comparison"] or ">="
    reported = [float(name[3:]) for name in result["figures"] if name.startswith("Pr@")]
    numbers = element("p", ", ".join(f"{x:g}: {y:.1f}%" for x, y in points))
    chart = precision_chart(points, reported=reported, compare={">=": "≥"}.get(compare, compare))
    return element("figure", element("figcaption", curve_name(result)), chart, _details(numbers))


def _spread(result: Json) -> Markup:
    spread = result["iou_histogram"]
    counts = spread["counts"]
    steps = [
        f"{index / len(counts):.2f}-{(index + 1) / len(counts):.2f}: {count}" for index, count in enumerate(counts)
    ]
    left_out = spread["left_out"]
    note = f" {left_out:,} samples without a target have no IoU." if left_out else ""
    numbers = element("p", f"0: {spread['zero']}, " + ", ".join(steps))
    caption = element("figcaption", f"Samples by IoU.{note}")
    return element("figure", caption, histogram_chart(counts, zero=spread["zero"]), _details(numbers))


def _details(numbers: Markup) -> Markup:
    return element("details", element("summary", "The numbers"), numbers)


def _breakdown(result: Json, *, unit: str) -> Callable[[Json], Markup]:
    headline = result["headline"]

    def render(breakdown: Json) -> Markup:
        groups = breakdown["groups"]
        names = figures_in_breakdowns((name for group in groups for name in group["figures"]), headline=headline)
        rest = [name for name in names if name != headline]
        columns = ["samples", f"{unit}s", headline, "95% interval", *rest]
        heads = [element("th", breakdown["title"], scope="col")]
        heads += [element("th", name, scope="col", class_=None if "interval" in name else "num") for name in columns]
        rows = [
            _group(group, headline=headline, rest=rest, index=index, of=breakdown["name"], unit=unit)
            for index, group in enumerate(groups)
        ]
        body = joined(element("thead", element("tr", *heads)), element("tbody", *rows))
        return element(
            "section",
            element("h3", breakdown["title"]),
            element("p", breakdown["about"], class_="note"),
            element("div", element("table", body, class_="sortable breakdown"), class_="wide"),
            data_breakdown=breakdown["name"],
        )

    return render


def _group(group: Json, *, headline: str, rest: Sequence[str], index: int, of: str, unit: str) -> Markup:
    figures = group["figures"]
    low, high = group["interval"] or (None, None)
    written = group["name"].replace('"', "")
    name = element("a", group["name"], href="#samples", data_filter=f'{of}:"{written}"', dir="auto")
    few = joined(" ", element("b", "few", class_="few")) if group["few"] else ""
    bar = interval_bar(figures.get(headline), low, high)
    return element(
        "tr",
        element("th", name, few, scope="row", data_value=index),
        _cell("samples", f"{group['samples']:,}", value=group["samples"]),
        _cell(f"{unit}s", f"{group['images']:,}", value=group["images"]),
        _figure_cell(headline, figures),
        element(
            "td",
            bar,
            element("span", _interval(low, high), class_="small"),
            class_="line",
            data_label="95%",
            data_value=_sortable(low),
        ),
        *(_figure_cell(one, figures) for one in rest),
    )


def _figure_cell(name: str, figures: Mapping[str, float | None]) -> Markup:
    value = figures.get(name)
    return _cell(name, _percent(value), value=_sortable(value))


def _cell(label: str, content: str, *, value: object) -> Markup:
    return element("td", content, class_="num", data_label=label, data_value=value)


def _gallery(listing: Listing, pictures: Sequence[IllustratedSample], protocol: str) -> Markup:
    if not pictures:
        return Markup("")
    parts = []
    for kind, title in (("worst", "Worst"), ("best", "Best")):
        cards = [_card(listing, picture, protocol) for picture in pictures if picture.kind == kind]
        if cards:
            parts += [element("h3", title), element("div", *cards, class_="cards")]
    videos = "video" in listing.columns
    single = "video, in the middle one of the frames that show the object" if videos else "picture"
    legend = element(
        "p",
        "By IoU under ", element("b", protocol), f", at most one sample of a {single}. Left, ",
        element("span", "blue", class_="target"), ": the target. Right, ",
        element("span", "orange", class_="found"), ": what was found.",
        class_="note",
    )  # fmt: skip
    return element("section", element("h2", "Worst and best samples"), legend, *parts, id="gallery")


def _card(listing: Listing, one: IllustratedSample, protocol: str) -> Markup:
    number = listing.columns["sample"][one.position]
    expression = listing.columns["text"][one.position]
    source = "data:image/jpeg;base64," + base64.b64encode(one.jpeg).decode("ascii")
    iou = listing.ious[protocol][one.position]
    # Without an IoU, the image's note says that there is no target.
    summary = [] if iou is None else [f"IoU {iou:.3f}"]
    caption = element(
        "figcaption",
        element("a", f"s{number}", href=f"#s{number}"), " ",
        element("q", expression, dir="auto"), " ",
        element("span", ", ".join([*summary, one.note] if one.note else summary), class_="small"),
    )  # fmt: skip
    picture = element(
        "img", src=source, width=one.width, height=one.height, alt=f"target and prediction for: {expression}"
    )
    return element("figure", picture, caption, id=f"s{number}", class_="card")


def _samples(listing: Listing) -> Markup:
    columns = [
        ("sample", "sample", "num"), ("iou", "IoU", "num"), ("text", "expression", ""), ("words", "words", "num"),
        ("ability", "abilities", ""), ("category", "category", ""), ("area", "area", "num"),
        ("distractors", "distractors", "num"), ("score", "score", "num"), ("image", "image", "num"),
    ]  # fmt: skip
    example = "image:12"
    if "f" in listing.columns:
        columns.insert(2, ("f", "F", "num"))
    if "video" in listing.columns:
        columns[-2:] = [("video", "video", "")]
        name = listing.columns["video"][0].replace('"', "")
        example = f'video:"{name}"'
    head = element(
        "tr",
        *(
            element("th", element("button", name, type="button", data_column=key), scope="col", class_=class_ or None)
            for key, name, class_ in columns
        ),
    )
    help_text = joined(
        "Words look into expression, category and abilities; also ",
        *(joined(element("code", one), " ") for one in ("iou<0.5", "words>=6", "area<0.01", 'category:"wine glass"')),
        *(joined(element("code", one), " ") for one in ("ability:colour", "distractors:0", example, "-left")),
        "Terms are joined by and.",
        "" if all(listing.columns["targeted"]) else " " + _WITHOUT_TARGET,
    )
    missing = listing.total - len(listing)
    cut = f" The {len(listing):,} samples of lowest IoU, of {listing.total:,}, are listed." if missing else ""
    return element(
        "section",
        element("h2", "Samples"),
        element("noscript", element("p", "Filtering and sorting need JavaScript; the page's own is all there is.")),
        element("div", id="detail", hidden=True, tabindex="-1", aria_live="polite"),
        element(
            "form",
            element("label", "Filter ", element("input", id="filter", type="search", autocomplete="off", size="40")),
            element("output", id="count", for_="filter"),
            id="filters",
        ),
        element("p", help_text, cut, class_="note"),
        element("div", element("table", element("thead", head), element("tbody"), id="sample-table"), class_="wide"),
        element("p", element("button", "Show more", id="more", type="button", hidden=True)),
        id="samples",
    )


def _data(listing: Listing, pictures: Sequence[IllustratedSample]) -> dict[str, Any]:
    return {
        "columns": {name: list(values) for name, values in listing.columns.items()},
        "iou": {name: list(values) for name, values in listing.ious.items()},
        "rank": {name: list(values) for name, values in listing.ranks.items()},
        "groups": {
            name: {"names": list(one.names), "of": [list(own) for own in one.of]}
            for name, one in listing.groups.items()
        },
        "notes": {str(picture.position): picture.note for picture in pictures if picture.note},
    }


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _interval(low: float | None, high: float | None) -> str:
    return "–" if low is None or high is None else f"{low:.2f} to {high:.2f}"


def _sortable(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"
