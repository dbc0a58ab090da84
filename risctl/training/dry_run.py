"""Reports what a training run would take, without running it: the model is built on the meta device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from risctl.checkpoints.loaded_model import Builder
from risctl.data.batch import Batch, collate
from risctl.data.loading.image_dataset import Resizable, to_item
from risctl.data.records import Sample, SampleIds
from risctl.data.store.reader import Store
from risctl.language.tokens import words_of
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.schema import Recipe
from risctl.systems.base import System
from risctl.systems.registry import build_system
from risctl.systems.vocabulary import SubwordTokens, VectorWords, VocabularySpec, vocabulary_spec
from risctl.training.datasets import epoch_sampler, training_dataset
from risctl.training.init_weights import read_init_weights
from risctl.training.trainer import total_steps
from risctl.training.validation import validation_of

_ASSUMED_WORDS = 10_000
_BYTE_PAIRS = 50_265
_PROBE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """A run, foreseen.

    items: of an epoch, None where the store is not there yet, as are the steps; words: of the vocabulary; memory: bytes
    on the device by what takes them; notes: what was assumed.
    """

    parameters: int
    trainable: int
    words: int
    items: int | None
    steps_per_epoch: int | None
    steps: int | None
    memory: Mapping[str, int]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns the dry run as JSON values."""
        return {
            "parameters": self.parameters,
            "trainable": self.trainable,
            "words": self.words,
            "items": self.items,
            "steps_per_epoch": self.steps_per_epoch,
            "steps": self.steps,
            "memory_bytes": {**self.memory, "total": sum(self.memory.values())},
            "notes": list(self.notes),
        }


def dry_run(recipe: Recipe, *, build: Builder | None = None) -> DryRun:
    """Returns what training `recipe` on one device would be. The store is read if it is there; nothing is written.

    Raises:
        RisctlError: Whatever training would raise for the store, the splits, the batch size and the initial weights.
    """
    if recipe.stages:
        return _of_stages(recipe, build)
    notes: list[str] = []
    absent = [path for path in recipe.data.stores if not Path(path).exists()]
    spec = vocabulary_spec(recipe.model)
    words = _assumed_words(spec)
    # Read whole, as in training, so that a file that is missing, damaged or no checkpoint is refused here already.
    section = recipe.train.init_weights
    init_weights = None if section is None else read_init_weights(section)
    items = steps_per_epoch = steps = None
    if not absent:
        with ExitStack() as opened:
            stores = [opened.enter_context(Store(path)) for path in recipe.data.stores]
            words = _count_words(recipe, stores, spec)
            system = _on_meta(recipe, words, build)
            # As in training, this refuses an unknown split; the preprocess is not used to count.
            dataset = training_dataset(recipe, stores[0], system, also=stores[1:])
            items, sampler = len(dataset), epoch_sampler(recipe, dataset)
            _, unevaluated = validation_of(recipe, stores[0], device=torch.device("cpu"))
            notes += [] if unevaluated is None else [unevaluated]
        steps_per_epoch = len(sampler) // recipe.optim.accumulate
        steps = total_steps(recipe, steps_per_epoch)
    else:
        system = _on_meta(recipe, words, build)
        notes.append(f"the store {absent[0]} is not there: steps unknown, a vocabulary of {words:,} words assumed")
    if isinstance(spec, VectorWords):
        notes.append(f"the vocabulary may be smaller: the vectors of {spec.source} were not read")
    if init_weights is not None:
        init_weights.check(system)
    memory = _memory(recipe, system, notes)
    parameters = list(system.parameters())
    return DryRun(
        parameters=sum(parameter.numel() for parameter in parameters),
        trainable=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        words=words,
        items=items,
        steps_per_epoch=steps_per_epoch,
        steps=steps,
        memory=memory,
        notes=tuple(notes),
    )


def _of_stages(recipe: Recipe, build: Builder | None) -> DryRun:
    """Returns the dry run of all stages together: the steps of all, the memory of the one that takes most."""
    plans = {name: dry_run(recipe.stage(name), build=build) for name in recipe.stages}
    largest = max(plans.values(), key=lambda plan: sum(plan.memory.values()))
    known = [plan.steps for plan in plans.values() if plan.steps is not None]
    each = [
        f"stage {name}: " + ("steps unknown" if plan.steps is None else f"{plan.steps:,} steps of {plan.items:,} items")
        for name, plan in plans.items()
    ]
    notes = dict.fromkeys(note for plan in plans.values() for note in plan.notes)
    return replace(
        largest,
        items=None,
        steps_per_epoch=None,
        steps=sum(known) if len(known) == len(plans) else None,
        notes=(*each, *notes),
    )


def _on_meta(recipe: Recipe, words: int, build: Builder | None) -> System:
    vocabulary = Vocabulary(f"word{number}" for number in range(words - 2))
    with torch.device("meta"):
        return (build or build_system)(recipe.model, vocabulary=vocabulary, vectors=None, pretrained=False).train()


def _assumed_words(spec: VocabularySpec) -> int:
    if isinstance(spec, SubwordTokens):
        return _BYTE_PAIRS
    return _ASSUMED_WORDS + (spec.extra_words if isinstance(spec, VectorWords) else 0)


def _count_words(recipe: Recipe, stores: Sequence[Store], spec: VocabularySpec) -> int:
    if isinstance(spec, SubwordTokens):
        return _BYTE_PAIRS
    split = "all" if isinstance(spec, VectorWords) else recipe.data.train_split
    texts = (text for store in stores for text in store.texts(split, recipe.data.text_field))
    known = len({word for text in texts for word in words_of(text)}) + 2
    return known + (spec.extra_words if isinstance(spec, VectorWords) else 0)


def _memory(recipe: Recipe, system: System, notes: list[str]) -> dict[str, int]:
    state = sum(_size(tensor) for tensor in system.state_dict().values())
    trainable = sum(_size(parameter) for parameter in system.parameters() if parameter.requires_grad)
    moments = (1 if recipe.optim.momentum else 0) if recipe.optim.name == "sgd" else 2
    memory = {"weights": state, "gradients": trainable, "optimizer": moments * trainable}
    if recipe.train.ema is not None:
        memory["running mean"] = state
    try:
        activations = _activations(recipe, system)
    except (NotImplementedError, RuntimeError):
        # What torch says of it is advice to torch's own developers.
        notes.append(f"activations not counted: how many {recipe.model.system} needs depends on what is in an image")
    else:
        memory["activations"] = activations * recipe.data.batch_size // _PROBE
        half = "" if recipe.train.precision == "fp32" else f"; {recipe.train.precision} takes down to half of them"
        of = f"{_PROBE} clips of {recipe.data.frames} frames" if recipe.data.frames else f"{_PROBE}"
        notes.append(
            f"activations: what autograd keeps of a batch of {of}, in fp32, scaled to {recipe.data.batch_size}"
            f"{half}; workspace of the libraries comes on top"
        )
    return memory


def _activations(recipe: Recipe, system: System) -> int:
    """Returns the bytes that a forward pass and loss on `_PROBE` samples keep for the backward pass."""
    batch = _probe(recipe, system).to("meta")
    weights = {parameter.untyped_storage()._cdata for parameter in (*system.parameters(), *system.buffers())}
    # Views share a storage, which is kept once; holding a tensor of it keeps its address from being used again.
    kept: dict[int, Tensor] = {}

    def count(tensor: Tensor) -> Tensor:
        address = tensor.untyped_storage()._cdata
        if address not in weights:
            kept.setdefault(address, tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        system.loss(system(batch), batch)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def _probe(recipe: Recipe, system: System) -> Batch:
    """Returns images, or clips, of 480 x 640 pixels, at the largest size that the training resizes them to."""
    image, mask = np.zeros((480, 640, 3), dtype=np.uint8), np.zeros((480, 640), dtype=bool)
    sample = Sample(image=image, text="thing", mask=mask, ids=SampleIds(image_id=0, ref_id=0, sentence_id=0))
    preprocess, augment = system.preprocess, recipe.data.augment
    if augment is not None and augment.sizes and isinstance(preprocess, Resizable):
        preprocess = preprocess.with_size(max(augment.sizes), longest=augment.longest)
    item = to_item(sample, preprocess)
    if recipe.data.frames is not None and item.target is not None:
        frames = (recipe.data.frames, 1, 1)
        item = replace(item, image=item.image.repeat(*frames, 1), target=item.target.repeat(*frames))
    return collate([item] * _PROBE)


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
