"""`risctl train`: trains a model from a recipe into a run folder."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from risctl.cli import console
from risctl.cli.options import Device, DeviceOption, JsonOption, QuietOption, complete_recipe
from risctl.cli.train.progress import TrainingProgress
from risctl.errors import UsageError

if TYPE_CHECKING:
    from risctl.recipe.schema import Recipe
    from risctl.training.dry_run import DryRun
    from risctl.training.run import TrainingResult

EXAMPLE = "Example: risctl train vlt-scenes optim.lr=3e-4 data.batch_size=16 ~data.augment"

app = typer.Typer()

# The value of `--resume` without a folder.
_OUT = ""


class TrainCommand(TyperCommand):
    """A command whose `--resume` may stand without a folder, which is then that of `--out`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parses `args` with a folder inserted after a bare `--resume`."""
        return super().parse_args(ctx, list(_with_folder(args)))


@app.command("train", cls=TrainCommand, epilog=EXAMPLE)
def train_command(
    recipe: Annotated[
        str | None,
        typer.Argument(
            help="A recipe file, or the name of a shipped recipe (`risctl recipes ls`).",
            autocompletion=complete_recipe,
            show_default=False,
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            help="Changes to the recipe: KEY=VALUE sets a key, ~KEY restores its default.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The run folder. Default: runs/<recipe>-<n>.", show_default=False),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume",
            metavar="[RUN]",
            help="Continue this run folder exactly where it stopped. Without a folder, given a recipe and --out: "
            "continue --out if it exists, else begin it.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the parameters, steps, memory and paths, and train nothing.")
    ] = False,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train a model from a recipe.

    The run folder contains the resolved recipe, the command, versions, metrics.jsonl, the log, and two checkpoints:
    `best` by the recipe's figure, and `last` to resume from. Ctrl-C finishes the step, saves, and exits with code 130;
    SIGTERM, the signal of schedulers, does so with code 143. A run that was killed resumes from its last save. A loss
    that is not finite ends the run with exit code 1.

    Under `torchrun` or `accelerate launch`, every process takes `data.batch_size` samples per step.
    """
    changes = list(overrides or [])
    if recipe is not None and resume and _is_override(recipe):
        # `risctl train --resume RUN train.epochs=60`: the run has its own recipe.
        changes.insert(0, recipe)
        recipe = None
    with console.quiet_if(quiet):
        if dry_run:
            _print_dry_run(recipe, changes, out=out, resume=resume, as_json=as_json)
            return
        result = _run(recipe, changes, out=out, resume=resume, device=device)
        if result.is_first:
            console.result(_result_text(result), data=result.to_json(), as_json=as_json)


def _run(
    recipe: str | None, changes: list[str], *, out: Path | None, resume: str | None, device: Device
) -> TrainingResult:
    from risctl.distributed import failing_together
    from risctl.training import stages
    from risctl.training.processes import start_first

    start_first(device.value)
    with failing_together():
        resolved, run = _resolve(recipe, changes, out=out, resume=resume)
    command_line = shlex.join(["risctl", *sys.argv[1:]])
    with TrainingProgress() as callback:
        if run is not None:
            return stages.resume(run, recipe=resolved, device=device.value, command=command_line, callback=callback)
        return stages.train(resolved, out=out, device=device.value, command=command_line, callback=callback)


def _resolve(
    recipe: str | None, changes: Sequence[str], *, out: Path | None, resume: str | None
) -> tuple[Recipe, Path | None]:
    """Returns the recipe, and the folder of the run to resume, if any."""
    from risctl.recipe.load import load_recipe
    from risctl.training.run_folder import RunFolder

    if resume is None:
        if recipe is None:
            raise UsageError("name a recipe (`risctl recipes ls` lists the shipped ones) or a run to --resume")
        return load_recipe(recipe, changes), None
    if resume == _OUT:
        if out is None or recipe is None:
            raise UsageError("--resume takes a run folder; without one, give a recipe and --out")
        began = RunFolder(out).recipe_file.is_file()
        return load_recipe(recipe, changes), out if began else None
    if out is not None:
        raise UsageError(f"a resumed run continues in its own folder, {resume}; leave --out out")
    run = RunFolder.open(Path(resume))
    return load_recipe(recipe, changes) if recipe is not None else run.recipe(changes), run.path


def _print_dry_run(
    recipe: str | None, changes: list[str], *, out: Path | None, resume: str | None, as_json: bool
) -> None:
    from risctl.training.dry_run import dry_run
    from risctl.training.run_folder import next_free

    resolved, run = _resolve(recipe, changes, out=out, resume=resume)
    plan = dry_run(resolved)
    paths = {
        "run": str(run or out or next_free(resolved.name)),
        "store": resolved.data.store,
        **{f"also {number}": path for number, path in enumerate(resolved.data.also, start=1)},
        "init_weights": resolved.train.init_weights.checkpoint if resolved.train.init_weights else None,
        "weights": getattr(getattr(resolved.model, "visual", None), "weights", None),
        "vectors": getattr(getattr(resolved.model, "text", None), "vectors", None),
    }
    data = {"recipe": resolved.model_dump(mode="json"), **plan.to_json(), "paths": paths}
    console.result(_dry_run_text(resolved, plan, paths), data=data, as_json=as_json)


def _dry_run_text(recipe: Recipe, plan: DryRun, paths: dict[str, str | None]) -> str:
    if plan.items is None:
        steps = "unknown"
    else:
        steps = f"{plan.steps:,} in total, {plan.steps_per_epoch:,} per epoch of {plan.items:,} items"
    parts = ", ".join(f"{name} {_bytes(size)}" for name, size in plan.memory.items())
    lines = [
        f"recipe      {recipe.name}",
        f"model       {recipe.model.system}: {plan.parameters:,} parameters, {plan.trainable:,} trainable",
        f"words       {plan.words:,}",
        f"steps       {steps}, of {recipe.data.batch_size * recipe.optim.accumulate:,} samples",
        f"memory      about {_bytes(sum(plan.memory.values()))}: {parts}",
        *(f"{name:<11} {path}{_missing_mark(name, path)}" for name, path in paths.items() if path is not None),
        *(f"note        {note}" for note in plan.notes),
    ]
    return "\n".join(lines)


def _missing_mark(name: str, path: str) -> str:
    is_file = name != "run" and (Path(path).suffix or "/" in path)
    return " (missing)" if is_file and not Path(path).exists() else ""


def _bytes(size: int) -> str:
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"


def _result_text(result: TrainingResult) -> str:
    best = result.best
    figure = "" if best is None else f"\nbest {best.figure} {best.value:.2f} at step {best.step}: {result.checkpoint}"
    from risctl.training.skipped_images import describe_skipped

    skipped = describe_skipped(result.skipped)
    return f"{result.run}{figure}" + (f"\n{skipped}" if skipped else "")


def _with_folder(args: Sequence[str]) -> Iterator[str]:
    for index, argument in enumerate(args):
        yield argument
        if argument == "--resume" and (index + 1 == len(args) or args[index + 1].startswith("-")):
            yield _OUT


def _is_override(argument: str) -> bool:
    return (argument.startswith("~") or "=" in argument) and not Path(argument).exists()
