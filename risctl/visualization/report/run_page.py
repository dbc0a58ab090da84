"""Renders the learning curves of runs, and of a sweep, as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from risctl.errors import DataError
from risctl.training.run_record import RunRecord, read_run_record
from risctl.training.sweep import Sweep
from risctl.training.sweep_points import SweepPoint, best_point
from risctl.visualization.report.charts import interval_bar
from risctl.visualization.report.frame import framed
from risctl.visualization.report.learning_curves import STYLES, Line, curve_chart, legend
from risctl.visualization.report.markup import Markup, element, joined

_LOGARITHMIC = ("loss", "rate", "grad_norm")
_TITLES = {"grad_norm": "gradient norm", "data_share": "share of the time in data", "memory_mib": "memory, MiB"}


def run_page(runs: Sequence[RunRecord]) -> str:
    """Returns the page of some runs: their curves, one line a run, and a table of what they came to.

    Args:
        runs: The runs, at least one.
    """
    names = short_names([run.path for run in runs])
    title = f"Run {names[0]}" if len(runs) == 1 else f"{len(runs)} runs"
    body = joined(
        element("header", element("h1", title)),
        element("main", _results(runs, names), _curves(runs, names, [place % STYLES for place in range(len(runs))])),
    )
    return framed(body, title=f"risctl: {title}", style="page.css", script="comparison.js")


def sweep_page(sweep: Sweep, points: Sequence[SweepPoint]) -> str:
    """Returns the page of a sweep: its table, and the curves of all its runs, coloured by combination.

    Args:
        sweep: The sweep.
        points: Its combinations.
    """
    styles = [place % STYLES for place in range(len(points))]
    runs, names, of_runs = runs_of_sweep(points)
    title = f"Sweep of {Path(sweep.recipe).stem}"
    facts = {
        "Folder": sweep.path,
        "Search": f"{sweep.search}, {sweep.trial_count} trainings" if sweep.search else "",
        "Trainings": f"{sum(seed['ended'] for point in points for seed in point.seeds)} of {len(sweep.trials())} ended",
        "Seeds": ", ".join(map(str, sweep.seeds)),
        "Shared changes": " ".join(sweep.overrides),
    }
    entries = [element("div", element("dt", name), element("dd", value)) for name, value in facts.items() if value]
    note = (
        "Each value is the best evaluation of its training, on the validation split; a row has their mean over seeds "
        "and its 95% interval by Student's t. They are for choosing among the combinations."
    )
    keys = [
        (", ".join(_named(point.values)) or "the recipe", style) for point, style in zip(points, styles, strict=True)
    ]
    body = joined(
        element("header", element("h1", title), element("dl", *entries, class_="facts")),
        element(
            "main",
            element("section", element("h2", "Combinations"), element("p", note, class_="note"), _points(points)),
            _curves(runs, names, of_runs, keys=keys),
        ),
    )
    return framed(body, title=f"risctl: {title}", style="page.css", script="comparison.js")


def runs_of_sweep(points: Sequence[SweepPoint]) -> tuple[list[RunRecord], list[str], list[int]]:
    """Returns the runs of a sweep that have begun, with a name and the style of its combination each."""
    runs, names, styles = [], [], []
    for place, point in enumerate(points):
        for seed in point.seeds:
            try:
                runs.append(read_run_record(Path(seed["run"])))
            except DataError:
                continue  # not begun yet
            names.append(", ".join([*_named(point.values), f"seed {seed['seed']}"]))
            styles.append(place % STYLES)
    return runs, names, styles


def _points(points: Sequence[SweepPoint]) -> Markup:
    figure = next((point.figure for point in points if point.figure), "figure")
    best = best_point(points)
    keys = list(points[0].values) if points else []
    rows = []
    for point in points:
        known = [seed["value"] for seed in point.seeds if seed["value"] is not None]
        interval = "" if point.low is None else f"{point.low:.2f} to {point.high:.2f}"
        rows.append(
            element(
                "tr",
                *(element("td", value, class_="num") for value in point.values.values()),
                element("td", ", ".join(f"{value:.2f}" for value in known), class_="num"),
                element("td", "" if point.mean is None else f"{point.mean:.2f}", class_="num", data_value=point.mean),
                element("td", interval, class_="num"),
                element("td", interval_bar(point.mean, point.low, point.high)),
                element("td", "best" if point is best and len(points) > 1 else point.state),
            )
        )
    titles = (*keys, f"{figure} of each seed", "mean", "95% interval", "0 to 100%", "")
    return _table(titles, rows, numbers=len(keys) + 3)


def _results(runs: Sequence[RunRecord], names: Sequence[str]) -> Markup:
    rows = []
    for run, name in zip(runs, names, strict=True):
        best, seconds = run.best, (run.result or {}).get("seconds")
        rows.append(
            element(
                "tr",
                element("th", name, scope="row"),
                element("td", "ended" if run.result is not None else "not ended"),
                element("td", f"{run.step:,}", class_="num", data_value=run.step),
                element("td", "" if best is None else f"{best[0]} {best[1]:.2f} at step {best[2]:,}"),
                element("td", "" if seconds is None else f"{seconds:,.0f} s", class_="num", data_value=seconds),
                element("td", f"{run.unreadable:,} lines" if run.unreadable else "none", class_="num"),
            )
        )
    titles = ("run", "state", "last step", "best evaluation", "training time", "unreadable metrics")
    return element("section", element("h2", "Runs"), _table(titles, rows, numbers=0))


def _curves(
    runs: Sequence[RunRecord],
    names: Sequence[str],
    styles: Sequence[int],
    *,
    keys: Sequence[tuple[str, int]] | None = None,
) -> Markup:
    evaluated, trained = quantities_of(runs)
    if not evaluated and not trained:
        return element("section", element("h2", "Learning curves"), element("p", "Nothing is recorded yet."))
    sections = []
    for title, quantities in (("Evaluations, in percent", evaluated), ("Training", trained)):
        charts = []
        for quantity in quantities:
            lines = [
                Line(name=name, points=run.curves[quantity], style=style)
                for run, name, style in zip(runs, names, styles, strict=True)
                if quantity in run.curves
            ]
            charts.append(curve_chart(curve_title(quantity), lines, logarithmic=is_logarithmic(quantity)))
        if charts:
            sections += [element("h3", title), element("div", *charts, class_="charts")]
    key = legend(keys if keys is not None else list(zip(names, styles, strict=True)))
    return element("section", element("h2", "Learning curves"), key, *sections, id="curves")


def quantities_of(runs: Sequence[RunRecord]) -> tuple[list[str], list[str]]:
    """Returns the names of the curves of evaluations, and of those of the training."""
    evaluated = dict.fromkeys(name for run in runs for name in run.evaluated)
    trained = dict.fromkeys(name for run in runs for name in run.curves if name not in evaluated)
    return list(evaluated), list(trained)


def curve_title(quantity: str) -> str:
    """Returns the name of a quantity of metrics.jsonl for a person, with its unit where it has one."""
    return _TITLES.get(quantity, quantity.replace("_", " "))


def is_logarithmic(quantity: str) -> bool:
    """Returns whether a quantity is drawn on a logarithmic scale, where its values allow."""
    return quantity.partition(":")[0] in _LOGARITHMIC


def _table(titles: Sequence[str], rows: Sequence[Markup], *, numbers: int) -> Markup:
    head = [
        element("th", title, scope="col", class_="num" if place < numbers else None)
        for place, title in enumerate(titles)
    ]
    table = element("table", element("thead", element("tr", *head)), element("tbody", *rows), class_="sortable")
    return element("div", table, class_="wide")


def _named(values: Mapping[str, str]) -> list[str]:
    return [f"{key.rpartition('.')[2]}={value}" for key, value in values.items()]


def short_names(paths: Sequence[Path]) -> list[str]:
    """Returns the last parts of the paths of runs, as many as tell them apart."""
    for count in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.resolve().parts[-count:]) for path in paths]
        if len(set(names)) == len({path.resolve() for path in paths}):
            return names
    return [str(path) for path in paths]
