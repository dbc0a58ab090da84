"""Starts and resumes runs: assembles a trainer from a recipe and runs it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypedDict, Unpack

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from risctl.checkpoints.loaded_model import Builder
from risctl.data.store.reader import Store
from risctl.devices import determinism, device_name
from risctl.distributed import failing_together
from risctl.errors import UsageError
from risctl.recipe.schema import Recipe
from risctl.training.agreement import check_agreement
from risctl.training.callback import NullCallback, ProgressCallback
from risctl.training.components import TrainerComponents
from risctl.training.datasets import epoch_sampler, training_dataset
from risctl.training.early_stop import is_over
from risctl.training.ema import EMA
from risctl.training.features.attach_features import attach_features
from risctl.training.global_batch import global_batch
from risctl.training.initial_system import initial_system, resolved
from risctl.training.logger import Logger, duration
from risctl.training.optimizer import build_optimizer
from risctl.training.processes import device_of_run, start_processes
from risctl.training.resumption import Resumption, differences
from risctl.training.run_folder import RunFolder
from risctl.training.sharded_saves import join_shards
from risctl.training.sharding import ShardedSystem
from risctl.training.skipped_images import describe_skipped
from risctl.training.state import BestEvaluation, TrainingState
from risctl.training.trackers import check_trackers
from risctl.training.train_step import LossOf, TrainStep
from risctl.training.trainer import Trainer
from risctl.training.validation import validation_of

# The keys that may change when a run is resumed; a change of any other would make it another run.
_CHANGEABLE = frozenset(
    {
        "description",
        "data.store",
        "data.also",
        "data.workers",
        "data.features",
        "train.epochs",
        "train.max_steps",
        "train.eval_every",
        "train.eval_limit",
        "train.save_every",
        "train.log_every",
        "train.trackers",
        "train.early_stop",
        "train.early_stop.figure",
        "train.early_stop.patience",
        "train.early_stop.min_delta",
        "train.skip_corrupt",
        "train.parallel",
        "eval.text_batch",
    }
)


class TrainOptions(TypedDict, total=False):
    """How a run is carried out.

    Attributes:
        device: `auto` if not given.
        command: The command to record in the run folder.
        callback: Receives the progress.
        build: Replaces `build_system`.
        continues: Whether the processes go on together afterwards, as in another stage.
    """

    device: str
    command: str
    callback: ProgressCallback | None
    build: Builder | None
    continues: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """A finished run.

    Attributes:
        run: The run folder.
        checkpoint: The best checkpoint, else the last.
        steps: Updates done.
        seconds: Training time.
        figures: The metrics of the last evaluation.
        best: The evaluation that the checkpoint `best` is from, if any.
        skipped: The images that could not be read: `image`, `problem`, and the `step` that first lacked them.
        stopped_early: Whether `train.early_stop` ended it.
        is_first: Whether this is the first of the run's processes, the one that reports.
    """

    run: Path
    checkpoint: Path
    steps: int
    seconds: float
    figures: dict[str, float]
    best: BestEvaluation | None
    skipped: tuple[dict[str, Any], ...] = ()
    stopped_early: bool = False
    is_first: bool = True

    def to_json(self) -> dict[str, Any]:
        """Returns the result as JSON values."""
        return {
            "run": str(self.run),
            "checkpoint": str(self.checkpoint),
            "steps": self.steps,
            "seconds": round(self.seconds, 1),
            "figures": self.figures,
            "best": None if self.best is None else asdict(self.best),
            "skipped": list(self.skipped),
            "stopped_early": self.stopped_early,
        }


def train(recipe: Recipe, *, out: Path | None = None, **options: Unpack[TrainOptions]) -> TrainingResult:
    """Trains a recipe without stages. Under `torchrun` or `accelerate launch` every process calls this.

    Args:
        recipe: The recipe.
        out: The run folder; None: a new `runs/<recipe>-<n>`.
        **options: See `TrainOptions`.

    Raises:
        RisctlError: As `risctl.errors` describes.
        KeyboardInterrupt: The run was stopped, and saved; `interrupts.Terminated` if SIGTERM stopped it.
    """
    return _run(resolved(recipe), run=None, out=out, **options)


def resume(path: Path, *, recipe: Recipe | None = None, **options: Unpack[TrainOptions]) -> TrainingResult:
    """Resumes a run exactly where its last save stands.

    A `last` that is damaged or missing is reported, and the save before it takes its place. A run that was killed
    before it saved anything begins, which is reported as well.

    Args:
        path: The run folder.
        recipe: May differ from the run's own in how long it trains and what it logs; None: the run's own.
        **options: See `TrainOptions`.

    Raises:
        UsageError: `recipe` is that of another run.
        CheckpointError: There is no usable save, though the run had begun.
        RisctlError: As `train` does.
    """
    run = RunFolder.open(path)
    own = run.recipe()
    changed = differences(own.model_dump(mode="json"), (recipe or own).model_dump(mode="json"))
    forbidden = sorted(changed - _CHANGEABLE)
    if forbidden:
        raise UsageError(
            f"{path} was trained with another recipe: {', '.join(forbidden)} differ; a resumed run can change "
            f"{', '.join(sorted(_CHANGEABLE))}. Start a new run for anything else"
        )
    return _run(recipe or own, run=run, out=None, **options)


def _run(
    recipe: Recipe,
    *,
    run: RunFolder | None,
    out: Path | None,
    device: str = "auto",
    command: str = "",
    callback: ProgressCallback | None = None,
    build: Builder | None = None,
    continues: bool = False,
) -> TrainingResult:
    accelerator = start_processes(device_of_run(device, run), recipe.train.precision)
    is_first = accelerator.is_main_process
    check_agreement(recipe)
    with failing_together():
        check_trackers(recipe.train.trackers)
    with ExitStack() as opened:
        resumption = joined = None
        if run is not None:
            # Before the save is read: the run that writes it now must end first.
            with failing_together():
                opened.enter_context(run.locked(active=is_first))
            with failing_together():
                joined = join_shards(run) if is_first else None
            with failing_together():
                resumption = Resumption.read(run)
                if resumption is not None:
                    resumption.check_recipe(recipe, changeable=_CHANGEABLE)
        with failing_together():
            stores = tuple(opened.enter_context(Store(Path(path))) for path in recipe.data.stores)
        opened.enter_context(determinism(recipe.train.deterministic))
        trainer, notes = _assemble(
            recipe, stores, accelerator, resumption, run=run, out=out, callback=callback, build=build
        )
        is_new = run is None
        run, logger, state = trainer.parts.run, trainer.parts.logger, trainer.state
        if is_new:
            with failing_together():
                opened.enter_context(run.locked(active=is_first))
        elif resumption is None:
            notes.insert(0, "nothing of the run was saved yet: it begins")
        elif resumption.note is not None:
            notes.insert(0, resumption.note)
        if joined is not None:
            notes.insert(0, joined)
        if skipped := describe_skipped(state.skipped):
            notes.append(f"until here {skipped}")
        with failing_together():
            if is_first:
                run.note_start(recipe, command)
            lost = logger.rewind(recipe, state.step, evaluated=state.evaluated)
            notes += [] if lost is None else [lost]
            for line in _opening(trainer, notes, resumed=resumption is not None):
                logger.line(line)
        try:
            state = trainer.run()
        finally:
            logger.close()
        with failing_together():
            if is_first:
                join_shards(run)
        logger.line(_closing(state, run))
        result = TrainingResult(
            run=run.path,
            checkpoint=run.best if run.best.exists() else run.last,
            steps=state.step,
            seconds=state.seconds,
            figures=state.figures,
            best=state.best,
            skipped=tuple(state.skipped),
            stopped_early=state.step < trainer.total and is_over(state, recipe.train.early_stop),
            is_first=is_first,
        )
        with failing_together():
            if is_first:
                run.note_result(result.to_json())
    if not continues:
        accelerator.end_training()
    return result


def _assemble(
    recipe: Recipe,
    stores: Sequence[Store],
    accelerator: Accelerator,
    resumption: Resumption | None,
    *,
    run: RunFolder | None,
    out: Path | None,
    callback: ProgressCallback | None,
    build: Builder | None,
) -> tuple[Trainer, list[str]]:
    """Returns a trainer of a new or resumed run, and notes for its log. A new run folder is made last."""
    # What one process lacks, such as a file of its machine, ends all.
    with failing_together():
        if resumption is not None:
            resumption.check_stores(stores)
        validation, unevaluated = validation_of(recipe, stores[0], device=accelerator.device)
        if resumption is None:
            initial = initial_system(recipe, stores, build=build)
        else:
            initial = resumption.build(recipe, build=build)
        system = initial.system
        # After the weights: what is trained on may depend on what the system detects.
        dataset = training_dataset(recipe, stores[0], system, also=stores[1:])
        position = None if resumption is None else resumption.header["position"]
        batching = global_batch(recipe, processes=accelerator.num_processes, position=position)
        sampler = epoch_sampler(recipe, dataset, rank=accelerator.process_index, batching=batching)
        if resumption is not None:
            resumption.check_position(steps_per_epoch=len(sampler) // batching.accumulate)
    if recipe.train.sync_norms and accelerator.num_processes > 1 and accelerator.device.type == "cuda":
        torch.nn.SyncBatchNorm.convert_sync_batchnorm(system)
    learning = LossOf(system.train()).to(accelerator.device)
    optimizer = build_optimizer(system, recipe.optim)
    features = attach_features(recipe, stores, system, dataset, device=accelerator.device)
    sharded, note = None, None
    if recipe.train.parallel == "fsdp" and accelerator.num_processes > 1:
        sharded = ShardedSystem(
            learning, system=system, device=accelerator.device.type, processes=accelerator.num_processes
        )
        note = sharded.describe()
        model, optimizer = learning, accelerator.prepare(build_optimizer(system, recipe.optim))
    else:
        model, optimizer = accelerator.prepare(learning, optimizer)
    ema = None if recipe.train.ema is None else EMA(system, decay=recipe.train.ema)
    state = TrainingState()
    if resumption is not None:
        state = resumption.restore(system, optimizer, ema=ema, scaler=accelerator.scaler)
    run = run or new_run(recipe, out=out, accelerator=accelerator)
    components = TrainerComponents(
        recipe=recipe,
        run=run,
        stores=tuple(stores),
        vocabulary=initial.vocabulary.vocabulary,
        without_vector=initial.vocabulary.without,
        system=system,
        sharded=sharded,
        train_step=TrainStep(
            system=system,
            model=model,
            optimizer=optimizer,
            accelerator=accelerator,
            accumulate=batching.accumulate,
            clip_norm=recipe.optim.clip_norm,
        ),
        ema=ema,
        sampler=sampler,
        batching=batching,
        dataset=dataset,
        validation=validation,
        accelerator=accelerator,
        logger=Logger(run, callback or NullCallback(), active=accelerator.is_main_process),
    )
    notes = (initial.vocabulary.note, initial.note, features, unevaluated, note, batching.note(recipe))
    trainer = Trainer(components, state, has_saved=resumption is not None)
    if resumption is not None and resumption.is_last_damaged:
        trainer.keep_previous()
    return trainer, [note for note in notes if note is not None]


def new_run(recipe: Recipe, *, out: Path | None, accelerator: Accelerator) -> RunFolder:
    """Makes the run folder in the first process and broadcasts its path to the others.

    Raises:
        UsageError: `out` exists and is not empty.
        MachineError: The disk refuses.
    """
    path = [""]
    with failing_together():
        if accelerator.is_main_process:
            path = [str(RunFolder.create(recipe, out=out).path)]
    if accelerator.num_processes > 1:
        broadcast_object_list(path)
    return RunFolder(Path(path[0]))


def _opening(trainer: Trainer, notes: Sequence[str], *, resumed: bool) -> tuple[str, ...]:
    """Returns the lines that a log begins with."""
    parts, recipe = trainer.parts, trainer.recipe
    parameters = list(parts.system.parameters())
    count = sum(parameter.numel() for parameter in parameters)
    trainable = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    processes = parts.accelerator.num_processes
    device = device_name(parts.accelerator.device) + (f" x {processes} processes" if processes > 1 else "")
    shared = recipe.data.phrases_per_image
    together = f", up to {shared} of an image together" if shared > 1 else ""
    left_out = f" ({parts.dataset.left_out} sentences without a word left out)" if parts.dataset.left_out else ""
    held_back = getattr(parts.dataset, "held_back", 0)
    if held_back:
        left_out += f" ({held_back:,} left out whose images another of the stores evaluates on)"
    named = " and ".join(f"{store.name} ({store.split_by})" for store in parts.stores)
    return (
        f"run: {parts.run.path}" + (f", resumed after step {trainer.state.step}" if resumed else ""),
        f"model: {recipe.model.system}, {count:,} parameters, {trainable:,} trainable",
        (
            f"data: {named} {recipe.data.train_split!r}, {len(parts.dataset):,} samples an epoch{together}{left_out}, "
            f"fingerprint {parts.stores[0].fingerprint[:12]}"
        ),
        *notes,
        (
            f"schedule: {trainer.steps_per_epoch:,} steps an epoch, {trainer.total:,} in all; {device}, "
            f"{recipe.train.precision}"
        ),
    )


def _closing(state: TrainingState, run: RunFolder) -> str:
    best = f"; best {state.best.figure} {state.best.value:.2f} at step {state.best.step}" if state.best else ""
    skipped = describe_skipped(state.skipped)
    return f"done: {state.step} steps in {duration(state.seconds)}{best}{f'; {skipped}' if skipped else ''}; {run.path}"
