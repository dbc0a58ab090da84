"""Renders a comparison of runs as plain text and as Markdown, from its JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from risctl.evaluation.text_table import aligned
from risctl.visualization.report.markdown import plain

Json = Mapping[str, Any]

# Groups of breakdowns that a terminal lists.
_PARTS = 25
_NOTE = "* the interval excludes 0"


def as_text(comparison: Json, *, flips: int = 10) -> str:
    """Returns the comparison for a terminal; `flips` is how many samples are listed each way."""
    blocks = ["\n".join([*heading(comparison), "", *(f"{letter}  {named(run)}" for letter, run in runs(comparison))])]
    if len(comparison["against"]) > 1:
        letters = [letter for letter, _ in runs(comparison)]
        blocks.append(aligned([("all runs", *letters), *_all_figures(comparison)]))
        abilities = _all_abilities(comparison)
        blocks += [aligned([("by ability", "samples", "figure", *letters), *abilities])] if abilities else []
    for letter, against in others(comparison):
        figures = [(f"{letter} against A", "A", letter, f"{letter} - A", interval_title(comparison), "")]
        figures += [(name, *_cells(one)) for name, one in against["figures"].items()]
        blocks.append(aligned(figures))
        lines = [changed_title(against)]
        parts = changed(against)[:_PARTS]
        if parts:
            lines[0] += _of(len(parts), len(changed(against)), more="; a report or --json has all")
            table = [("", "samples", "figure", "A", letter, f"{letter} - A", "interval", "")]
            table += [
                (part_name(part), str(part["samples"]) + few(part), part["figure"], *_cells(part)) for part in parts
            ]
            lines.append(aligned(table))
        blocks.append("\n".join(lines))
        lines = [flips_title(against, letter)]
        for way, title in (("won", f"only {letter} is right"), ("lost", "only A is right")):
            listed = against["flips"][way][:flips]
            if listed:
                lines.append(f"  {title}{_of(len(listed), len(against['flips'][way]))}:")
                lines += [
                    f"    {' > '.join(_ious(entry))}  sample {entry['sample']}, image {entry['image_id']}, "
                    f"ref {entry['ref_id']}: {entry['text']}{absent(entry)}"
                    for entry in listed
                ]
        blocks.append("\n".join(lines))
    return "\n\n".join([*blocks, notes(comparison)])


def as_markdown(comparison: Json, *, flips: int = 50) -> str:
    """Returns the comparison as Markdown; `flips` is how many samples are listed each way."""
    lines = ["# Comparison of runs", "", *(_md(line) + "  " for line in heading(comparison)), ""]
    own = [(f"**{letter}**", run["rows"], run["checkpoint"] or "-") for letter, run in runs(comparison)]
    lines += _table(("", "rows", "checkpoint"), own)
    if len(comparison["against"]) > 1:
        letters = [letter for letter, _ in runs(comparison)]
        lines += ["", "## All runs", "", *_table(("figure", *letters), _all_figures(comparison))]
        abilities = _all_abilities(comparison)
        lines += ["", *_table(("by ability", "samples", "figure", *letters), abilities)] if abilities else []
    for letter, against in others(comparison):
        compared = ("A", letter, f"{letter} - A", interval_title(comparison), "")
        lines += ["", f"## {letter} against A", ""]
        lines += _table(("figure", *compared), [(name, *_cells(one)) for name, one in against["figures"].items()])
        lines += ["", f"### {_md(changed_title(against))}"]
        parts = [
            (part_name(one), f"{one['samples']}{few(one)}", one["figure"], *_cells(one)) for one in changed(against)
        ]
        if parts:
            lines += ["", *_table(("", "samples", "figure", *compared), parts)]
        lines += ["", f"### {_md(flips_title(against, letter))}"]
        for way, title in (("won", f"Only {letter} is right"), ("lost", "Only A is right")):
            listed = [
                (one["sample"], one["image_id"], one["ref_id"], one["text"] + absent(one), *_ious(one))
                for one in against["flips"][way][:flips]
            ]
            if listed:
                lines += ["", f"{title}{_of(len(listed), len(against['flips'][way]))}:", ""]
                lines += _table(("sample", "image", "ref", "text", "IoU of A", f"IoU of {letter}"), listed)
    return "\n".join([*lines, "", *(_md(line) + "  " for line in notes(comparison).splitlines())]) + "\n"


def heading(comparison: Json) -> list[str]:
    """Returns the lines that say what was compared: data, samples, protocol."""
    data = comparison["data"]
    counts = f"{comparison['samples']:,} samples of {comparison['images']:,} {drawn_units(comparison)}"
    if data is None:
        return [f"{counts}; the rows do not say of which data", comparison["describe"]]
    name = f"{data['dataset']} ({data['split_by']})" if data["split_by"] else data["dataset"]
    return [
        f"{name}, split {data['split']}: {counts}; texts: {data['text_field']}; data {data['fingerprint']}",
        comparison["describe"],
    ]


def drawn_units(comparison: Json) -> str:
    """Returns what is drawn again for the intervals: images, videos, or pairs."""
    return str(comparison.get("resampled", "images"))


def runs(comparison: Json) -> list[tuple[str, Json]]:
    """Returns the runs with their letters, the one that the others are compared with first."""
    every = [comparison["base"], *(one["run"] for one in comparison["against"])]
    return [(letter_of(index), run) for index, run in enumerate(every)]


def others(comparison: Json) -> list[tuple[str, Json]]:
    """Returns what was compared with the first run, with the letters of the runs."""
    return [(letter_of(index), one) for index, one in enumerate(comparison["against"], start=1)]


def figures_of_all(comparison: Json) -> list[tuple[str, list[Json]]]:
    """Returns each figure with its comparison of every further run with the first, in their order."""
    first, *_ = every = [against["figures"] for against in comparison["against"]]
    return [(name, [figures[name] for figures in every]) for name in first if all(name in one for one in every)]


def parts_of_all(comparison: Json) -> list[list[Json]]:
    """Returns each group of a breakdown that all runs have, as its comparison of every further run with the first."""
    every = [
        {(part["breakdown"], part["group"], part["figure"]): part for part in against["breakdowns"]}
        for against in comparison["against"]
    ]
    return [[parts[key] for parts in every] for key in every[0] if all(key in parts for parts in every)]


def short_name(run: Json) -> str:
    """Returns the name of a run's file, or of its folder where the file is called as all are."""
    path = Path(run["rows"])
    return path.parent.name if path.stem == "rows" and path.parent.name else path.stem


def letter_of(index: int) -> str:
    """Returns A, B, … Z, A2, B2, … for 0, 1, …."""
    turn, letter = divmod(index, 26)
    return chr(ord("A") + letter) + (str(turn + 1) if turn else "")


def named(run: Json) -> str:
    """Returns the run in words."""
    return f"{run['rows']}" + (f" (checkpoint {run['checkpoint']})" if run["checkpoint"] else "")


def changed(against: Json) -> list[Json]:
    """Returns the groups whose interval excludes 0, the largest differences first."""
    groups = [part for part in against["breakdowns"] if part["significant"]]
    return sorted(groups, key=lambda part: -abs(part["difference"]))


def changed_title(against: Json) -> str:
    """Returns how many groups changed, and how many would by chance."""
    total, groups = len(against["breakdowns"]), len(changed(against))
    if not total:
        return "breakdowns: none could be compared"
    chance = f"{against['changed_by_chance']:.1f}"
    return f"breakdowns: {groups} of {total} groups changed beyond their interval (about {chance} would by chance)"


def flips_title(against: Json, letter: str) -> str:
    """Returns how many samples flipped."""
    won, lost = len(against["flips"]["won"]), len(against["flips"]["lost"])
    return f"flipped at IoU 0.5: {won + lost} samples, of which {letter} won {won} and lost {lost}"


def interval_title(comparison: Json) -> str:
    """Returns the heading of the column of intervals."""
    return f"{100 * comparison['level']:g}% interval"


def notes(comparison: Json) -> str:
    """Returns notes on how to read the comparison."""
    few_listed = any(part["few"] for one in comparison["against"] for part in changed(one))
    drawn = f"{comparison['resamples']:,} resamples of {drawn_units(comparison)}"
    lines = [f"figures in percent, differences in points; paired bootstrap, {drawn}", _NOTE]
    lines += ["~ few samples: read with care"] if few_listed else []
    return "\n".join([*lines, *(f"warning: {line}" for line in comparison["warnings"])])


def part_name(part: Json) -> str:
    """Returns the group with the name of its breakdown."""
    return f"{part['title']}: {part['group']}"


def few(part: Json) -> str:
    """Returns the mark of a group of few samples."""
    return "~" if part["few"] else ""


def absent(flip: Json) -> str:
    """Returns the note on a flipped sample without a target: its IoU is 1 if nothing was predicted, else 0."""
    return "" if flip["targeted"] else " (no target)"


def number(value: float | None) -> str:
    """Returns a figure as it is shown."""
    return "-" if value is None else f"{value:.2f}"


def difference(one: Json) -> str:
    """Returns a difference as it is shown, with its sign."""
    return "-" if one["difference"] is None else f"{one['difference']:+.2f}"


def interval(one: Json) -> str:
    """Returns an interval as it is shown."""
    return "-" if one["low"] is None else f"{one['low']:+.2f} to {one['high']:+.2f}"


def _all_figures(comparison: Json) -> list[tuple[str, ...]]:
    return [(name, number(of[0]["before"]), *map(_beside, of)) for name, of in figures_of_all(comparison)]


def _all_abilities(comparison: Json) -> list[tuple[str, ...]]:
    groups = [of for of in parts_of_all(comparison) if of[0]["breakdown"] == "ability"]
    return [
        (
            of[0]["group"],
            f"{of[0]['samples']}{few(of[0])}",
            of[0]["figure"],
            number(of[0]["before"]),
            *map(_beside, of),
        )
        for of in groups
    ]


def _beside(one: Json) -> str:
    """Returns a run's figure with its difference from the first run's."""
    return f"{number(one['after'])} ({difference(one)}{'*' if one['significant'] else ''})"


def _cells(one: Json) -> tuple[str, ...]:
    return (
        number(one["before"]),
        number(one["after"]),
        difference(one),
        interval(one),
        "*" if one["significant"] else "",
    )


def _ious(flip: Json) -> tuple[str, str]:
    return f"{flip['before']:.2f}", f"{flip['after']:.2f}"


def _of(listed: int, total: int, *, more: str = "") -> str:
    return f" ({listed} of {total}{more})" if listed < total else ""


def _table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    written = [f"| {' | '.join(_md(cell) for cell in row)} |" for row in (titles, *rows)]
    return [written[0], "|" + " --- |" * len(titles), *written[1:]]


def _md(value: object) -> str:
    """Returns a cell as Markdown: letters in bold as they are, all else as text of one line."""
    written = str(value)
    return written if written.startswith("**") and written.endswith("**") and written[2:-2].isalnum() else plain(value)
