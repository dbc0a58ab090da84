"""`risctl sweep`: trains a recipe with each combination of some keys' values, and with several seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from risctl.cli import console
from risctl.cli.options import (
    Device,
    DeviceOption,
    JsonOption,
    OverridesArgument,
    OverwriteOption,
    QuietOption,
    RecipeArgument,
)

if TYPE_CHECKING:
    from risctl.training.sweep import Sweep, Trial
    from risctl.training.sweep_points import SweepPoint
    from risctl.training.sweep_runner import SweepRunner, TrialEnd

EXAMPLE = "Example: risctl sweep vlt-scenes --grid optim.lr=1e-4,3e-4 model.queries=8,16 --seeds 3"

app = typer.Typer()


class SweepCommand(TyperCommand):
    """A command whose `--grid` takes all texts up to the next option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parses `args` with `--grid` written before each of its texts."""
        return super().parse_args(ctx, list(_with_grid(args)))


@app.command("sweep", cls=SweepCommand, epilog=EXAMPLE)
def sweep_command(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            "--grid",
            metavar="KEY=VALUE,VALUE …",
            help="A key of the recipe with the values to try; several keys make all combinations of their values. With "
            "--search also KEY=LOW..HIGH, and KEY=LOW..HIGH:log. Stands after the changes that all trainings share.",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, max=1000, help="How many seeds each combination is trained with.")
    ] = 1,
    search: Annotated[
        str | None,
        typer.Option(
            "--search",
            metavar="tpe|random",
            help="Let Optuna propose values in place of all combinations, from what the trainings before came to "
            "(tpe), or at random. Needs the extra risctl[search].",
            show_default=False,
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option("--trials", min=1, max=10_000, help="With --search: how many trainings.", show_default=False),
    ] = None,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune/--no-prune",
            help="With --search: stop a training whose evaluations are below the median of the others at that point.",
        ),
    ] = True,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, max=64, help="How many trainings run at a time.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The folder of the sweep; one that was begun goes on. Default: sweeps/<recipe>-<n>.",
            show_default=False,
        ),
    ] = None,
    print_jobs: Annotated[
        bool,
        typer.Option("--print-jobs", help="Print the command line of each training, for a job array; train nothing."),
    ] = False,
    report: Annotated[
        list[Path] | None,
        typer.Option(
            "--report",
            "-r",
            help="Also write a page with the table and the learning curves (.html), or the table as .json; may be "
            "repeated.",
            show_default=False,
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train a recipe with each combination of values and several seeds; print one table.

    Every training is a run folder of its own in the sweep's folder. Stop a sweep at any time and give the same command
    with its --out: what has ended stays, what was begun goes on. The table has the mean of the best evaluations over
    seeds and its 95% interval by Student's t. Those values were chosen on the validation split: they are for choosing
    among the combinations, not for publication.

    A search is kept in its folder, too: the same command goes on with it, with more --trials as well. Each proposal has
    a seed of its own, so that with one training at a time a search is the same however often it was stopped.

    A training that fails is named and the others go on; the exit code is then that of the first failure.
    """
    from risctl.training.sweep import begin_sweep, job_lines, plan_sweep
    from risctl.training.sweep_points import sweep_points

    outputs = _claim(report, overwrite=overwrite)
    _check_search(search, trials=trials, print_jobs=print_jobs)
    with console.quiet_if(quiet):
        sweep = plan_sweep(
            recipe,
            overrides=overrides or (),
            grid=grid or (),
            seeds=seeds,
            out=out,
            search=search or "",
            trials=trials or 0,
        )
        total = sweep.trial_count or len(sweep.trials())
        if print_jobs:
            lines = job_lines(sweep, device=device.value)
            console.result(lines, data={"sweep": str(sweep.path), "jobs": lines}, as_json=as_json)
            return
        begin_sweep(sweep)
        what = f"a search ({sweep.search})" if sweep.search else f"{len(sweep.points)} combinations"
        console.say(f"sweep: {sweep.path}, {what}, {total} trainings")
        ends: list[TrialEnd] = []
        with console.counting("trainings") as move:
            move(0, total)

            def ended(end: TrialEnd) -> None:
                ends.append(end)
                console.say(_end_line(end, done=len(ends), total=total))
                move(len(ends), total)

            def waiting(trial: Trial) -> None:
                console.say(f"{trial.label}: another process is training it; waiting")

            runner = _runner(
                sweep, prune=prune, jobs=min(jobs, total), device=device.value, ended=ended, waiting=waiting
            )
            runner.run()
            sweep = runner.sweep
        points = sweep_points(sweep)
        data = _data(sweep, points, ends)
        for path in report or ():
            outputs.write_text(path, _render(path.suffix.lower(), sweep, points, data))
            console.say(f"report: {path}")
        console.result(_table(points), data=data, as_json=as_json)
    failed = [end for end in sorted(ends, key=lambda end: end.trial.number) if end.code]
    if failed:
        console.say(
            f"{len(failed)} of {total} trainings failed; their output is in {sweep.path / 'logs'}. The same command "
            + ("goes on without them" if sweep.search else "goes on with them")
        )
        raise typer.Exit(failed[0].code)


def _check_search(search: str | None, *, trials: int | None, print_jobs: bool) -> None:
    from risctl.errors import UsageError, unknown_name
    from risctl.training.sweep import SEARCHES

    if search is None:
        if trials is not None:
            raise UsageError("--trials is for a search; add --search tpe, or leave it out")
        return
    if search not in SEARCHES:
        raise UsageError(f"--search: {unknown_name('search', search, SEARCHES)}")
    if trials is None:
        raise UsageError("--search takes --trials N, how many trainings")
    if print_jobs:
        raise UsageError("--print-jobs is for a grid: what a search trains next depends on what it has trained")
    from risctl.training.search import check_optuna

    check_optuna()


def _runner(sweep: Sweep, *, prune: bool, **options: Any) -> SweepRunner:
    from risctl.recipe.load import load_recipe
    from risctl.training.sweep_runner import SweepRunner

    if not sweep.search:
        return SweepRunner(sweep, **options)
    from risctl.training.search import SearchRunner

    return SearchRunner(sweep, figure=load_recipe(sweep.recipe, sweep.overrides).train.best, prune=prune, **options)


def _with_grid(args: Sequence[str]) -> Iterator[str]:
    within = False
    for argument in args:
        if argument.startswith("-"):
            within = argument == "--grid"
            if not within:
                yield argument
        elif within:
            yield from ("--grid", argument)
        else:
            yield argument


def _claim(reports: Sequence[Path] | None, *, overwrite: bool) -> Any:
    from risctl.errors import UsageError
    from risctl.output_files import OutputFiles

    outputs = OutputFiles(overwrite=overwrite)
    for path in reports or ():
        if path.suffix.lower() not in (".html", ".json"):
            raise UsageError(f"--report writes .html or .json, not {path}")
        outputs.claim(path)
    return outputs


def _end_line(end: TrialEnd, *, done: int, total: int) -> str:
    from risctl.training.run_record import read_result

    start = f"training {done} of {total}: {end.trial.label}: "
    if end.code:
        return f"{start}failed with exit code {end.code}: {end.message}"
    if end.pruned:
        return f"{start}stopped: others were better by then" + (" (had ended before)" if end.before else "")
    result = read_result(end.trial.run) or {}
    best = result.get("best")
    figure = "no evaluation" if best is None else f"{best['figure']} {best['value']:.2f} at step {best['step']}"
    return start + figure + (" (had ended before)" if end.before else "")


def _table(points: Sequence[SweepPoint]) -> str:
    from risctl.training.sweep_points import best_point

    best = best_point(points)
    keys = list(points[0].values) if points else []
    figure = next((point.figure for point in points if point.figure), "figure")
    rows = [[*keys, "seeds", figure, "95% interval", ""]]
    for point in points:
        rows.append(
            [
                *point.values.values(),
                str(sum(seed["value"] is not None for seed in point.seeds)),
                "-" if point.mean is None else f"{point.mean:.2f}",
                "-" if point.low is None else f"{point.low:.2f} to {point.high:.2f}",
                "best" if point is best and len(points) > 1 else point.state,
            ]
        )
    return console.table(rows, right=range(len(keys), len(keys) + 2))


def _data(sweep: Sweep, points: Sequence[SweepPoint], ends: Sequence[TrialEnd]) -> dict[str, Any]:
    return {
        "sweep": str(sweep.path),
        "recipe": sweep.recipe,
        "overrides": list(sweep.overrides),
        **({"search": sweep.search, "trials": sweep.trial_count} if sweep.search else {}),
        "points": [point.to_json() for point in points],
        "failed": [
            {"run": str(end.trial.run), "code": end.code, "message": end.message}
            for end in sorted(ends, key=lambda end: end.trial.number)
            if end.code
        ],
    }


def _render(ending: str, sweep: Sweep, points: Sequence[SweepPoint], data: dict[str, Any]) -> str:
    if ending == ".json":
        import json

        return json.dumps(data, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    from risctl.visualization.report.run_page import sweep_page

    return sweep_page(sweep, points)
