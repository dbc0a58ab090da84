"""What a detector finds in pictures whose boxes are known: a noise model by resampling, and samples with real colours.

An annotated box is replaced by what the detector made of a similar one: its offset, its two likeliest classes, its
confidence, its colours, the doubles beside it, or nothing. False boxes come from whole pictures, since they come
together. So annotated boxes look as the detector's, without any assumption about their distribution.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from risctl.data.box_grounding.samples import BoxGroundingSample, ImageBoxes
from risctl.data.datasets.coco_phrases.about_boxes import CATEGORIES, phrases_about
from risctl.data.datasets.coco_phrases.colours import named_shares
from risctl.data.datasets.coco_phrases.looks import REGIONS, phrase_about_looks
from risctl.errors import DataError
from risctl.language.clothing import WHOLE, coloured_parts
from risctl.output_files import OutputFiles
from risctl.vision.colour_names import NAMES
from risctl.weights.npz import read_npz

_MATCH = 0.5  # the IoU from which a detection is taken for an annotated box
_NEAR = 0.1  # the IoU from which a false detection is placed relative to the annotated box beside it
_AREAS = (0.003, 0.01, 0.04, 0.12)  # shares of the picture that part the sizes of boxes
_UNWANTED, _NONE = 0.15, 0.08  # shares of a colour: up to these it might be seen, is not seen
# Least shares of the colour that an expression names of its target, each as often as the others, and how often others
# are held to `_UNWANTED`. Fitted to real expressions: a quarter of their targets shows less than 0.1 of it, half less
# than 0.22; of other objects of the class an eighth shows more than 0.25. A selector that always sees the named colour
# learns to trust colours more than it should.
_WANTED, _HELD = (0.0, 0.1, 0.2, 0.3), 0.4
_TRIES = 6
_MAX_COUNT = 24  # most of what comes after the 24 most confident detections is false
_COLOUR_MISSING = 0.12  # how often what an expression names a colour of gets other colours, so that it is absent
PERSON = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordArrays:
    """The contents of a file of records: P pictures, T annotated boxes, N detections, picture by picture.

    Attributes:
        aspect: Width / height of the pictures, (P,).
        true_start: The first annotated box of each picture, and T, (P + 1,).
        true_corners: Their corners xyxy as shares of the sides, (T, 4).
        true_classes: Their classes, (T,).
        found_start: The first detection of each picture, and N, (P + 1,).
        corners: The detections' corners, (N, 4).
        first: Their likeliest classes, (N,).
        second: Their second likeliest classes, (N,).
        share: Share of the class scores that belongs to `first`, (N,).
        confidence: Probability that there is an object, (N,).
        appearance: Shares of the colour names in the upper and the lower half, perhaps at the top too, (N, A).
    """

    aspect: np.ndarray
    true_start: np.ndarray
    true_corners: np.ndarray
    true_classes: np.ndarray
    found_start: np.ndarray
    corners: np.ndarray
    first: np.ndarray
    second: np.ndarray
    share: np.ndarray
    confidence: np.ndarray
    appearance: np.ndarray

    def write(self, path: Path, *, overwrite: bool = False) -> None:
        """Writes them to `path`, completely or not at all. Raises `UsageError` if the file is there already."""
        path.parent.mkdir(parents=True, exist_ok=True)
        guard = OutputFiles(overwrite=overwrite, option="overwrite=True")
        with guard.writing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **{field.name: getattr(self, field.name) for field in fields(self)})


def read_records(path: Path, *, classes: int, looks: float = 0.0) -> DetectorRecords:
    """Returns the records of a file that `RecordArrays.write` wrote.

    Raises:
        DataError: The file is malformed, or has no detection.
        CheckpointError: The file cannot be read.
    """
    arrays = read_npz(path, what="records of a detector")
    names = [field.name for field in fields(RecordArrays)]
    if set(arrays) != set(names):
        raise DataError(f"{path}: expected records of a detector with the arrays {', '.join(names)}")
    values = {name: arrays[name].astype(np.float32 if arrays[name].dtype.kind == "f" else np.int64) for name in names}
    _check(path, RecordArrays(**values), classes=classes)
    return DetectorRecords(RecordArrays(**values), looks=looks)


def _check(path: Path, arrays: RecordArrays, *, classes: int) -> None:
    pictures, true, found = len(arrays.aspect), len(arrays.true_corners), len(arrays.corners)
    shapes = {
        **dict.fromkeys(("true_start", "found_start"), (pictures + 1,)),
        "aspect": (pictures,),
        "true_corners": (true, 4),
        "true_classes": (true,),
        "corners": (found, 4),
        **dict.fromkeys(("first", "second", "share", "confidence"), (found,)),
        "appearance": (found, (2 if arrays.appearance.shape[-1:] == (2 * len(NAMES),) else 3) * len(NAMES)),
    }
    wrong = [name for name, shape in shapes.items() if getattr(arrays, name).shape != shape]
    for name, length in (("true_start", true), ("found_start", found)):
        start = getattr(arrays, name)
        if name not in wrong and (start[0] != 0 or start[-1] != length or (np.diff(start) < 0).any()):
            wrong.append(name)
    for name in ("true_classes", "first", "second"):
        kinds = getattr(arrays, name)
        if len(kinds) and not (kinds.min() >= 0 and kinds.max() < classes):
            wrong.append(name)
    if wrong or not found or not true:
        raise DataError(f"{path}: the records of a detector in it do not fit together ({', '.join(wrong) or 'empty'})")


class DetectorRecords:
    """The records of a detector on pictures with annotated boxes."""

    def __init__(self, arrays: RecordArrays, *, looks: float = 0.0) -> None:
        """Matches detections with annotated boxes.

        Args:
            arrays: The records, float32 and int64.
            looks: How often `made` tells an object by the colour of a part of it, where one can be told so.
        """
        self.arrays = arrays
        self.looks = looks
        true, found = len(arrays.true_corners), len(arrays.corners)
        self.best = np.full(true, -1)  # the best detection of each annotated box
        self._near = np.full(found, -1)  # the annotated box nearest to each detection
        self._doubles: dict[int, list[int]] = {}
        self._false: list[np.ndarray] = []
        for picture in range(len(arrays.aspect)):
            self._match(picture)
        size = np.digitize((arrays.true_corners[:, 2:] - arrays.true_corners[:, :2]).prod(1), _AREAS)
        self._alike: dict[tuple[int, int], np.ndarray] = {}
        for category, one in set(zip(arrays.true_classes.tolist(), size.tolist(), strict=True)):
            self._alike[category, one] = np.flatnonzero((arrays.true_classes == category) & (size == one))
        for one in range(len(_AREAS) + 1):
            self._alike[-1, one] = np.flatnonzero(size == one)
        self._alike[-1, -1] = np.arange(true)
        shares = arrays.appearance.reshape(found, -1, len(NAMES))[np.maximum(self.best, 0)]
        upper, lower, top = shares[:, 0], shares[:, 1], shares[:, 2 if shares.shape[1] > 2 else 0]
        # "In red", of a person, is said of the clothes on the upper body; of other objects, of most of them.
        whole = np.where((arrays.true_classes == PERSON)[:, None], upper, shares[:, :2].mean(1))
        # (T, regions, names): of each of `REGIONS`, zeros of what was not found.
        self._palette = np.where((self.best >= 0)[:, None, None], np.stack([upper, lower, top, whole], 1), 0)

    def __len__(self) -> int:
        return len(self.arrays.aspect)

    def detections(self, picture: int) -> ImageBoxes:
        """Returns the detections of a picture."""
        start, end = self.arrays.found_start[picture : picture + 2]
        return self._boxes(np.arange(start, end), self.arrays.corners[start:end], float(self.arrays.aspect[picture]))

    def made(self, picture: int, rng: random.Random) -> BoxGroundingSample | None:
        """Returns a made phrase about the detections of a picture, None where none comes about.

        It is true of the annotated boxes, and of their colours as far as they were detected.
        """
        start, end = self.arrays.true_start[picture : picture + 2]
        if start == end:
            return None
        categories = self.arrays.true_classes[start:end]
        boxes = ImageBoxes(
            corners=self.arrays.true_corners[start:end],
            category_ids=categories,
            aspect=float(self.arrays.aspect[picture]),
        )
        names = [CATEGORIES[category] for category in categories]
        made, of_looks = [], rng.random() < self.looks
        if of_looks:
            told = phrase_about_looks(boxes.corners, names, self._palette[start:end], rng)
            made = [] if told is None else [BoxGroundingSample(boxes=boxes, text=told[0], targets=(told[1],))]
        if not made:
            of_looks = False
            colours = [
                named_shares(self._palette[start + index, REGIONS.index(WHOLE)], category=name)
                for index, name in enumerate(names)
            ]
            made = phrases_about(boxes, rng, count=1, colours=colours)
        if not made:
            return None
        targets = self.best[[start + target for target in made[0].targets]] if made[0].targets else np.zeros(0, int)
        if (targets < 0).any():
            return None
        first = int(self.arrays.found_start[picture])
        chosen = tuple(sorted({int(target) - first for target in targets}))
        found = self.detections(picture)
        if of_looks:
            found = self._paler(found, chosen[0], rng)
        kept = np.union1d(np.argsort(-self._confidence(picture), kind="stable")[:_MAX_COUNT], chosen).astype(int)
        return replace(made[0], boxes=found, targets=chosen).keep(kept)

    def __call__(self, sample: BoxGroundingSample, generator: np.random.Generator) -> BoxGroundingSample:
        """Returns `sample` as the detector would find its boxes; targets are always found.

        Boxes get colours: targets the one that the expression names, others mostly another one. Sometimes none gets it:
        the expression then refers to nothing.
        """
        boxes, targets = sample.boxes, set(sample.targets)
        wanted = _regions_named(sample) if targets else ()
        absent = bool(wanted) and generator.random() < _COLOUR_MISSING
        size = np.digitize((boxes.corners[:, 2:] - boxes.corners[:, :2]).prod(1), _AREAS)
        source: list[int] = []
        own: list[tuple[int, int]] = []
        best: dict[int, int] = {}
        for index, category in enumerate(boxes.category_ids.tolist()):
            is_target = index in targets
            record = self._draw(category, int(size[index]), generator, found=is_target, named=wanted, absent=absent)
            found = int(self.best[record])
            if found < 0:
                continue
            best[index] = len(source)
            for one in (found, *self._doubles.get(record, ())):
                source.append(one)
                own.append((record, index))
        corners = self._moved(np.array(source, int), np.array(own, int).reshape(-1, 2), boxes)
        false, near = self._false_boxes(boxes, generator)
        taken = np.concatenate([np.array(source, int), false])
        corners = np.concatenate([corners, near])
        # Confidence decides which detections an expression may choose among.
        order = np.argsort(-self.arrays.confidence[taken], kind="stable")
        keep = order[:_MAX_COUNT].tolist()
        keep += [best[target] for target in sorted(targets) if best[target] not in keep]
        position = {row: place for place, row in enumerate(keep)}
        detected = self._boxes(taken[keep], corners[keep], boxes.aspect, relative=(own, boxes, keep))
        if sample.colours is None and not wanted:
            detected = replace(detected, appearance=None)
        chosen = () if absent else tuple(position[best[target]] for target in sample.targets)
        return replace(sample, boxes=detected, targets=chosen, colours=() if absent else sample.colours)

    def _paler(self, boxes: ImageBoxes, target: int, rng: random.Random) -> ImageBoxes:
        """Returns `boxes` with the looks of one mixed with another's: people name colours that are seen less well."""
        share, other = rng.random(), rng.randrange(len(self.arrays.appearance))
        appearance = self.arrays.appearance[:0] if boxes.appearance is None else boxes.appearance.copy()
        appearance[target] = (1 - share) * appearance[target] + share * self.arrays.appearance[other]
        return replace(boxes, appearance=appearance)

    def _confidence(self, picture: int) -> np.ndarray:
        start, end = self.arrays.found_start[picture : picture + 2]
        return self.arrays.confidence[start:end]

    def _match(self, picture: int) -> None:
        arrays = self.arrays
        (start, end), (first, last) = (
            arrays.true_start[picture : picture + 2],
            arrays.found_start[picture : picture + 2],
        )
        overlaps = _overlaps(arrays.true_corners[start:end], arrays.corners[first:last])
        if not overlaps.size:
            self._false.append(np.arange(first, last))
            return
        # Of equal overlaps the one with the right class counts.
        agrees = arrays.true_classes[start:end, None] == arrays.first[None, first:last]
        nearest, value = (overlaps + 0.2 * agrees * (overlaps >= _MATCH)).argmax(0), overlaps.max(0)
        self._near[first:last] = np.where(value >= _NEAR, nearest + start, -1)
        self._false.append(np.flatnonzero(value < _MATCH) + first)
        for index in range(end - start):
            mine = np.flatnonzero((nearest == index) & (overlaps[index] >= _MATCH))
            if len(mine):
                mine = mine[np.argsort(-overlaps[index, mine], kind="stable")] + first
                self.best[start + index] = mine[0]
                self._doubles[int(start + index)] = mine[1:].tolist()

    def _draw(
        self,
        category: int,
        size: int,
        generator: np.random.Generator,
        *,
        found: bool,
        named: tuple[tuple[int, int], ...],
        absent: bool,
    ) -> int:
        """Returns the annotated box whose detection stands for one of this class and size."""
        wanted = found and not absent
        for key in ((category, size), (-1, size), (-1, -1)):
            rows = self._alike.get(key)
            if rows is None or not len(rows):
                continue
            if found:
                rows = rows[self.best[rows] >= 0]
            least = _WANTED[generator.integers(len(_WANTED))] if wanted and named else 0.0
            for region, colour in named if wanted else ():
                rows = rows[self._palette[rows, region, colour] >= least]
            if len(rows):
                break
        else:
            rows = np.flatnonzero(self.best >= 0)
        record = int(rows[generator.integers(len(rows))])
        if named and not wanted:
            limit = _UNWANTED if absent or generator.random() < _HELD else 1.0
            for _ in range(_TRIES):
                # It is another one as soon as one of the colours is not seen.
                share = min(float(self._palette[record, region, colour]) for region, colour in named)
                if share <= (_NONE if found else limit):
                    break
                record = int(rows[generator.integers(len(rows))])
        return record

    def _moved(self, source: np.ndarray, own: np.ndarray, boxes: ImageBoxes) -> np.ndarray:
        """Returns the corners of detections `source`, moved from the annotated box that they match to the new one."""
        if not len(source):
            return np.zeros((0, 4), dtype=np.float32)
        true, mine = self.arrays.true_corners[own[:, 0]], boxes.corners[own[:, 1]]
        sides = np.tile(np.maximum(true[:, 2:] - true[:, :2], 1e-3), 2)
        moved = mine + (self.arrays.corners[source] - true) / sides * np.tile(mine[:, 2:] - mine[:, :2], 2)
        moved = moved.clip(0, 1)
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 0.004)
        return moved.astype(np.float32)

    def _false_boxes(self, boxes: ImageBoxes, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        false = self._false[int(generator.integers(len(self)))]
        corners = self.arrays.corners[false].copy()
        for row, one in enumerate(false.tolist()):
            near = int(self._near[one])
            if near >= 0:
                alike = np.flatnonzero(boxes.category_ids == self.arrays.true_classes[near])
                if len(alike):
                    mine = np.array([[near, alike[generator.integers(len(alike))]]])
                    corners[row] = self._moved(np.array([one]), mine, boxes)[0]
        return false, corners

    def _boxes(
        self,
        rows: np.ndarray,
        corners: np.ndarray,
        aspect: float,
        relative: tuple[Sequence[tuple[int, int]], ImageBoxes, Sequence[int]] | None = None,
    ) -> ImageBoxes:
        first, second = self.arrays.first[rows].copy(), self.arrays.second[rows].copy()
        if relative is not None:
            own, boxes, keep = relative
            for place, row in enumerate(keep):
                if row < len(own):
                    # A record of another class stands in: where it was right, so is this one.
                    record, index = own[row]
                    was, category = self.arrays.true_classes[record], boxes.category_ids[index]
                    first[place] = category if first[place] == was else first[place]
                    second[place] = category if second[place] == was else second[place]
        return ImageBoxes(
            corners=corners,
            category_ids=first,
            aspect=aspect,
            confidence=self.arrays.confidence[rows],
            category_share=self.arrays.share[rows],
            second_category_ids=second,
            appearance=self.arrays.appearance[rows],
        )


def _regions_named(sample: BoxGroundingSample) -> tuple[tuple[int, int], ...]:
    """Returns (index in `REGIONS`, index in `NAMES`) of the colours that an expression names of its targets."""
    if all(sample.boxes.category_ids[target] == PERSON for target in sample.targets):
        parts = coloured_parts(sample.text)
        if parts and (sample.colours is None or len(parts) == 1):
            return tuple((REGIONS.index(part), NAMES.index(colour)) for part, colour in parts)
    return ((REGIONS.index(WHOLE), NAMES.index(sample.colours[0])),) if sample.colours else ()


def _overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the IoU of every box of `first` with every one of `second`, (T, N)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = (high - low).clip(min=0).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (first, second)]
    return shared / (areas[0][:, None] + areas[1][None] - shared).clip(min=1e-9)
