"""Starting a run and going on with one: from a recipe to a trainer with everything it works with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypedDict, Unpack

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list
from torch import Tensor

from risctl.checkpoints.checkpoint import MEAN, MODEL, TRAINING, Builder, fill, read_tensors, vocabulary_of
from risctl.data.loading.loader import EpochSampler
from risctl.data.store.reader import Store
from risctl.devices import determinism, device_name, pick_device
from risctl.errors import CheckpointError, DataError, MachineError, UsageError
from risctl.recipe.schema import Recipe
from risctl.systems.registry import build_system
from risctl.training.datasets import training_dataset
from risctl.training.ema import EMA
from risctl.training.features.attach_features import attach_features
from risctl.training.init_weights import InitWeights, read_init_weights
from risctl.training.logger import Logger, NullCallback, ProgressCallback, duration
from risctl.training.optimizer import build_optimizer, load_optimizer
from risctl.training.run_folder import RunFolder
from risctl.training.seeding import seed_run
from risctl.training.state import BestEvaluation, TrainingState
from risctl.training.train_step import TrainStep
from risctl.training.trainer import Trainer, TrainerComponents
from risctl.training.validation import Validation
from risctl.training.vocabulary import GatheredVocabulary, gather_vocabulary

_PRECISIONS = {"fp32": "no", "fp16": "fp16", "bf16": "bf16"}

# What may differ from the run's own recipe when it goes on; anything else would make it another run.
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
        "eval.text_batch",
    }
)


class TrainOptions(TypedDict, total=False):
    """How a training is run.

    device: "auto" if not given; command: what to note as the run's command; watcher: who is told; build: replaces
    `build_system`.
    """

    device: str
    command: str
    callback: ProgressCallback | None
    build: Builder | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """A finished run.

    figures: of the last evaluation; best: the evaluation that the checkpoint `best` is from, if any; is_first: whether
    this is the first of the run's processes, the one that speaks.
    """

    run: Path
    checkpoint: Path
    steps: int
    seconds: float
    figures: dict[str, float]
    best: BestEvaluation | None
    is_first: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Resumed:
    path: Path
    header: dict[str, Any]
    tensors: dict[str, Tensor]

    def group(self, prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): one for name, one in self.tensors.items() if name.startswith(prefix)}


def train(recipe: Recipe, *, out: Path | None = None, **how: Unpack[TrainOptions]) -> TrainingResult:
    """Train `recipe` from its beginning into the folder `out`, or into a new `runs/<recipe>-<n>`.

    Under `torchrun` or `accelerate launch` every process calls this. Raises the errors of `risctl.errors`;
    `KeyboardInterrupt` when stopped and saved.
    """
    return _train(recipe.resolved(), run=None, out=out, **how)


def resume(path: Path, *, recipe: Recipe | None = None, **how: Unpack[TrainOptions]) -> TrainingResult:
    """Go on with the run in the folder `path` exactly where its `last` checkpoint stands.

    recipe: may differ from the run's own in how long it trains and what it logs; None: the run's own. A run that was
    killed before its first save begins anew. Raises as `train` does, and `UsageError` if `recipe` is another run's.
    """
    run = RunFolder.open(path)
    own = run.recipe()
    changed = _differences(own.model_dump(mode="json"), (recipe or own).model_dump(mode="json"))
    forbidden = sorted(changed - _CHANGEABLE)
    if forbidden:
        raise UsageError(
            f"{path} was trained with another recipe: {', '.join(forbidden)} differ; a resumed run can change "
            f"{', '.join(sorted(_CHANGEABLE))}. Start a new run for anything else"
        )
    return _train(recipe or own, run=run, out=None, **how)


def _train(
    recipe: Recipe,
    *,
    run: RunFolder | None,
    out: Path | None,
    device: str = "auto",
    command: str = "",
    callback: ProgressCallback | None = None,
    build: Builder | None = None,
) -> TrainingResult:
    accelerator = _accelerator(pick_device(device), recipe.train.precision)
    main = accelerator.is_main_process
    resumed = _read_last(run) if run is not None else None
    with ExitStack() as opened:
        store, *also = (opened.enter_context(Store(Path(one))) for one in recipe.data.stores)
        opened.enter_context(determinism(recipe.train.deterministic))
        start: InitWeights | None = None
        if resumed is None:
            if recipe.train.init_weights is not None:
                start = read_init_weights(recipe.train.init_weights)
            words = gather_vocabulary(recipe, store, also=also, before=start.words if start else None)
        else:
            _check_data(resumed, (store, *also))
            vocabulary = vocabulary_of(resumed.header, resumed.path)
            note, without = f"words: {len(vocabulary)}, of the run", tuple(resumed.header.get("without_vector", ()))
            words = GatheredVocabulary(vocabulary=vocabulary, vectors=None, note=note, without=without)
        validation = Validation(recipe, store, device=accelerator.device)
        seed_run(recipe.train.seed)
        system = (build or build_system)(
            recipe.model,
            vocabulary=words.vocabulary,
            vectors=words.vectors,
            pretrained=resumed is None and not (start and start.takes_encoders),
        )
        begun = start.fill(system, words.vocabulary) if start else None
        if resumed is not None:
            # Before the items: what they are may depend on what the system finds.
            fill(system, resumed.group(MODEL), source=resumed.path)
        dataset = training_dataset(recipe, store, system, also=also)
        sampler = EpochSampler(
            len(dataset),
            recipe.data.batch_size,
            seed=recipe.train.seed,
            rank=accelerator.process_index,
            world=accelerator.num_processes,
            accumulate=recipe.optim.accumulate,
            lengths=getattr(dataset, "lengths", None),
        )
        if resumed is not None:
            _check_position(resumed, sampler, recipe=recipe, processes=accelerator.num_processes)
        optimizer = build_optimizer(system, recipe.optim)
        model, optimizer = accelerator.prepare(system.train(), optimizer)
        features = attach_features(recipe, (store, *also), system, dataset, device=accelerator.device)
        state = TrainingState()
        mean = None if recipe.train.ema is None else EMA(system, decay=recipe.train.ema)
        if resumed is not None:
            state = TrainingState.from_json(resumed.header.get("state"))
            load_optimizer(optimizer, system, resumed.group(TRAINING), source=resumed.path)
            if mean is not None:
                mean.load(resumed.group(MEAN))
            if state.scaler is not None and accelerator.scaler is not None:
                accelerator.scaler.load_state_dict(state.scaler)

        run = run or _new_run(recipe, out=out, accelerator=accelerator)
        logger = Logger(run, callback or NullCallback(), active=main)
        train_step = TrainStep(
            system=system,
            model=model,
            optimizer=optimizer,
            accelerator=accelerator,
            accumulate=recipe.optim.accumulate,
            clip_norm=recipe.optim.clip_norm,
        )
        parts = TrainerComponents(
            recipe=recipe,
            run=run,
            store=store,
            also=tuple(also),
            vocabulary=words.vocabulary,
            without_vector=words.without,
            system=system,
            train_step=train_step,
            mean=mean,
            sampler=sampler,
            dataset=dataset,
            validation=validation,
            accelerator=accelerator,
            logger=logger,
        )
        trainer = Trainer(parts, state)
        with run.locked(active=main):
            if main:
                run.note_start(recipe, command)
            logger.rewind(state.step, evaluated=state.evaluated)
            _introduce(trainer, (words.note, begun, features), resumed=resumed is not None)
            try:
                state = trainer.run()
            finally:
                logger.close()
            best = run.best if run.best.exists() else run.last
            logger.line(_closing(state, run))
    accelerator.end_training()
    return TrainingResult(
        run=run.path,
        checkpoint=best,
        steps=state.step,
        seconds=state.seconds,
        figures=state.figures,
        best=state.best,
        is_first=main,
    )


def _accelerator(device: torch.device, precision: str) -> Accelerator:
    if device.index is not None:
        raise UsageError(f"training takes cuda, not {device}; choose a GPU with the variable CUDA_VISIBLE_DEVICES")
    if precision == "fp16" and device.type == "cpu":
        raise MachineError("train.precision=fp16 needs a GPU; on a CPU take fp32 or bf16")
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        # accelerate keeps one state a process; a second training in a notebook may want another device or precision.
        AcceleratorState._reset_state(reset_partial_state=True)
    # The other processes wait while the first evaluates, which may take hours.
    patience = InitProcessGroupKwargs(timeout=timedelta(hours=12))
    return Accelerator(cpu=device.type == "cpu", mixed_precision=_PRECISIONS[precision], kwargs_handlers=[patience])


def _new_run(recipe: Recipe, *, out: Path | None, accelerator: Accelerator) -> RunFolder:
    """Make the run folder in the first process and tell the others its path."""
    told = [str(RunFolder.create(recipe, out=out).path) if accelerator.is_main_process else ""]
    if accelerator.num_processes > 1:
        broadcast_object_list(told)
    return RunFolder(Path(told[0]))


def _read_last(run: RunFolder) -> _Resumed | None:
    if not run.last.is_file():
        return None
    header, tensors = read_tensors(run.last, prefixes=(MODEL, MEAN, TRAINING))
    return _Resumed(path=run.last, header=header, tensors=tensors)


def _check_data(resumed: _Resumed, stores: Sequence[Store]) -> None:
    dataset = resumed.header.get("dataset", {})
    before = [dataset.get("fingerprint"), *(one.get("fingerprint") for one in dataset.get("also", ()))]
    if len(before) != len(stores):
        raise DataError(f"the run had {len(before)} stores, now there are {len(stores)}; name them as before")
    for expected, store, key in zip(before, stores, ["data.store", *["data.also"] * len(stores)], strict=False):
        if expected != store.fingerprint:
            raise DataError(
                f"{store.path} is not what the run was trained on: expected fingerprint {str(expected)[:12]}, came "
                f"{store.fingerprint[:12]}; name the store with {key}=FILE, or start a new run"
            )


def _check_position(resumed: _Resumed, sampler: EpochSampler, *, recipe: Recipe, processes: int) -> None:
    position = resumed.header.get("position")
    now = {"steps_per_epoch": len(sampler) // recipe.optim.accumulate, "processes": processes}
    if not isinstance(position, dict):
        raise CheckpointError(f"{resumed.path} holds no training state; it can be used, not trained on")
    for name, value in now.items():
        if position.get(name) != value:
            raise UsageError(
                f"the run had {position.get(name)} {name.replace('_', ' ')}, now there are {value}; start it as before "
                "to go on exactly"
            )


def _differences(first: Any, second: Any, *, path: str = "") -> set[str]:
    """Return the dotted paths whose values differ."""
    if isinstance(first, dict) and isinstance(second, dict):
        keys = [*first, *(key for key in second if key not in first)]
        return {
            one
            for key in keys
            for one in _differences(first.get(key), second.get(key), path=f"{path}.{key}" if path else str(key))
        }
    return set() if first == second else {path}


def _introduce(trainer: Trainer, notes: Sequence[str | None], *, resumed: bool) -> None:
    parts, recipe = trainer.parts, trainer.recipe
    parameters = list(parts.system.parameters())
    count = sum(one.numel() for one in parameters)
    trainable = sum(one.numel() for one in parameters if one.requires_grad)
    processes = parts.accelerator.num_processes
    device = device_name(parts.accelerator.device) + (f" x {processes} processes" if processes > 1 else "")
    left_out = f" ({parts.dataset.left_out} sentences without a word left out)" if parts.dataset.left_out else ""
    held_back = getattr(parts.dataset, "held_back", 0)
    if held_back:
        left_out += f" ({held_back:,} whose pictures another of the stores evaluates on left out)"
    named = " and ".join(f"{one.name} ({one.split_by})" for one in (parts.store, *parts.also))
    split = f"{named} {recipe.data.train_split!r}"
    course = f"{trainer.steps_per_epoch:,} steps an epoch, {trainer.total:,} in all"
    lines = (
        f"run: {parts.run.path}" + (f", going on after step {trainer.state.step}" if resumed else ""),
        f"model: {recipe.model.system}, {count:,} parameters, {trainable:,} trainable",
        f"data: {split}, {len(parts.dataset):,} items an epoch{left_out}, fingerprint {parts.store.fingerprint[:12]}",
        *(note for note in notes if note is not None),
        f"course: {course}; {device}, {recipe.train.precision}",
    )
    for line in lines:
        parts.logger.line(line)


def _closing(state: TrainingState, run: RunFolder) -> str:
    best = f"; best {state.best.figure} {state.best.value:.2f} at step {state.best.step}" if state.best else ""
    return f"done: {state.step} steps in {duration(state.seconds)}{best}; {run.path}"
