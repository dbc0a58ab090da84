"""Measuring a system on a split: every image encoded once for all its sentences, every sample counted once.

With several processes (torch.distributed, which accelerate sets up), the images are shared out and the rows gathered:
no sample is padded in to even out the shares.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, distributed
from torch.utils.data import DataLoader, Dataset

from risctl.core.encoders.base import VisualFeatures
from risctl.data.batch import Geometry, Preprocess
from risctl.data.clips import is_video_store
from risctl.data.store.reader import Store, TextField
from risctl.engine.facts import facts_of
from risctl.engine.report import Report, Result
from risctl.errors import DataError, RisctlError, UsageError
from risctl.metrics.accumulator import Accumulator
from risctl.metrics.protocols import Protocol, get_protocol
from risctl.systems.base import Prediction, System
from risctl.vision import rle

Progress = Callable[[int, int], None]
"""Called with (done, total) images of this process."""

Protocols = Protocol | str | Sequence[Protocol | str]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A sentence to evaluate: its row, its ref's, and whether it is the ref's first."""

    sentence: int
    ref: int
    first: bool


Plan = dict[int, list[_Asked]]
"""By the row of the image: what to ask of it."""


def evaluate(
    system: System,
    store: Store,
    *,
    split: str,
    protocols: Protocols = "original",
    text_field: TextField = "sent",
    device: torch.device | str = "cpu",
    text_batch: int = 16,
    threshold: float | None = None,
    limit: int | None = None,
    workers: int = 0,
    progress: Progress | None = None,
    checkpoint: str | None = None,
    resamples: int = 1000,
) -> Report:
    """Return how well `system`, already on `device`, does on `split` of `store`, by all `protocols` in one pass.

    text_batch: sentences decoded together; threshold: in place of the protocol's own; limit: the first so many
    sentences only; workers: processes that decode images, 0 for none; checkpoint: the hash to report; resamples: of the
    intervals, 0 for none.

    With the protocol `original`, refs without a target stay out of oIoU, mIoU and Pr@X, and gIoU, cIoU, T-acc and N-acc
    are reported beside; a system is taken to say "none" where its mask is empty. A sentence without a word, or a
    prediction that is not finite, counts as an empty mask, and the report says so.

    The system is left in the mode (training or evaluation) it came in. Raises `UsageError` for an unknown split or
    protocol, `DataError` if the split has no sentence or the store is damaged.
    """
    if is_video_store(store):
        raise UsageError(f"{store.path} holds videos, which are measured by evaluate_videos")
    began = time.monotonic()
    chosen = _resolved(protocols, threshold)
    total = len(store.sentences(split))
    plan = _plan(store, split, first_only=all(one.sentences == "first" for one in chosen), limit=limit)
    if not plan:
        raise DataError(f"the split {split!r} of {store.path} has no sentence to evaluate")
    rank, world = _place()
    own = dict(list(plan.items())[rank::world])
    asker = _Asker(system, device=device, text_batch=text_batch, threshold=chosen[0].threshold)
    accumulator = Accumulator(chosen)
    with _evaluating(system):
        pictures = _pictures(store, list(own), system.preprocess, workers=workers)
        for done, picture in enumerate(pictures, start=1):
            _score(accumulator, store, own[picture.row], picture, asker, text_field)
            if progress is not None:
                progress(done, len(own))
    accumulator, oddities = _gathered(accumulator, asker.oddities)
    every = {one.name: accumulator.rows(one.name) for one in chosen}
    fullest = max(every.values(), key=len)
    return Report(
        dataset=store.name,
        split_by=store.split_by,
        fingerprint=store.fingerprint,
        split=split,
        images=len(np.unique(fullest.image_id)),
        refs=len(np.unique(fullest.ref_id)),
        sentences=len(fullest),
        total_sentences=total,
        text_field=text_field,
        checkpoint=checkpoint,
        results={one.name: Result.of(every[one.name], one, resamples=resamples) for one in chosen},
        seconds=time.monotonic() - began,
        device=str(device),
        processes=world,
        remarks=tuple(f"{what}: {count}, counted as an empty mask" for what, count in sorted(oddities.items())),
    )


def _resolved(protocols: Protocols, threshold: float | None) -> list[Protocol]:
    given = [protocols] if isinstance(protocols, (Protocol, str)) else list(protocols)
    if not given:
        raise UsageError("name at least one protocol")
    known = [get_protocol(one) if isinstance(one, str) else one for one in given]
    return [one.with_threshold(threshold) for one in {one.name: one for one in known}.values()]


def _plan(store: Store, split: str, *, first_only: bool, limit: int | None) -> Plan:
    asked: list[tuple[int, _Asked]] = []
    for row in store.refs(split):
        ref = store.ref(int(row))
        sentences = ref.sentences[:1] if first_only else ref.sentences
        asked += [(ref.image, _Asked(int(one), ref.row, place == 0)) for place, one in enumerate(sentences)]
        if limit is not None and len(asked) >= limit:
            break
    plan: Plan = {}
    # In the order of the images in the file, so that a disk reads forwards.
    for image, one in sorted(asked[:limit], key=lambda pair: pair[0]):
        plan.setdefault(image, []).append(one)
    return plan


@dataclass(frozen=True, slots=True)
class _Picture:
    row: int
    image: Tensor
    geometry: Geometry


class _Pictures(Dataset["_Picture | RisctlError"]):
    """Images of a store, preprocessed. An error is returned in place of its image: a loader's worker would bury it."""

    def __init__(self, store: Store, rows: Sequence[int], preprocess: Preprocess) -> None:
        self._store, self._rows, self._preprocess = store, rows, preprocess

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> _Picture | RisctlError:
        row = self._rows[index]
        try:
            image, geometry = self._preprocess.image(self._store.pixels(row))
        except RisctlError as error:
            return error
        return _Picture(row, image, geometry)


def _pictures(store: Store, rows: Sequence[int], preprocess: Preprocess, *, workers: int) -> Iterator[_Picture]:
    loader: DataLoader[_Picture | RisctlError] = DataLoader(
        _Pictures(store, rows, preprocess),
        batch_size=None,
        num_workers=workers,
        worker_init_fn=_ignore_interrupts,
        # The loader draws a seed for its workers: not from torch's global state, which a training run continues from.
        generator=torch.Generator().manual_seed(0),
    )
    for picture in loader:
        if isinstance(picture, RisctlError):
            raise picture
        yield picture


class _Asker:
    """Asks texts of a picture, some at a time, the picture encoded once. `oddities` counts what could not be asked."""

    def __init__(self, system: System, *, device: torch.device | str, text_batch: int, threshold: float) -> None:
        self.oddities: Counter[str] = Counter()
        self._system = system
        self._device = torch.device(device)
        self._text_batch = text_batch
        self._threshold = threshold

    @torch.no_grad()
    def ask(self, picture: _Picture, texts: Sequence[str]) -> list[Prediction]:
        """Return the prediction of each text, in order."""
        words = [self._words(text) for text in texts]
        known = [position for position, one in enumerate(words) if one is not None]
        found: dict[int, Prediction] = {}
        if known:
            padding = picture.geometry.padding()[None].to(self._device)
            visual = self._system.encode_image(picture.image[None].to(self._device), padding)
            for start in range(0, len(known), self._text_batch):
                some = known[start : start + self._text_batch]
                encoded = [one for one in (words[position] for position in some) if one is not None]
                asked = [texts[position] for position in some]
                found.update(zip(some, self._decode(visual, picture.geometry, encoded, asked), strict=True))
        return [self._checked(found.get(position), picture, text) for position, text in enumerate(texts)]

    def _decode(
        self, visual: VisualFeatures, geometry: Geometry, encoded: Sequence[tuple[Tensor, Tensor]], texts: Sequence[str]
    ) -> list[Prediction]:
        ids, masks = (_stacked(column).to(self._device) for column in zip(*encoded, strict=True))
        same = torch.zeros(len(texts), dtype=torch.int64, device=self._device)
        output = self._system.decode(visual.select(same), self._system.encode_text(ids, masks))
        return self._system.predict(output, geometries=[geometry] * len(texts), texts=texts, threshold=self._threshold)

    def _words(self, text: str) -> tuple[Tensor, Tensor] | None:
        try:
            return self._system.preprocess.text(text)
        except UsageError:
            self.oddities["sentences without a word"] += 1
            return None

    def _checked(self, prediction: Prediction | None, picture: _Picture, text: str) -> Prediction:
        if prediction is not None:
            if np.isfinite(prediction.probability).all():
                return prediction
            self.oddities["predictions that are not finite"] += 1
        nothing = np.zeros((picture.geometry.height, picture.geometry.width), dtype=np.float32)
        return Prediction(text=text, probability=nothing, threshold=self._threshold, score=0.0, box=None)


def _score(
    accumulator: Accumulator,
    store: Store,
    asked: Sequence[_Asked],
    picture: _Picture,
    asker: _Asker,
    text_field: TextField,
) -> None:
    sentences = [store.sentence(one.sentence) for one in asked]
    texts = [sentence.text(text_field) for sentence in sentences]
    refs = {row: store.ref(row) for row in {one.ref for one in asked}}
    # By rows in memory, as predictions are: decoded RLEs lie by columns, and comparing across orders is slow.
    targets = {row: np.ascontiguousarray(rle.decode(store.mask(row))) for row in refs}
    facts = {row: facts_of(store, ref, target=targets[row]) for row, ref in refs.items()}
    for one, sentence, prediction in zip(asked, sentences, asker.ask(picture, texts), strict=True):
        ref = refs[one.ref]
        accumulator.add(
            prediction.probability,
            targets[one.ref],
            key=one.sentence,
            image_id=ref.image_id,
            ref_id=ref.ref_id,
            sentence_id=sentence.sentence_id,
            text=prediction.text,
            abilities=sentence.abilities,
            score=prediction.score,
            targeted=bool(ref.annotations),
            first=one.first,
            facts=facts[one.ref],
        )


def _stacked(rows: Sequence[Tensor]) -> Tensor:
    """Return rows (L_i,) as (N, L), the shorter ones filled up with zeros."""
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)


def _place() -> tuple[int, int]:
    """Return (rank, world) of this process."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def _gathered(accumulator: Accumulator, oddities: Counter[str]) -> tuple[Accumulator, Counter[str]]:
    """Return the samples and oddities of all processes, the same in each."""
    _, world = _place()
    if world == 1:
        return accumulator, oddities
    parts: list[tuple[Accumulator, Counter[str]] | None] = [None] * world
    distributed.all_gather_object(parts, (accumulator, oddities))
    whole, counted = Accumulator(list(accumulator.protocols.values())), Counter[str]()
    for part in parts:
        if part is not None:
            whole.merge(part[0])
            counted.update(part[1])
    return whole, counted


@contextmanager
def _evaluating(system: System) -> Iterator[None]:
    was_training = system.training
    system.eval()
    try:
        yield
    finally:
        system.train(was_training)


def _ignore_interrupts(_: int) -> None:
    # Ctrl-C reaches the whole process group; the evaluating process ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
