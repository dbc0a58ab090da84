"""Builds a dataset of videos from their frames, their objects' masks and their expressions, numbering as it goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from risctl.data.datasets.json_tables import read_json, table
from risctl.data.records import Annotation, Dataset, Expression, ImageRecord, Record
from risctl.data.store.clips import NO_TARGET, PER_VIDEO, VIDEOS
from risctl.errors import DataError
from risctl.language.tokens import words_of
from risctl.vision import rle
from risctl.vision.image_files import find_images
from risctl.vision.images import image_size
from risctl.vision.rle import RLE

Progress = Callable[[int, int | None], None]
EXPRESSIONS = "meta_expressions.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoExpression:
    """An expression about objects of a video.

    Attributes:
        text: The expression.
        targets: The names of its objects, () where these are not published or there are none.
        tags: What is known of it.
        number: Its published number within the video.
        ref_id: The id of its ref, where the publisher's is to be kept.
    """

    text: str
    targets: tuple[str, ...]
    tags: tuple[str, ...] = ()
    number: int | None = None
    ref_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFiles:
    """A video and its expressions.

    Attributes:
        name: Its name.
        split: Its split.
        folder: The folder of its frames.
        expressions: Its expressions.
        frames: The names of the frames that count, without their endings; all if empty.
        categories: The category of each object, where it is published.
        annotated: Whether its targets are published, so that an expression without a mask is about nothing.
    """

    name: str
    split: str
    folder: Path
    expressions: tuple[VideoExpression, ...]
    frames: frozenset[str] = frozenset()
    categories: Mapping[str, str] = field(default_factory=dict)
    annotated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameMasks:
    """The masks of a frame by the name of the object, and the pixels that count neither way."""

    masks: Mapping[str, RLE]
    void: RLE | None = None


class VideoBuilder:
    """Adds videos to a dataset."""

    def __init__(self, name: str, *, categories: tuple[str, ...] = ("object",)) -> None:
        self.dataset = Dataset(
            name=name,
            split_by=VIDEOS,
            categories=dict(enumerate(categories, start=1)),
            images={},
            annotations={},
            records=[],
        )
        self.notes: Counter[str] = Counter()
        self._images: dict[int, ImageRecord] = {}
        self._annotations: dict[int, Annotation] = {}
        self._category_ids = {category: number for number, category in self.dataset.categories.items()}
        self._videos = 0

    def add(self, video: VideoFiles, masks_of: Callable[[Path, tuple[int, int]], FrameMasks]) -> None:
        """Adds a video, the masks of its referred objects, and a record for each set of them.

        Args:
            video: The video.
            masks_of: Returns the masks of a frame by its file and (height, width).

        Raises:
            DataError: Its frames are not there, or there are too many expressions.
        """
        if not video.folder.is_dir():
            raise DataError(f"expected the frames of {video.name} in {video.folder}, found no folder")
        self._videos += 1
        if len(video.expressions) >= PER_VIDEO:
            raise DataError(
                f"{video.name} has {len(video.expressions)} expressions; fewer than {PER_VIDEO} are expected"
            )
        numbers = [expression.number for expression in video.expressions]
        if None in numbers or len(set(numbers)) < len(numbers):
            video = replace(
                video, expressions=tuple(replace(one, number=number) for number, one in enumerate(video.expressions))
            )
        first = len(self._images) + 1
        found = self._add_frames(video, masks_of)
        groups: dict[tuple[str, ...], list[VideoExpression]] = {}
        for number, entry in enumerate(video.expressions):
            # Without a published object, each expression stands for one of its own.
            groups.setdefault(entry.targets or (f"?{number}",), []).append(entry)
        for targets, entries in groups.items():
            own = tuple(annotation for target in targets for annotation in found.get(target, ()))
            if own:
                self._add_record(video.split, first, own, entries)
            elif video.annotated:
                if entries[0].targets:
                    self.notes["expressions whose objects show in no frame, kept as no-target"] += len(entries)
                self._add_record(video.split, first, own, entries, more_tags=(NO_TARGET,))
            else:
                self.notes["objects without a mask in any frame"] += 1
                self._add_record(video.split, first, own, entries)

    def build(self) -> Dataset:
        """Returns the dataset."""
        return replace(self.dataset, images=self._images, annotations=self._annotations, notes=dict(self.notes))

    def _add_frames(
        self, video: VideoFiles, masks_of: Callable[[Path, tuple[int, int]], FrameMasks]
    ) -> dict[str, list[int]]:
        """Adds the frames with the masks of referred objects; returns the annotations of each object."""
        wanted = sorted(
            {target for expression in video.expressions for target in expression.targets},
            key=lambda one: (len(one), one),
        )
        found: dict[str, list[int]] = {one: [] for one in wanted}
        names = set()
        for path in find_images(str(video.folder)):
            if video.frames and path.stem not in video.frames:
                continue
            image_id = len(self._images) + 1
            height, width = image_size(path)
            self._images[image_id] = ImageRecord(
                image_id=image_id, file_name=f"{video.name}/{path.name}", height=height, width=width, path=path
            )
            names.add(path.stem)
            frame = masks_of(path, (height, width))
            if frame.void is not None:
                # As a crowd that no ref names.
                self._add_annotation(image_id, frame.void, category=1, crowd=True)
            for target in wanted:
                if target in frame.masks:
                    category = self._category_ids.get(video.categories.get(target, ""), 1)
                    number = self._add_annotation(image_id, frame.masks[target], category=category)
                    found[target].append(number)
        lost = sorted(video.frames - names)
        if lost or not names:
            named = (
                f"{len(lost)} of the {len(video.frames)} frames of {video.name}, the first {lost[0]}" if lost else ""
            )
            raise DataError(f"expected {named or f'frames of {video.name}'} in {video.folder}, found none")
        return found

    def _add_annotation(self, image_id: int, mask: RLE, *, category: int, crowd: bool = False) -> int:
        number = len(self._annotations) + 1
        self._annotations[number] = Annotation(
            annotation_id=number, image_id=image_id, category_id=category, box=rle.box(mask), mask=mask, crowd=crowd
        )
        return number

    def _add_record(
        self,
        split: str,
        image_id: int,
        annotations: tuple[int, ...],
        entries: list[VideoExpression],
        *,
        more_tags: tuple[str, ...] = (),
    ) -> None:
        expressions = []
        for entry in entries:
            sent = " ".join(entry.text.lower().split())
            if not words_of(sent):
                self.notes["expressions without a word"] += 1
            expressions.append(
                Expression(
                    sentence_id=PER_VIDEO * self._videos + (entry.number or 0),
                    raw=entry.text,
                    sent=sent,
                    tokens=tuple(sent.split()),
                    abilities=(*entry.tags, *more_tags),
                )
            )
        ref_id = entries[0].ref_id
        self.dataset.records.append(
            Record(
                ref_id=len(self.dataset.records) + 1 if ref_id is None else ref_id,
                image_id=image_id,
                split=split,
                annotation_ids=annotations,
                expressions=tuple(expressions),
            )
        )


def expression_number(number: str) -> int | None:
    """Returns the published number of an expression, None if it is none that a store can keep."""
    return int(number) if number.isascii() and number.isdecimal() and int(number) < PER_VIDEO else None


def videos_in(file: Path) -> dict[str, Any]:
    """Returns the table `videos` of a file of expressions. Raises `DataError` if there is none."""
    return table(read_json(file).get("videos"), what=f"videos in {file}")
