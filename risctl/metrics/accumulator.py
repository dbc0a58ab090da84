"""Accumulates the samples behind every figure: predictions stream in, and only one row of numbers per sample stays.

Several protocols are measured in one pass; those that compare at the same resolution and threshold share the work.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from risctl.metrics.figures import figures
from risctl.metrics.overlaps import (
    Mask,
    Overlap,
    is_probable,
    overlap,
    overlap_of_masks,
    resized_map,
    size_of,
    target_mask,
)
from risctl.metrics.protocols import Protocol, Resolution
from risctl.metrics.rows import UNKNOWN, Facts, Rows, objects
from risctl.metrics.video import boundary_measure
from risctl.vision import rle

Setting = tuple[Resolution, float, bool]
"""Resolution, threshold, and whether the mask of an answer "none" counts."""


@dataclass(slots=True)
class _Overlaps:
    """The columns that differ between settings: one value per sample."""

    intersection: array[int] = field(default_factory=lambda: array("q"))
    union: array[int] = field(default_factory=lambda: array("q"))
    predicted: array[int] = field(default_factory=lambda: array("q"))
    boundary: array[float] = field(default_factory=lambda: array("d"))
    others: list[tuple[tuple[float, int, int, int], ...]] = field(default_factory=list)


class Accumulator:
    """Measures predictions under one or several protocols.

    Memory is one row of numbers per sample and setting, whatever the size of the masks. An accumulator can be sent to
    another process and merged there: each sample has a unique key, so none is counted twice, and the order in which
    samples came does not change a figure.

    Args:
        protocols: One protocol, or several.

    Raises:
        ValueError: No protocol is given.
    """

    def __init__(self, protocols: Protocol | Sequence[Protocol]) -> None:
        chosen = (protocols,) if isinstance(protocols, Protocol) else tuple(protocols)
        if not chosen:
            raise ValueError("an accumulator needs at least one protocol")
        self.protocols = {protocol.name: protocol for protocol in chosen}
        self._precise = {_setting(protocol) for protocol in chosen if protocol.average_precision}
        self._with_boundary = {_setting(protocol) for protocol in chosen if protocol.boundary}
        self._overlaps: dict[Setting, _Overlaps] = {_setting(protocol): _Overlaps() for protocol in chosen}
        self._keys: dict[int, None] = {}
        self._ids = {name: array("q") for name in ("image_id", "ref_id", "sentence_id")}
        self._score = array("d")
        self._box_overlap = array("d")
        # Whether the sample has a target, whether it is its ref's first sentence, whether the system itself said
        # "none": 1 or 0, -1 if it did not say.
        self._flags = {name: array("b") for name in ("targeted", "first", "said_none")}
        self._text: list[str] = []
        self._abilities: list[tuple[str, ...]] = []
        self._facts: list[Facts] = []

    def __len__(self) -> int:
        return len(self._keys)

    def add(
        self,
        prediction: Mask,
        target: Mask,
        *,
        key: int,
        image_id: int,
        ref_id: int = -1,
        sentence_id: int = -1,
        text: str = "",
        abilities: Sequence[str] = (),
        score: float = 1.0,
        targeted: bool | None = None,
        predicted_none: bool | None = None,
        uncleared: tuple[np.ndarray, np.ndarray | None] | None = None,
        first: bool = True,
        facts: Facts = UNKNOWN,
        others: Sequence[tuple[float, np.ndarray]] = (),
        at_input: np.ndarray | None = None,
        ignored: Mask | None = None,
        box_overlap: float = float("nan"),
    ) -> None:
        """Measures one sample.

        Args:
            prediction: A probability map (H, W) of a float type, a bool mask (H, W), or an RLE. A mask may also have
                the size at which all protocols compare.
            target: A bool mask (H, W), or an RLE.
            key: Which sample of the dataset this is.
            image_id: The publisher's id of the image.
            ref_id: The publisher's id of the ref; -1 if there is none.
            sentence_id: The publisher's id of the expression; -1 if there is none.
            text: The expression.
            abilities: The abilities that the expression needs, as the data tags them.
            score: The confidence of the prediction.
            targeted: Whether the expression has a target; by default, whether the target has a pixel.
            predicted_none: Whether the system says that there is no target; by default, whether its mask is empty.
            uncleared: What an answer "none" cleared, which counts by the rules of gRefCOCO: the probability maps at the
                image's and at the input's size; by default, the prediction.
            first: Whether this is the first expression of its ref.
            facts: What the data says of the target, for breakdowns.
            others: Score and probability map (H, W) of the system's further candidates, for average precision.
            at_input: The probability map at the size of the system's input; protocols of that resolution compare it.
            ignored: Pixels that count neither in the prediction nor in the target; by default none.
            box_overlap: Generalised IoU of the predicted with the annotated box; NaN without one of them.

        Raises:
            ValueError: The key came before, or the sizes differ. Nothing is added then.
        """
        if key in self._keys:
            raise ValueError(f"sample {key} was added before; each counts once")
        if ignored is not None:
            prediction, target = _without(prediction, ignored), _without(target, ignored)
            at_input = None if at_input is None else _without(at_input, ignored)
            uncleared = None if uncleared is None else (_without(uncleared[0], ignored), uncleared[1])
        measured = self._measure(prediction, target, at_input, uncleared)
        further = {setting: self._measure_others(others, target, setting) for setting in self._precise}
        if targeted is None:
            targeted = rle.area(target) > 0 if isinstance(target, dict) else bool(target.any())
        self._keys[key] = None
        for name, value in zip(self._ids, (image_id, ref_id, sentence_id), strict=True):
            self._ids[name].append(value)
        said_none = -1 if predicted_none is None else int(predicted_none)
        for name, flag in zip(self._flags, (targeted, first, said_none), strict=True):
            self._flags[name].append(int(flag))
        self._score.append(score)
        self._box_overlap.append(box_overlap)
        self._text.append(text)
        self._abilities.append(tuple(abilities))
        self._facts.append(facts)
        for setting, (found, boundary) in measured.items():
            columns = self._overlaps[setting]
            columns.intersection.append(found.intersection)
            columns.union.append(found.union)
            columns.predicted.append(found.predicted)
            columns.boundary.append(boundary)
            columns.others.append(further.get(setting, ()))

    def merge(self, other: Accumulator) -> None:
        """Takes over the samples of an accumulator that was made with the same protocols.

        Raises:
            ValueError: The protocols differ, or a sample is in both. Nothing is taken over then.
        """
        if other.protocols != self.protocols:
            raise ValueError(f"protocols differ: {', '.join(self.protocols)} and {', '.join(other.protocols)}")
        twice = self._keys.keys() & other._keys.keys()
        if twice:
            raise ValueError(f"{len(twice)} samples are in both, such as {min(twice)}; each counts once")
        self._keys |= other._keys
        for name, ids in other._ids.items():
            self._ids[name].extend(ids)
        for name, flags in other._flags.items():
            self._flags[name].extend(flags)
        self._score.extend(other._score)
        self._box_overlap.extend(other._box_overlap)
        self._text.extend(other._text)
        self._abilities.extend(other._abilities)
        self._facts.extend(other._facts)
        for setting, theirs in other._overlaps.items():
            ours = self._overlaps[setting]
            ours.intersection.extend(theirs.intersection)
            ours.union.extend(theirs.union)
            ours.predicted.extend(theirs.predicted)
            ours.boundary.extend(theirs.boundary)
            ours.others.extend(theirs.others)

    def rows(self, protocol: str | None = None) -> Rows:
        """Returns the rows that count under `protocol` (a name; the first one by default), ordered by key."""
        chosen = self._chosen(protocol)
        columns = self._overlaps[_setting(chosen)]
        predicted = np.array(columns.predicted, dtype=np.int64)
        said_none = np.array(self._flags["said_none"], dtype=np.int8)
        every = Rows(
            key=np.fromiter(self._keys, dtype=np.int64, count=len(self)),
            image_id=np.array(self._ids["image_id"], dtype=np.int64),
            ref_id=np.array(self._ids["ref_id"], dtype=np.int64),
            sentence_id=np.array(self._ids["sentence_id"], dtype=np.int64),
            text=objects(self._text),
            abilities=objects(self._abilities),
            score=np.array(self._score, dtype=np.float64),
            targeted=np.array(self._flags["targeted"], dtype=np.int8) > 0,
            predicted_none=np.where(said_none < 0, predicted == 0, said_none > 0),
            intersection=np.array(columns.intersection, dtype=np.int64),
            union=np.array(columns.union, dtype=np.int64),
            predicted=predicted,
            boundary=np.array(columns.boundary, dtype=np.float64),
            region=np.full(len(self), np.nan),
            box_overlap=np.array(self._box_overlap, dtype=np.float64),
            targets=np.array([fact.targets for fact in self._facts], dtype=np.int64),
            categories=objects([fact.categories for fact in self._facts]),
            area=np.array([fact.area for fact in self._facts], dtype=np.float64),
            distractors=np.array([fact.distractors for fact in self._facts], dtype=np.int64),
            others=objects(columns.others),
        )
        order = np.argsort(every.key)
        if chosen.sentences == "first":
            first = np.array(self._flags["first"], dtype=np.int8) > 0
            order = order[first[order]]
        return every.subset(order)

    def figures(self, protocol: str | None = None) -> dict[str, float]:
        """Returns the figures of `protocol` (a name; the first one by default) in percent, NaN if not measurable."""
        return figures(self.rows(protocol), self._chosen(protocol))

    def _chosen(self, name: str | None) -> Protocol:
        return self.protocols[next(iter(self.protocols)) if name is None else name]

    def _measure_others(
        self, others: Sequence[tuple[float, np.ndarray]], target: Mask, setting: Setting
    ) -> tuple[tuple[float, int, int, int], ...]:
        resolution, threshold, _ = setting
        return tuple((score, *_Sides(one, target).overlap(resolution, threshold)) for score, one in others)

    def _measure(
        self,
        prediction: Mask,
        target: Mask,
        at_input: np.ndarray | None,
        uncleared: tuple[np.ndarray, np.ndarray | None] | None,
    ) -> dict[Setting, tuple[Overlap, float]]:
        for mask in (prediction, *(() if uncleared is None else uncleared[:1])):
            size = size_of(mask)
            # A mask may have the size already at which it is compared.
            ready = not is_probable(mask) and all(resolution == size for resolution, _, _ in self._overlaps)
            if size != size_of(target) and not ready:
                raise ValueError(f"prediction {size} and target {size_of(target)} differ in (height, width)")
        sides = {False: _Sides(prediction, target, at_input)}
        sides[True] = sides[False] if uncleared is None else _Sides(uncleared[0], target, uncleared[1])
        # Only probabilities meet a threshold: for masks, protocols that differ in nothing else share the work.
        probable = is_probable(prediction)
        found: dict[tuple[Resolution, float | None, _Sides], Overlap] = {}
        measured = {}
        for setting in self._overlaps:
            resolution, threshold, counts_cleared = setting
            side = sides[counts_cleared]
            same = (resolution, threshold if probable else None, side)
            if same not in found:
                found[same] = side.overlap(resolution, threshold)
            boundary = float("nan")
            if setting in self._with_boundary:
                boundary = boundary_measure(side.found(resolution, threshold), side.wanted(resolution))
            measured[setting] = (found[same], boundary)
        return measured


class _Sides:
    """A prediction and its target, each brought to a resolution once, when it is first needed."""

    def __init__(self, prediction: Mask, target: Mask, at_input: np.ndarray | None = None) -> None:
        self._prediction, self._target = prediction, target
        self._wanted: dict[Resolution, np.ndarray] = {}
        self._maps: dict[Resolution, np.ndarray] = {}
        if at_input is not None:
            self._maps[size_of(at_input)] = at_input

    def overlap(self, resolution: Resolution, threshold: float) -> Overlap:
        if resolution == "original" and isinstance(self._prediction, dict) and isinstance(self._target, dict):
            return overlap(self._prediction, self._target)
        return overlap_of_masks(self.found(resolution, threshold), self.wanted(resolution))

    def found(self, resolution: Resolution, threshold: float) -> np.ndarray:
        if not is_probable(self._prediction):
            return target_mask(self._prediction, resolution=resolution)
        if resolution not in self._maps:
            self._maps[resolution] = resized_map(self._prediction, resolution=resolution)
        return self._maps[resolution] > threshold

    def wanted(self, resolution: Resolution) -> np.ndarray:
        if resolution not in self._wanted:
            self._wanted[resolution] = target_mask(self._target, resolution=resolution)
        return self._wanted[resolution]


def _without(mask: Mask, ignored: Mask) -> np.ndarray:
    """Returns a mask or probability map that is 0 where `ignored` is set, which is resized to it if need be."""
    dense = rle.decode(mask) if isinstance(mask, dict) else mask
    left_out = target_mask(ignored, resolution=(dense.shape[0], dense.shape[1]))
    return np.where(left_out, np.zeros((), dtype=dense.dtype), dense)


def _setting(protocol: Protocol) -> Setting:
    return protocol.resolution, protocol.threshold, protocol.no_target == "counted"
