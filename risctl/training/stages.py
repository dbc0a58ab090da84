"""Trains recipes with stages: one run after another, each in its own folder and initialised by the one before.

The run folder of such a training holds the recipe, a folder a stage (`1-selector`, `2-detector`, …) and, at its end,
the checkpoint of the last stage with the whole recipe in it. A resume finds the stage that was not finished.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Unpack

from accelerate import Accelerator

from risctl.checkpoints.checkpoint import save_checkpoint
from risctl.checkpoints.loaded_model import Builder, load_checkpoint
from risctl.distributed import failing_together, gather
from risctl.errors import CheckpointError, UsageError
from risctl.files import replacing
from risctl.recipe.schema import Recipe
from risctl.training import run as training
from risctl.training.callback import NullCallback
from risctl.training.initial_system import resolved
from risctl.training.processes import device_of_run, start_processes
from risctl.training.resumption import state_of_save
from risctl.training.run import TrainingResult, TrainOptions
from risctl.training.run_folder import RunFolder

_DONE = "stages.json"


def train(recipe: Recipe, *, out: Path | None = None, **options: Unpack[TrainOptions]) -> TrainingResult:
    """Trains `recipe`, stage by stage if it has stages. Arguments and errors are those of `run.train`."""
    recipe = resolved(recipe)
    if not recipe.stages:
        return training.train(recipe, out=out, **options)
    accelerator = start_processes(device_of_run(options.get("device", "auto"), None), "fp32")
    run = training.new_run(recipe, out=out, accelerator=accelerator)
    return _run_stages(recipe, run, accelerator, **options)


def resume(path: Path, *, recipe: Recipe | None = None, **options: Unpack[TrainOptions]) -> TrainingResult:
    """Resumes the run in `path`, in the stage that is not finished. Arguments and errors are those of `run.resume`.

    Raises:
        UsageError: `recipe` differs from the run's own, which cannot change in a run with stages.
    """
    run = RunFolder.open(path)
    own = run.recipe()
    if not own.stages:
        return training.resume(path, recipe=recipe, **options)
    if recipe is not None and recipe != own:
        raise UsageError(f"{path} is a run with stages, which is resumed with its own recipe; leave out the changes")
    # Before the note of the start, which holds the number of threads.
    accelerator = start_processes(device_of_run(options.get("device", "auto"), run), "fp32")
    return _run_stages(own, run, accelerator, **options)


def _run_stages(
    recipe: Recipe, run: RunFolder, accelerator: Accelerator, **options: Unpack[TrainOptions]
) -> TrainingResult:
    is_first = accelerator.is_main_process
    with failing_together():
        if is_first:
            run.note_start(recipe, options.get("command", ""))
        _check_stages(recipe, run)
        done = _finished(run)
    callback = options.get("callback") or NullCallback()
    before: Path | None = None
    result: TrainingResult | None = None
    steps, seconds = 0, 0.0
    skipped: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(recipe.stages, start=1):
        folder = RunFolder(run.path / f"{number}-{name}")
        if name in done:
            before = folder.last
            steps += done[name]
            state = state_of_save(folder.last)
            seconds += 0.0 if state is None else state.seconds
            skipped.update((entry["image"], entry) for entry in ([] if state is None else state.skipped))
            continue
        if is_first:
            callback.line(f"stage {number} of {len(recipe.stages)}: {name}")
        options["continues"] = True
        # As the first process sees it, before it makes the folder.
        if gather(folder.recipe_file.is_file())[0]:
            result = training.resume(folder.path, **options)
        else:
            result = training.train(_beginning(recipe.stage(name), before), out=folder.path, **options)
        before = folder.last
        steps += result.steps
        seconds += result.seconds
        skipped.update((entry["image"], entry) for entry in result.skipped)
        done[name] = result.steps
        with failing_together():
            if is_first:
                _note(run, done)
    last = RunFolder(run.path / f"{len(recipe.stages)}-{list(recipe.stages)[-1]}")
    with failing_together():
        if is_first:
            _keep(recipe, run, source=last, build=options.get("build"))
    finished, images = run.best if run.best.exists() else run.last, tuple(skipped.values())
    # The last stage's figures are those of the run, also where it had ended before.
    state = state_of_save(last.last) if result is None else None
    result = TrainingResult(
        run=run.path,
        checkpoint=finished,
        steps=steps,
        seconds=seconds,
        figures=result.figures if result is not None else {} if state is None else state.figures,
        best=result.best if result is not None else None if state is None else state.best,
        skipped=images,
        is_first=is_first,
    )
    with failing_together():
        if is_first:
            run.note_result(result.to_json())
    accelerator.end_training()
    return result


def _check_stages(recipe: Recipe, run: RunFolder) -> None:
    """Checks that no stage would be trained anew whose weights later ones began with.

    Raises:
        CheckpointError: The folder of a stage is gone, and what came after it is there.
    """
    after: Path | None = next((path for path in (run.last, run.best) if path.exists()), None)
    for number, name in reversed(list(enumerate(recipe.stages, start=1))):
        folder = run.path / f"{number}-{name}"
        if folder.exists():
            after = folder
        elif after is not None:
            raise CheckpointError(
                f"the stage {folder} is missing, but {after} is there, which came of it; it is not trained anew. Bring "
                "the folder back, or start a new run with another --out"
            )


def _beginning(stage: Recipe, before: Path | None) -> Recipe:
    """Returns the recipe of a stage that is initialised by the checkpoint of the one before, if there was one."""
    if before is None:
        return stage
    values = stage.model_dump(mode="json")
    # Absolute, so that the stage can start over from another working folder.
    values["train"]["init_weights"] = {"checkpoint": str(before.resolve())}
    return Recipe.model_validate(values)


def _keep(recipe: Recipe, run: RunFolder, *, source: RunFolder, build: Builder | None) -> None:
    """Saves the weights of the last stage as those of the whole run, with the whole recipe."""
    for path, kept in ((source.last, run.last), (source.best, run.best)):
        if path.exists():
            loaded = load_checkpoint(path, build=build)
            extra = {
                name: value
                for name, value in loaded.header.items()
                if name in ("dataset", "protocol", "step", "epoch", "metrics", "best")
            }
            save_checkpoint(kept, system=loaded.system, recipe=recipe, vocabulary=loaded.vocabulary, extra=extra)


def _finished(run: RunFolder) -> dict[str, int]:
    """Returns the steps of every finished stage by its name."""
    try:
        return {str(name): int(steps) for name, steps in json.loads((run.path / _DONE).read_text("utf-8")).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{run.path / _DONE} is damaged ({error}); remove it: stages that are done are then known by their saves"
        ) from error


def _note(run: RunFolder, done: dict[str, int]) -> None:
    with replacing(run.path / _DONE) as file:
        file.write_text(json.dumps(done) + "\n", encoding="utf-8")
