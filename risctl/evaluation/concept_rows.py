"""Counts pairs of picture and phrase: true instances, predicted ones, and the hits among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from risctl.data.store.reader import Store
from risctl.evaluation.target_attributes import attributes_of
from risctl.metrics.concept import (
    IOU_THRESHOLDS,
    SCORE_THRESHOLD,
    ConceptSample,
    concept_sample,
    favourable,
    suppressed_of,
)
from risctl.metrics.rows import Facts
from risctl.vision import rle
from risctl.vision.rle import RLE

CGF1, PBENCH = "cgf1", "pbench"
_SACO, _NOT_EXHAUSTIVE, _DENSE = "saco", "not exhaustive", "dense"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConceptRow:
    """What was counted of a pair.

    Attributes:
        sample: Its sentence's row in the store.
        split: Its split.
        image_id: The publisher's id of its image.
        ref_id: The publisher's id of its ref.
        sentence_id: The publisher's id of its sentence.
        text: The phrase.
        abilities: Its tags.
        found: True instances, predictions that count, and hits by threshold of IoU.
        facts: What the data says of its target.
        intersection: Pixels that the instances, united, share with the true ones, united.
        union: Pixels of either.
        predicted: Pixels of the predicted ones.
    """

    sample: int
    split: str
    image_id: int
    ref_id: int
    sentence_id: int
    text: str
    abilities: tuple[str, ...]
    found: ConceptSample
    facts: Facts
    intersection: int
    union: int
    predicted: int

    def to_dict(self) -> dict[str, Any]:
        """Returns the row, ready for JSON."""
        return {
            "sample": self.sample,
            "split": self.split,
            "image_id": self.image_id,
            "ref_id": self.ref_id,
            "sentence_id": self.sentence_id,
            "text": self.text,
            "abilities": list(self.abilities),
            "true": self.found.true,
            "predicted": self.found.predicted,
            "hits": self.found.hits.tolist(),
            "targets": self.facts.targets,
            "categories": list(self.facts.categories),
            "area": self.facts.area,
            "distractors": self.facts.distractors if self.facts.distractors >= 0 else None,
            "iou": self.iou,
            "intersection": self.intersection,
            "union": self.union,
        }

    @property
    def iou(self) -> float:
        """The IoU of all instances together, 1 where there are none and none were predicted."""
        return self.intersection / self.union if self.union else 1.0


class ConceptTruth:
    """The true instances of a store's pairs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_annotator = store.name == _SACO
        self._categories = store.numbers("annotations/category")
        self._crowds = store.numbers("annotations/crowd")

    def counts(self, sentence: int) -> bool:
        """Returns whether every instance of the pair is marked."""
        return _NOT_EXHAUSTIVE not in self._store.sentence(sentence).abilities

    def instances(self, sentence: int) -> list[list[RLE]]:
        """Returns the instances of a pair by each annotator, crowds left out."""
        ref = self._store.ref(self._store.sentence(sentence).ref)
        if not self._by_annotator:
            return [self._masks(ref.annotations)]
        rows = self._store.annotations_of(ref.image).tolist()
        return [
            self._masks(tuple(row for row in rows if self._categories[row] == annotator))
            for annotator in self._store.categories
        ]

    def _masks(self, rows: Sequence[int]) -> list[RLE]:
        return [self._store.annotation(row).mask for row in rows if not self._crowds[row]]


def concept_sample_of(
    masks: Sequence[RLE], scores: Sequence[float], truth: Sequence[Sequence[RLE]], *, protocol: str, dense: bool = False
) -> ConceptSample:
    """Counts one pair.

    Args:
        masks: The predicted instances.
        scores: Their scores.
        truth: The true instances by each annotator.
        protocol: `CGF1` or `PBENCH`.
        dense: Whether the pair is of PBench's dense split, which has one threshold.
    """
    return _sample_of(counting(masks, scores, protocol=protocol), truth, protocol=protocol, dense=dense)


def counting(masks: Sequence[RLE], scores: Sequence[float], *, protocol: str) -> list[RLE]:
    """Returns which of the predicted instances count by a protocol."""
    if protocol == CGF1:
        return [mask for mask, score in zip(masks, scores, strict=True) if score >= SCORE_THRESHOLD]
    areas = np.array([rle.area(mask) for mask in masks], dtype=np.int64)
    return [masks[place] for place in suppressed_of(areas, rle.ious(masks, masks)).tolist()]


def _sample_of(kept: Sequence[RLE], truth: Sequence[Sequence[RLE]], *, protocol: str, dense: bool) -> ConceptSample:
    if protocol == CGF1:
        return favourable([concept_sample(rle.ious(kept, own)) for own in truth])
    return concept_sample(rle.ious(kept, truth[0]), thresholds=IOU_THRESHOLDS[:1] if dense else IOU_THRESHOLDS)


def is_dense(protocol: str, split: str) -> bool:
    """Returns whether a split has one threshold."""
    return protocol == PBENCH and split == _DENSE


def counted(
    store: Store, truth: ConceptTruth, sentence: int, masks: Sequence[RLE], scores: Sequence[float], *, protocol: str
) -> ConceptRow:
    """Returns the row of a pair.

    Args:
        store: A store of images.
        truth: Its true instances.
        sentence: The row of the pair's sentence.
        masks: The predicted instances.
        scores: Their scores.
        protocol: `CGF1` or `PBENCH`.
    """
    one = store.sentence(sentence)
    ref, image = store.ref(one.ref), store.image(one.image)
    kept = counting(masks, scores, protocol=protocol)
    found = _sample_of(kept, truth.instances(sentence), protocol=protocol, dense=is_dense(protocol, ref.split))
    target = store.mask(one.ref)
    united = rle.union(kept) if kept else rle.empty(image.height, image.width)
    intersection, union = rle.overlap(united, target)
    facts = attributes_of(store, ref, pixels=rle.area(target))
    if store.name == _SACO:
        # Its categories are annotators.
        facts = Facts(targets=facts.targets, area=facts.area)
    return ConceptRow(
        sample=sentence,
        split=ref.split,
        image_id=image.image_id,
        ref_id=ref.ref_id,
        sentence_id=one.sentence_id,
        text=one.raw,
        abilities=one.abilities,
        found=found,
        facts=facts,
        intersection=intersection,
        union=union,
        predicted=rle.area(united),
    )
