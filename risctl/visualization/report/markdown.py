"""Renders an evaluation as Markdown, for a README, an issue or notes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from risctl.visualization.report.figure_names import (
    beside_protocols,
    curve_name,
    figures_in_breakdowns,
    meaning,
    report_title,
)
from risctl.visualization.report.published import COLUMNS, TITLE, row_cells, row_notes, row_title

Json = Mapping[str, Any]

# Characters with a meaning in Markdown: anywhere, `@` where no word ends, or at the start of a line.
_SPECIAL = re.compile(r"([\\`*_\[\]#|<&~$]|(?<!\w)@|^[-+>=])")
_BAR = 30


def render_markdown(report: Json) -> str:
    """Returns an evaluation's JSON as Markdown, with its "worst" and "best" samples if it lists them."""
    dataset = report["dataset"]
    unit = report["unit"]
    facts = {
        "Model": report.get("model"),
        "Predictions": report.get("predictions"),
        "Checkpoint (SHA-256)": report["checkpoint"] or (None if report.get("predictions") else "none"),
        "Data": report.get("data"),
        "Fingerprint of the data": dataset["fingerprint"],
        f"{unit.capitalize()}s, refs, sentences": f"{report['images']}, {report['refs']}, {report['sentences']} "
        f"(of the split's {report['total_sentences']} sentences)",
        "Texts": report["text_field"],
        "Computed": f"{report['seconds']} s on {report['device']}",
        "Beside the protocols": beside_protocols(report),
        "Written by": report.get("written_by"),
    }
    parts = [
        f"# {plain(report_title(report))}",
        "\n".join(f"- {key}: {plain(value)}" for key, value in facts.items() if value),
    ]
    if report["warnings"]:
        parts += ["## Warnings", "\n".join(f"- {plain(line)}" for line in report["warnings"])]
    for protocol, result in report["protocols"].items():
        parts += [f"## Protocol {plain(protocol)}", plain(result["protocol"]), *_result(result, unit=unit)]
    parts += _published(report.get("published"))
    parts += [_samples(kind, report[kind], unit=unit) for kind in ("worst", "best") if report.get(kind)]
    return "\n\n".join(parts) + "\n"


def _published(published: Json | None) -> list[str]:
    if not published:
        return []
    parts = [f"## {TITLE}"]
    for row in published["rows"]:
        parts += [f"### {plain(row_title(row))}", _table(COLUMNS, row_cells(row), numbers=4)]
        parts.append("\n".join(f"- {plain(note)}" for note in row_notes(row)))
    return parts + [plain(line) for line in published["missing"]]


def plain(value: object) -> str:
    """Returns `value` as one line of text that Markdown shows as it is."""
    line = " ".join(str(value).split()).encode("utf-8", "replace").decode("utf-8")
    return _SPECIAL.sub(r"\\\1", line)


def _result(result: Json, *, unit: str) -> list[str]:
    compare = result["precision_comparison"]
    rows = [
        [name, _shown(value), _interval(result["intervals"].get(name)), meaning(name, compare=compare)]
        for name, value in result["figures"].items()
    ]
    parts = [
        f"{result['samples']} samples, {result['targeted']} with a target.",
        _table(["figure", "%", f"95% interval over {unit}s", "meaning"], rows, numbers=2),
    ]
    if result["precision_curve"]:
        bounds, shares = zip(*result["precision_curve"], strict=True)
        heads = ["X", *(f"{bound:g}" for bound in bounds)]
        percents = ["%", *(f"{share:.1f}" for share in shares)]
        parts += [f"### {curve_name(result)}", _table(heads, [percents], numbers=len(bounds))]
    parts += ["### Samples by IoU", _histogram(result["iou_histogram"])]
    for breakdown in result["breakdowns"]:
        parts += _breakdown(breakdown, result["headline"])
    return parts


def _histogram(spread: Json) -> str:
    counts = spread["counts"]
    named = [("0", spread["zero"])]
    named += [(f"{index / len(counts):.2f}-{(index + 1) / len(counts):.2f}", one) for index, one in enumerate(counts)]
    largest = max(1, *(count for _, count in named))
    lines = [f"{name:>9}  {count:>7}  {'#' * round(_BAR * count / largest)}".rstrip() for name, count in named]
    if spread["left_out"]:
        lines.append(f"{'no target':>9}  {spread['left_out']:>7}  (without an IoU)")
    return "\n".join(["```text", *lines, "```"])


def _breakdown(breakdown: Json, headline: str) -> list[str]:
    groups = breakdown["groups"]
    names = figures_in_breakdowns((name for group in groups for name in group["figures"]), headline=headline)
    rows = [
        [
            group["name"] + (" (few)" if group["few"] else ""),
            str(group["samples"]),
            _shown(group["figures"].get(headline)),
            _interval(group["interval"]),
            *(_shown(group["figures"].get(name)) for name in names if name != headline),
        ]
        for group in groups
    ]
    heads = [breakdown["title"], "samples", headline, "95%", *(name for name in names if name != headline)]
    note = ' "few": fewer than 30 samples, to be read with care.' if any(group["few"] for group in groups) else ""
    return [
        f"### {breakdown['title']}",
        plain(breakdown["about"]) + "." + note,
        _table(heads, rows, numbers=len(heads)),
    ]


def _samples(kind: str, samples: Sequence[Json], *, unit: str) -> str:
    where = "video" if unit == "video" else "image_id"
    rows = [
        [f"s{sample['sample']}", _iou(sample["iou"]), sample["text"], str(sample[where]), str(sample["ref_id"])]
        for sample in samples
    ]
    return f"## {kind.capitalize()} samples\n\n" + _table(["sample", "IoU", "expression", unit, "ref"], rows, numbers=0)


def _iou(value: float | None) -> str:
    return "no target" if value is None else f"{value:.3f}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: int) -> str:
    """Returns a table whose `numbers` columns after the first are aligned to the right."""
    rule = ["---:" if 0 < index <= numbers else "---" for index in range(len(heads))]
    lines = [" | ".join(map(plain, heads)), " | ".join(rule), *(" | ".join(map(plain, row)) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _interval(bounds: Sequence[float | None] | None) -> str:
    if not bounds or bounds[0] is None or bounds[1] is None:
        return "–"
    return f"{bounds[0]:.2f} to {bounds[1]:.2f}"
