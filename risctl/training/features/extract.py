"""Runs a recipe's frozen encoders once over a store, for `risctl prepare features`."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from risctl.core.encoders import frozen_prefix
from risctl.core.encoders.text.registry import read_tokenizer
from risctl.data.features import schema
from risctl.data.features.joining import join, present_shards
from risctl.data.features.reader import FeatureFile
from risctl.data.features.schema import IMAGES, TEXTS, Layout
from risctl.data.features.writer import Samples, Shapes, ShardWriter
from risctl.data.store.reader import Store
from risctl.errors import DataError
from risctl.language.flips import SWAPS
from risctl.language.tokens import words_of
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.schema import Recipe
from risctl.systems import vocabulary as specs
from risctl.systems.base import System
from risctl.systems.registry import build_system
from risctl.training.features.inputs import batches_of_one_size, image_inputs, text_inputs
from risctl.training.features.keys import as_cacheable, check_items, default_path, frozen_encoders, key_of
from risctl.training.initial_system import initial_system

Progress = Callable[[int, int], None]
"""Called with (done, total) samples of this shard."""
LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturePlan:
    """Describes a feature file before it is written.

    Attributes:
        store: The store whose images and texts are encoded.
        path: The file of all features.
        layout: What the file of this shard holds.
        samples: The samples to encode, by group.
        total: Samples of each group over all shards.
        pictures: How many images are encoded.
        need: Bytes of this shard.
        need_all: Bytes of all shards.
        free: Bytes free on the disk.
        each: Bytes of one image, in both orientations if it is flipped.
    """

    store: Store
    path: Path
    layout: Layout
    samples: dict[str, Samples]
    total: dict[str, int]
    pictures: int
    need: int
    need_all: int
    each: int
    free: int

    @property
    def out(self) -> Path:
        """The file of this shard."""
        return schema.shard_path(self.path, self.layout.shard)


class FeatureRun:
    """Runs the frozen encoders of a recipe's system on the stores that it is trained on.

    The weights are those that training starts from: the same seed, files and vocabulary.

    Raises:
        UsageError: Nothing of the recipe is frozen, its images are augmented at random, or it is about clips, instances
            or box grounding.
    """

    def __init__(self, recipe: Recipe, store: Store, *, also: Sequence[Store] = (), dry: bool = False) -> None:
        """Build the system; also: the stores of `data.also`; dry: without its weights, to plan only."""
        self.recipe, self.stores = recipe, (store, *also)
        for one in self.stores:
            check_items(recipe, one)
        system = _weightless(recipe, self.stores) if dry else initial_system(recipe, self.stores).system
        self.system = as_cacheable(system.train())
        self.encoders = frozen_encoders(self.system)
        self.key = key_of(recipe, store, self.system, weighed=not dry)

    def plan(
        self, store: Store | None = None, *, path: Path | None = None, shard: tuple[int, int] = (1, 1)
    ) -> FeaturePlan:
        """Returns what would be written for a shard of one of the stores, the first unless named; computes nothing."""
        store = store or self.stores[0]
        path = path or default_path(self.recipe, store.path)
        split = self.recipe.data.train_split
        everything: dict[str, tuple[list[str], list[Shapes]]] = {}
        if IMAGES in self.encoders:
            everything[IMAGES] = self._pictures(store, split)
        if TEXTS in self.encoders:
            everything[TEXTS] = self._texts(store, split)
        samples, need_all, each = {}, 0, 0
        for name, (keys, shapes) in everything.items():
            numbers = max((_numbers(shape) for shape in shapes), default=0)
            rows = schema.shard_rows(len(keys), shard)
            samples[name] = Samples(
                keys=keys[rows.start : rows.stop],
                shapes=shapes[rows.start : rows.stop],
                numbers=numbers,
                first=rows.start,
                total=len(keys),
            )
            need_all += len(keys) * numbers * schema.NUMBER.itemsize
            if name == IMAGES:
                each = numbers * schema.NUMBER.itemsize * self.key.orientations
        layout = Layout(
            key=replace(self.key, store=store.fingerprint),
            recipe=self.recipe.name,
            store=store.path.name,
            split=split,
            shard=shard,
            groups={},
        )
        return FeaturePlan(
            store=store,
            path=path,
            layout=layout,
            samples=samples,
            total={name: len(keys) for name, (keys, _) in everything.items()},
            pictures=len(store.images(split)),
            need=sum(sample.bytes for sample in samples.values()),
            need_all=need_all,
            each=each,
            free=shutil.disk_usage(_existing(path.parent)).free,
        )

    def write(
        self,
        plan: FeaturePlan,
        *,
        device: torch.device,
        batch: int = 8,
        workers: int = 0,
        progress: Progress | None = None,
    ) -> Path:
        """Computes what is missing of the shard and returns its file; one that is there already is left as it is.

        Raises:
            DataError: An image cannot be read, or fp16 cannot hold the features.
            MachineError: The disk is full.
        """
        if _is_there(plan):
            return plan.out
        for encoder in self.encoders.values():
            encoder.to(device)
        total = sum(len(sample.keys) for sample in plan.samples.values())
        with ShardWriter(plan.out, plan.layout, plan.samples) as writer:
            todo = {name: writer.todo(name) for name in plan.samples}
            done = total - sum(len(rows) for rows in todo.values())
            for name, rows in todo.items():
                keys = [plan.samples[name].keys[row] for row in rows]
                inputs_of = text_inputs(self.system.preprocess, keys)
                if name == IMAGES:
                    inputs_of = image_inputs(plan.store, self.system.preprocess, keys, workers=workers)
                for places, inputs, mask in batches_of_one_size(inputs_of, batch_size=batch):
                    parts = self._run(name, inputs.to(device), mask.to(device))
                    halved = [_halved(parts, number, keys[place]) for number, place in enumerate(places)]
                    writer.put(name, [rows[place] for place in places], halved)
                    done += len(places)
                    if progress is not None:
                        progress(done, total)
            return writer.finish()

    @torch.no_grad()
    def _run(self, group: str, inputs: Tensor, mask: Tensor) -> frozen_prefix.PrefixOutput:
        if group == IMAGES:
            inputs, mask = self.system.before_backbone(inputs, mask)
        return frozen_prefix.begin(self.encoders[group], inputs, mask)

    def _pictures(self, store: Store, split: str) -> tuple[list[str], list[Shapes]]:
        encoder = _on_meta(self.encoders[IMAGES])
        known: dict[tuple[int, int], Shapes] = {}
        keys, shapes = [], []
        for row in store.images(split):
            image = store.image(int(row))
            size = (image.height, image.width)
            if size not in known:
                padding = self.system.preprocess.fit(height=image.height, width=image.width).padding()
                empty = torch.empty(1, 3, *padding.shape, device="meta")
                known[size] = _shapes(encoder, *self.system.before_backbone(empty, padding[None]))
            for mirrored in (False, True)[: self.key.orientations]:
                keys.append(schema.key_of(image.image_id, mirrored=mirrored))
                shapes.append(known[size])
        return keys, shapes

    def _texts(self, store: Store, split: str) -> tuple[list[str], list[Shapes]]:
        encoder = _on_meta(self.encoders[TEXTS])
        given = [text for text in store.texts(split, self.recipe.data.text_field) if words_of(text)]
        swap = SWAPS[self.recipe.data.augment.flip_text if self.recipe.data.augment else "words"]
        mirrored = [swap(text) for text in given] if self.key.orientations > 1 else []
        keys = list(dict.fromkeys((*given, *mirrored)))
        known: dict[int, Shapes] = {}
        shapes = []
        for text in keys:
            words, mask = self.system.preprocess.text(text)
            if len(words) not in known:
                known[len(words)] = _shapes(encoder, words[None].to("meta"), mask[None])
            shapes.append(known[len(words)])
        return keys, shapes


def _is_there(plan: FeaturePlan) -> bool:
    try:
        found = FeatureFile(plan.out)
    except DataError:
        return False
    try:
        layout, own = found.layout, plan.layout
        same = (layout.key, layout.split, layout.shard) == (own.key, own.split, own.shard) and not layout.shards
        return same and all(found.keys(name) == list(one.keys) for name, one in plan.samples.items())
    finally:
        found.close()


def _weightless(recipe: Recipe, stores: Sequence[Store]) -> System:
    texts = [text for store in stores for text in store.texts(recipe.data.train_split, recipe.data.text_field)]
    spec = specs.vocabulary_spec(recipe.model)
    vocabulary = (
        read_tokenizer(spec.encoder, spec.source)
        if isinstance(spec, specs.SubwordTokens)
        else Vocabulary.from_texts(texts)
    )
    with torch.device("meta"):
        return build_system(recipe.model, vocabulary=vocabulary, vectors=None, pretrained=False)


def finish(path: Path, count: int) -> Path | None:
    """Join the `count` shards of the features `path` if all of them are there; return the file, None if not."""
    if count == 1:
        return path
    return join(path, count) if len(present_shards(path).get(count, ())) == count else None


def _halved(parts: frozen_prefix.PrefixOutput, place: int, key: str) -> list[np.ndarray]:
    """Returns the tensors of one sample of a batch as float16.

    Raises:
        DataError: float16 cannot hold them.
    """
    whole = [part[place].float().cpu().numpy() for part in parts]
    largest = max(float(np.abs(array).max(initial=0.0)) for array in whole)
    if not largest <= LARGEST:
        raise DataError(
            f"the features of {key!r} reach {largest:.3g}, and fp16 holds {LARGEST:,.0f} at most; "
            "set data.features=null"
        )
    return [array.astype(schema.NUMBER) for array in whole]


def _on_meta(encoder: nn.Module) -> nn.Module:
    return copy.deepcopy(encoder).to("meta")


@torch.no_grad()
def _shapes(encoder: nn.Module, inputs: Tensor, mask: Tensor) -> Shapes:
    return tuple(tuple(one.shape[1:]) for one in frozen_prefix.begin(encoder, inputs, mask.to("meta")))


def _numbers(shapes: Shapes) -> int:
    return sum(int(np.prod(shape)) for shape in shapes)


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder
