"""Evaluates a system on images: each image is encoded once, each sample counted once.

With several processes (torch.distributed, which accelerate sets up), the images are shared out and the rows gathered:
no sample is added to even out the shares.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from risctl.data.ignored import ignored_region
from risctl.data.store.clips import is_video_store
from risctl.data.store.reader import Store, TextField
from risctl.data.store.rows import RefRow
from risctl.distributed import failing_together, gather, rank_and_world_size
from risctl.errors import DataError, UnreadableImageError, UsageError
from risctl.evaluation.report import Report, Result
from risctl.evaluation.target_attributes import attributes_of
from risctl.inference.batched_inference import UnreadableImages
from risctl.inference.process_pool import in_processes, process_count
from risctl.inference.store_predictor import CUT, StorePredictor, on_store
from risctl.metrics.accumulator import Accumulator
from risctl.metrics.overlaps import generalised_box_iou
from risctl.metrics.protocols import Protocol, get_protocol
from risctl.results import Prediction
from risctl.systems.base import System
from risctl.vision import rle

Progress = Callable[[int, int], None]
"""Called with (done, total) images of this process."""

Protocols = Protocol | str | Sequence[Protocol | str]


@dataclass(frozen=True, slots=True)
class _Task:
    """A sentence to evaluate: its row, its ref's row, and whether it is the ref's first."""

    sentence: int
    ref: int
    first: bool


Plan = dict[int, list[_Task]]
"""The sentences to evaluate, by the row of their image."""


def evaluate(
    system: System | StorePredictor,
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
    processes: int | None = 1,
    image_batch: int | str = 1,
    progress: Progress | None = None,
    checkpoint: str | None = None,
    resamples: int = 1000,
    unreadable: UnreadableImages | None = None,
    sentences: Sequence[int] | None = None,
) -> Report:
    """Evaluates a system on a split of a store, by all protocols in one pass.

    With the protocol `original`, refs without a target stay out of oIoU, mIoU and Pr@X, and gIoU, cIoU, T-acc and N-acc
    are reported beside. A system says "none" where its mask is empty, unless it decides that apart from the mask, as
    ReLA does. A sentence without a word, or a prediction that is not finite, counts as an empty mask, and the report
    warns of it. The system is left in the mode (training or evaluation) that it was in.

    Args:
        system: The system, already on `device`; or another model, on a store (`PredictorOnStore`).
        store: A store of images.
        split: The split.
        protocols: Protocols or their names.
        text_field: Which form of the sentences is read.
        device: The device to report.
        text_batch: Sentences that are decoded together.
        threshold: In place of the protocols' own.
        limit: Evaluates the first so many sentences only.
        workers: Processes that decode images; 0 for none.
        processes: Processes that each decode and predict, with one thread; see `process_count`. From 2 on, the two
            others are not used.
        image_batch: Images that are encoded together, or `auto`.
        progress: Called with the numbers of images that are done and that there are.
        checkpoint: The hash to report.
        resamples: How often images are drawn again for the intervals; 0 for none.
        unreadable: Called with the error of each image that cannot be read, whose sentences are then left out; None:
            the first is raised.
        sentences: Evaluates only those of the split's sentences that have these rows.

    Raises:
        UsageError: The split or a protocol is unknown.
        DataError: The split has no sentence or no image that can be read, or the store is damaged.
    """
    if is_video_store(store):
        raise UsageError(f"{store.path} holds videos, which are measured by evaluate_videos")
    began = time.monotonic()
    chosen = _resolved(protocols, threshold)
    first_only = all(protocol.sentences == "first" for protocol in chosen)
    plan = _plan(store, split, first_only=first_only, limit=limit, only=None if sentences is None else set(sentences))
    if not plan:
        raise DataError(f"the split {split!r} of {store.path} has no sentence to evaluate")
    rank, world = rank_and_world_size()
    assigned = dict(list(plan.items())[rank::world])
    predictor = on_store(system, text_batch=text_batch, threshold=chosen[0].threshold, image_batch=image_batch)
    count = process_count(processes, images=len(assigned), forks=predictor.forks and world == 1)
    accumulator = Accumulator(chosen)
    with predictor.running(), failing_together():
        if count > 1:
            scoring = _Scoring(chosen, store, assigned, predictor, text_field)
            for done, outcome in enumerate(in_processes(scoring, assigned, processes=count, batch=1), start=1):
                _take(outcome.value(), accumulator, predictor.warnings, unreadable)
                if progress is not None:
                    progress(done, len(assigned))
        else:
            images = predictor.images(store, list(assigned), workers=workers, unreadable=unreadable)
            for done, image in enumerate(images, start=1):
                _score(accumulator, store, assigned[image.row], image, predictor, text_field)
                if progress is not None:
                    progress(done, len(assigned))
    accumulator, warnings = _gathered(accumulator, predictor.warnings)
    if not len(accumulator):
        raise DataError(f"no image of the split {split!r} of {store.path} can be read")
    results = [Result.of(accumulator.rows(protocol.name), protocol, resamples=resamples) for protocol in chosen]
    return Report.of(
        store,
        results,
        split=split,
        text_field=text_field,
        checkpoint=checkpoint,
        seconds=time.monotonic() - began,
        device=device,
        processes=world,
        notes=(
            *trained_on(store, split),
            *(
                f"{what}: {count}" + ("" if what == CUT else ", counted as an empty mask")
                for what, count in sorted(warnings.items())
            ),
        ),
    )


_Scored = tuple[Accumulator, Counter[str], list[UnreadableImageError]]


class _Scoring:
    """Scores one image at a time, in a process that has the store, the model and the plan."""

    def __init__(
        self, protocols: Sequence[Protocol], store: Store, plan: Plan, predictor: StorePredictor, text_field: TextField
    ) -> None:
        self._protocols, self._store, self._plan, self._text_field = protocols, store, plan, text_field
        self._predictor = predictor

    def read(self, item: int) -> int:
        return item

    def encode(self, read: Sequence[int]) -> Sequence[int]:
        return read

    def finish(self, item: int, read: int, encoded: int) -> _Scored:
        accumulator, unread = Accumulator(self._protocols), list[UnreadableImageError]()
        self._predictor.warnings.clear()
        for image in self._predictor.images(self._store, [item], workers=0, unreadable=unread.append):
            _score(accumulator, self._store, self._plan[item], image, self._predictor, self._text_field)
        return accumulator, Counter(self._predictor.warnings), unread


def _take(
    scored: _Scored, accumulator: Accumulator, warnings: Counter[str], unreadable: UnreadableImages | None
) -> None:
    """Adds what another process scored to the whole."""
    part, oddities, unread = scored
    for error in unread:
        if unreadable is None:
            raise error
        unreadable(error)
    accumulator.merge(part)
    warnings.update(oddities)


def _resolved(protocols: Protocols, threshold: float | None) -> list[Protocol]:
    given = [protocols] if isinstance(protocols, (Protocol, str)) else list(protocols)
    if not given:
        raise UsageError("name at least one protocol")
    known = [get_protocol(one) if isinstance(one, str) else one for one in given]
    return [protocol.with_threshold(threshold) for protocol in {p.name: p for p in known}.values()]


def _plan(store: Store, split: str, *, first_only: bool, limit: int | None, only: set[int] | None) -> Plan:
    tasks: list[tuple[int, _Task]] = []
    for row in store.refs(split):
        ref = store.ref(int(row))
        sentences = ref.sentences[:1] if first_only else ref.sentences
        tasks += [
            (ref.image, _Task(int(one), ref.row, place == 0))
            for place, one in enumerate(sentences)
            if only is None or int(one) in only
        ]
        if limit is not None and len(tasks) >= limit:
            break
    plan: Plan = {}
    # In the order of the images in the file, so that a disk reads forwards.
    for image, one in sorted(tasks[:limit], key=lambda pair: pair[0]):
        plan.setdefault(image, []).append(one)
    return plan


def _score(
    accumulator: Accumulator,
    store: Store,
    tasks: Sequence[_Task],
    image: Any,
    predictor: StorePredictor,
    text_field: TextField,
) -> None:
    sentences = [store.sentence(task.sentence) for task in tasks]
    texts = [sentence.text(text_field) for sentence in sentences]
    refs = {row: store.ref(row) for row in {task.ref for task in tasks}}
    # By rows in memory, as predictions are: decoded RLEs lie by columns, and comparing across orders is slow.
    targets = {row: np.ascontiguousarray(rle.decode(store.mask(row))) for row in refs}
    facts = {row: attributes_of(store, ref, pixels=int(np.count_nonzero(targets[row]))) for row, ref in refs.items()}
    ignored = ignored_region(store, sentences[0].image)
    precise = any(protocol.average_precision for protocol in accumulator.protocols.values())
    for one, sentence, prediction in zip(tasks, sentences, predictor.predict(image, texts), strict=True):
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
            predicted_none=prediction.said_none,
            uncleared=prediction.uncleared,
            first=one.first,
            facts=facts[one.ref],
            others=_others(prediction) if precise else (),
            at_input=prediction.input_probability,
            ignored=ignored,
            box_overlap=_box_overlap(prediction, store, ref),
        )


def _box_overlap(prediction: Prediction, store: Store, ref: RefRow) -> float:
    """Returns the generalised IoU with the annotated box; NaN where no box or not one object is there."""
    if prediction.predicted_box is None or len(ref.annotations) != 1:
        return float("nan")
    return generalised_box_iou(prediction.predicted_box, store.annotation(int(ref.annotations[0])).box)


def _others(prediction: Prediction) -> list[tuple[float, np.ndarray]]:
    """Returns score and probabilities (H, W) of every query but the answer; none where the system has no queries.

    As published, all of ReferFormer's queries are candidates in the average precision of A2D-Sentences.
    """
    if "query_masks" not in prediction.maps or prediction.geometry is None:
        return []
    scores = prediction.maps["query_scores"].mean(0)
    # Like the answer's, their logits are brought to the picture's size, not the probabilities.
    logits = torch.from_numpy(prediction.maps["query_masks"].mean(0)).logit(eps=1e-6)
    masks = prediction.geometry.invert(logits).sigmoid().numpy()
    return [(float(scores[query]), masks[query]) for query in np.argsort(-scores, kind="stable")[1:]]


def trained_on(store: Store, split: str) -> list[str]:
    """Returns a warning if images of `split` are also in the store's training split, else nothing."""
    if "train" not in store.splits or split in ("train", "all"):
        return []
    evaluated, trained = store.images(split), store.images("train")
    both = len(np.intersect1d(evaluated, trained))
    return [f"contamination: {both} of the {len(evaluated)} images of {split} are in train too"] if both else []


def _gathered(accumulator: Accumulator, oddities: Counter[str]) -> tuple[Accumulator, Counter[str]]:
    """Returns the samples and warnings of all processes, the same in each."""
    parts = gather((accumulator, oddities))
    if len(parts) == 1:
        return parts[0]
    whole, counted = Accumulator(list(accumulator.protocols.values())), Counter[str]()
    for samples, odd in parts:
        whole.merge(samples)
        counted.update(odd)
    return whole, counted
