"""Reads PhraseCut as published: `refer_SPLIT.json`, a list of phrases with the polygons of what they refer to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from risctl.data.datasets.image_collections import VISUAL_GENOME
from risctl.data.datasets.image_folders import ImageFolders, find_images, sampled, size_of
from risctl.data.datasets.phrasecut.layout import NAME, SPLIT_BY, file_names, find_tasks, search_folders
from risctl.data.datasets.problems import OnMissing, Problems
from risctl.data.download.transfer import Progress
from risctl.data.json_scan import Scanner
from risctl.data.records import Annotation, Dataset, Expression, ImageRecord, Record
from risctl.errors import DataError
from risctl.language.tokens import words_of
from risctl.vision import rle

_LARGEST_ID = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    number: int
    task_id: str
    image_id: int
    phrase: str
    category: str
    instances: list[Any]


def read_phrasecut(
    root: Path,
    *,
    split_by: str | None = None,
    images: Path | None = None,
    on_missing: OnMissing = "refuse",
    progress: Progress | None = None,
) -> Dataset:
    """Reads PhraseCut: all of train, val, test and miniv that are there.

    A phrase is one ref; its instances are its annotations, of the category that its structure names. Masks are the
    published ones: polygons with points truncated to integers, filled by PIL with their outline, and united.

    Args:
        root: The folder of the published files.
        split_by: "published", the only way.
        images: The folder of Visual Genome's images (or the one above its two parts), looked for around `root` if None.
        on_missing: Whether phrases whose image is missing or that have no valid polygon are refused or left out.
        progress: Called with (done, None) phrases.

    Raises:
        DataError: A file is missing or broken; of losses, their number and the first few are named.
    """
    if split_by not in (None, SPLIT_BY):
        raise DataError(f"PhraseCut is split in one way, {SPLIT_BY}; got {split_by!r}")
    tasks = find_tasks(root)
    content = _Content(problems=Problems())
    for split, path in tasks.items():
        for task in _tasks(path, first=content.read):
            if content.folders is None:
                content.folders = _find_folders(root, tasks, images)
            content.add(task, split)
            if progress:
                progress(content.read, None)
    if on_missing == "refuse":
        content.problems.refuse_losses("PhraseCut")
    if not content.records:
        raise DataError(f"nothing is left of PhraseCut's {content.read} phrases; check that --images is right")
    used = {record.image_id for record in content.records}
    return Dataset(
        name=NAME,
        split_by=SPLIT_BY,
        categories={number: category for category, number in content.categories.items()},
        images={key: one for key, one in content.images.items() if one is not None and key in used},
        annotations=content.annotations,
        records=content.records,
        notes=content.problems.notes(),
    )


def _find_folders(root: Path, tasks: dict[str, Path], images: Path | None) -> ImageFolders:
    names = file_names(tasks)
    found = find_images(VISUAL_GENOME, around=search_folders(root, tasks), images=images, sample=sampled(names))
    if found is None:
        raise DataError(
            f"no pictures of Visual Genome around {root} (such as {', '.join(names[:1])}); "
            f"name their folder with --images"
        )
    return found


class _Content:
    """Collects what has been read."""

    def __init__(self, *, problems: Problems) -> None:
        self.problems = problems
        self.folders: ImageFolders | None = None
        self.read = 0
        self.images: dict[int, ImageRecord | None] = {}
        self.categories: dict[str, int] = {}
        self.annotations: dict[int, Annotation] = {}
        self.records: list[Record] = []
        self._task_ids: set[str] = set()

    def add(self, task: _Task, split: str) -> None:
        """Adds a phrase, or counts why it cannot be used."""
        self.read += 1
        if task.task_id in self._task_ids:
            self.problems.repair("phrases published twice, first kept", task.task_id)
            return
        self._task_ids.add(task.task_id)
        if not task.phrase.strip():
            self.problems.repair("phrases without a word, dropped", task.task_id)
            return
        image = self._image(task.image_id)
        if image is None:
            return
        masks = []
        for instance in task.instances:
            try:
                mask = _mask(instance, height=image.height, width=image.width)
            except DataError as error:
                self.problems.lose("phrases with a polygon that is none", f"{task.task_id}: {error}")
                return
            if rle.area(mask):
                masks.append(mask)
            else:
                self.problems.repair("instances without a pixel, dropped", task.task_id)
        if not masks:
            self.problems.lose("phrases without a valid mask", task.task_id)
            return
        category = self.categories.setdefault(task.category, len(self.categories) + 1)
        first = len(self.annotations) + 1
        for number, mask in enumerate(masks, start=first):
            self.annotations[number] = Annotation(
                annotation_id=number, image_id=task.image_id, category_id=category, box=rle.box(mask), mask=mask
            )
        words = tuple(words_of(task.phrase))
        self.records.append(
            Record(
                ref_id=task.number,
                image_id=task.image_id,
                split=split,
                annotation_ids=tuple(range(first, first + len(masks))),
                expressions=(Expression(sentence_id=task.number, raw=task.phrase, sent=" ".join(words), tokens=words),),
            )
        )

    def _image(self, image_id: int) -> ImageRecord | None:
        if image_id not in self.images:
            self.images[image_id] = self._image_record(image_id)
        return self.images[image_id]

    def _image_record(self, image_id: int) -> ImageRecord | None:
        name = f"{image_id}.jpg"
        path = self.folders.path(name) if self.folders else Path(name)
        # The published files do not have the sizes of images.
        size = size_of(path, annotated=None, problems=self.problems)
        if size is None:
            return None
        return ImageRecord(image_id=image_id, file_name=name, height=size[0], width=size[1], path=path)


def _tasks(path: Path, *, first: int) -> Iterator[_Task]:
    """Yields the phrases of a file, one at a time in memory: train's are 400 MB of text."""
    try:
        scanner = Scanner(path.read_text(encoding="utf-8"))
        if not scanner.at("["):
            raise DataError(f"{path} is not a list of phrases; expected PhraseCut's refer_SPLIT.json")
        for number, line in enumerate(scanner.items(), start=first):
            yield _task(scanner.value(), number, f"{path}, line {line}, phrase {number - first}")
        scanner.end()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise DataError(f"{path} is not valid JSON ({error}); get the file again") from error


def _task(entry: Any, number: int, where: str) -> _Task:
    if not isinstance(entry, dict):
        raise DataError(f"{where} is not an object; expected PhraseCut's refer_SPLIT.json")
    task_id, phrase, image_id = entry.get("task_id"), entry.get("phrase"), entry.get("image_id")
    if not isinstance(image_id, int) or isinstance(image_id, bool) or abs(image_id) >= _LARGEST_ID:
        raise DataError(f"{where} has image_id {image_id!r:.40}; expected a whole number")
    if not isinstance(phrase, str) or not isinstance(task_id, str | int):
        raise DataError(f"{where} has phrase {phrase!r:.40} and task_id {task_id!r:.40}; expected texts")
    instances = entry.get("Polygons")
    if not isinstance(instances, list):
        raise DataError(f"{where} has Polygons {instances!r:.40}; expected a list of instances")
    structure = entry.get("phrase_structure")
    name = structure.get("name") if isinstance(structure, dict) else None
    return _Task(
        number=number,
        task_id=str(task_id),
        image_id=image_id,
        phrase=phrase.encode("utf-8", errors="replace").decode("utf-8"),
        category=name if isinstance(name, str) and name.strip() else "thing",
        instances=instances,
    )


def _mask(polygons: Any, *, height: int, width: int) -> rle.RLE:
    """Returns the mask of one instance: its polygons as PIL fills them, united.

    As published, a polygon of one point is left out and one of two points is a line.
    """
    if not isinstance(polygons, list):
        raise DataError(f"an instance is a list of polygons; got {polygons!r:.40}")
    canvas = Image.new("L", (width, height), 0)
    pen = ImageDraw.Draw(canvas)
    corners = []
    for polygon in polygons:
        points = _points(polygon)
        if len(points) >= 2:
            pen.polygon(points, outline=1, fill=1)
            corners += points
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    left, top = max(0, min(xs, default=0)), max(0, min(ys, default=0))
    right, bottom = min(width, max(xs, default=-1) + 1), min(height, max(ys, default=-1) + 1)
    if right <= left or bottom <= top:
        return rle.empty(height, width)
    patch = np.asarray(canvas.crop((left, top, right, bottom))) > 0
    return rle.encode_patch(patch, x=left, y=top, height=height, width=width)


def _points(polygon: Any) -> list[tuple[int, int]]:
    points = []
    for point in polygon if isinstance(polygon, list) else [polygon]:
        try:
            x, y = (int(value) for value in point)
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(f"a polygon is a list of points x, y; got {point!r:.40}") from error
        if max(abs(x), abs(y)) > 1_000_000:
            raise DataError(f"a polygon's points are pixels; got {point!r:.40}")
        points.append((x, y))
    return points
