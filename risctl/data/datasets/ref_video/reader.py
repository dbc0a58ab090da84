"""Reads Ref-YouTube-VOS and Ref-DAVIS17 in their published layouts.

Both: `SPLIT/JPEGImages/VIDEO/*.jpg`, `SPLIT/Annotations/VIDEO/*.png` (palette images, the value is the object),
`meta_expressions/SPLIT/meta_expressions.json`, and for categories `SPLIT/meta.json` where there is one. Ref-DAVIS17
also as published with DAVIS, in the folder or in `DAVIS` within it: `JPEGImages/480p`, `Annotations_unsupervised/480p`
(as the published evaluation has it) or `Annotations/480p`, `ImageSets/2017/SPLIT.txt` and, of the four annotators,
`davis_text_annotations/Davis17_annot{1,2}{,_full_video}.txt` with lines `VIDEO OBJECT "TEXT"`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from risctl.data.records import Annotation, Dataset, Expression, ImageRecord, Record
from risctl.data.store.clips import PER_VIDEO, VIDEOS
from risctl.errors import DataError
from risctl.json_text import parse_json
from risctl.language.tokens import words_of
from risctl.vision import rle
from risctl.vision.image_files import find_images
from risctl.vision.images import image_size
from risctl.vision.label_images import read_labels

Progress = Callable[[int, int | None], None]
ANNOTATORS = ("1", "1_full_video", "2", "2_full_video")
_EXPRESSIONS = "meta_expressions.json"
_VOID = 255
_RENAMED = {"clasic-car": "classic-car", "dog-scale": "dogs-scale", "motor-bike": "motorbike"}
"""The annotators' names of videos of DAVIS that differ from DAVIS's own."""
_LINE = re.compile(r'^(\S+)\s+(\d+)\s+"(.*)"\s*$')


@dataclass(frozen=True, slots=True, kw_only=True)
class _VideoExpression:
    """An expression about an object of a video.

    Attributes:
        text: The expression.
        target: The object's number, "" where that is not published.
        annotator: Who wrote it, "" if there is only one.
        number: Its published number within the video.
    """

    text: str
    target: str
    annotator: str = ""
    number: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _VideoFiles:
    """The files of a video and its expressions; `frames` are the names of the frames that count, all if empty."""

    name: str
    split: str
    frames_folder: Path
    masks: Path
    expressions: tuple[_VideoExpression, ...]
    frames: frozenset[str] = frozenset()
    categories: Mapping[str, str] = field(default_factory=dict)


def read_ref_youtube_vos(root: Path, *, progress: Progress | None = None) -> Dataset:
    """Reads Ref-YouTube-VOS.

    The objects of `valid` are not published, so its refs have no masks and a note counts them.

    Args:
        root: The folder of the published files.
        progress: Called with (done, total) videos.

    Raises:
        DataError: A file is missing or broken.
    """
    return _dataset("ref-youtube-vos", list(_converted(root)), progress=progress)


def read_ref_davis17(root: Path, *, progress: Progress | None = None) -> Dataset:
    """Reads Ref-DAVIS17 in either layout; an expression has its annotator as the ability `annotator-1` to `-4`.

    Args:
        root: The folder of the published files.
        progress: Called with (done, total) videos.

    Raises:
        DataError: A file is missing or broken.
    """
    videos = list(_converted(root) if (root / "meta_expressions").is_dir() else _davis(root))
    return _dataset("ref-davis17", videos, progress=progress)


def _converted(root: Path) -> Iterator[_VideoFiles]:
    folder = root / "meta_expressions"
    files = sorted(folder.glob(f"*/{_EXPRESSIONS}"))
    if not files:
        raise DataError(f"expected {folder}/train/meta_expressions.json and the like, found none")
    # The published valid file has the test videos as well.
    of_test = _videos(folder / "test" / _EXPRESSIONS) if (folder / "test" / _EXPRESSIONS).is_file() else {}
    for file in files:
        split = file.parent.name
        own = root / split
        meta = own / "meta.json"
        objects = _videos(meta) if meta.is_file() else {}
        for name, video in _videos(file).items():
            if split == "valid" and name in of_test:
                continue
            expressions = []
            texts = _table(video.get("expressions"), what=f"expressions of {name} in {file}")
            # Four of an object are, in this order, Ref-DAVIS17's annotators.
            counts: Counter[str] = Counter()
            for number in sorted(texts, key=lambda one: (len(one), one)):
                entry = _table(texts[number], what=f"expression {number} of {name} in {file}")
                target = str(entry.get("obj_id", ""))
                expressions.append(
                    _VideoExpression(
                        text=str(entry.get("exp", "")),
                        target=target,
                        annotator=str(counts[target] % 4 + 1),
                        number=int(number) if number.isdecimal() and int(number) < PER_VIDEO else None,
                    )
                )
                counts[target] += 1
            objects_of = _table(_table(objects.get(name, {}), what=name).get("objects", {}), what=name)
            yield _VideoFiles(
                name=name,
                split=split,
                frames_folder=own / "JPEGImages" / name,
                masks=own / "Annotations" / name,
                expressions=tuple(expressions),
                frames=frozenset(str(one) for one in video.get("frames", ())),
                categories={
                    number: str(_table(one, what=name).get("category", "")) for number, one in objects_of.items()
                },
            )


def _davis(root: Path) -> Iterator[_VideoFiles]:
    folder = root / "davis_text_annotations"
    expressions: dict[str, list[_VideoExpression]] = {}
    for number, annotator in enumerate(ANNOTATORS, start=1):
        file = folder / f"Davis17_annot{annotator}.txt"
        try:
            lines = _text(file.read_bytes()).splitlines()
        except OSError as error:
            raise DataError(f"expected meta_expressions, or {file}: {error.strerror or error}") from error
        for line_number, line in enumerate(lines, start=1):
            found = _LINE.match(line)
            if not found and line.strip():
                raise DataError(f'{file}, line {line_number}: expected VIDEO OBJECT "TEXT", got {line[:60]!r}')
            if found:
                # As the published conversion numbers them: by object, then by annotator.
                place_of = 4 * max(0, int(found[2]) - 1) + number - 1
                entry = _VideoExpression(text=found[3], target=found[2], annotator=str(number), number=place_of)
                expressions.setdefault(_RENAMED.get(found[1], found[1]), []).append(entry)
    root = root / "DAVIS" if (root / "DAVIS" / "JPEGImages").is_dir() else root
    mask_folder = next(
        (one for one in ("Annotations_unsupervised", "Annotations") if (root / one / "480p").is_dir()), ""
    )
    if not mask_folder:
        raise DataError(f"expected the masks of DAVIS in {root / 'Annotations' / '480p'}, found no folder")
    sets = sorted((root / "ImageSets" / "2017").glob("*.txt"))
    splits = {name: file.stem for file in sets for name in file.read_text(encoding="utf-8").split()}
    for name, entries in expressions.items():
        yield _VideoFiles(
            name=name,
            split=splits.get(name, "val"),
            frames_folder=root / "JPEGImages" / "480p" / name,
            masks=root / mask_folder / "480p" / name,
            expressions=tuple(entries),
        )


def _dataset(name: str, videos: list[_VideoFiles], *, progress: Progress | None) -> Dataset:
    category_names = sorted({category for video in videos for category in video.categories.values() if category}) or [
        "object"
    ]
    dataset = Dataset(
        name=name,
        split_by=VIDEOS,
        categories=dict(enumerate(category_names, start=1)),
        images={},
        annotations={},
        records=[],
    )
    notes: Counter[str] = Counter()
    builder = _Builder(dataset, {category: number for number, category in dataset.categories.items()}, notes)
    for done, video in enumerate(videos, start=1):
        builder.add(video, annotated=name == "ref-davis17")
        if progress:
            progress(done, len(videos))
    dataset.notes = dict(notes)
    return dataset


class _Builder:
    """Adds videos to a dataset, numbering as it goes."""

    def __init__(self, dataset: Dataset, category_ids: Mapping[str, int], notes: Counter[str]) -> None:
        self.dataset, self.category_ids, self.notes = dataset, category_ids, notes
        self.videos = 0

    def add(self, video: _VideoFiles, *, annotated: bool) -> None:
        """Adds a video, its objects' masks, and a record for each referred object."""
        if not video.frames_folder.is_dir():
            raise DataError(f"expected the frames of {video.name} in {video.frames_folder}, found no folder")
        self.videos += 1
        if len(video.expressions) >= PER_VIDEO:
            raise DataError(
                f"{video.name} has {len(video.expressions)} expressions; fewer than {PER_VIDEO} are expected"
            )
        numbers = [expression.number for expression in video.expressions]
        if None in numbers or len(set(numbers)) < len(numbers):
            video = replace(
                video, expressions=tuple(replace(one, number=number) for number, one in enumerate(video.expressions))
            )
        images, annotations = self.dataset.images, self.dataset.annotations
        assert isinstance(images, dict) and isinstance(annotations, dict)
        wanted = sorted(
            {expression.target for expression in video.expressions if expression.target},
            key=lambda one: (len(one), one),
        )
        found: dict[str, list[int]] = {one: [] for one in wanted}
        first = len(images) + 1
        for path in find_images(str(video.frames_folder)):
            if video.frames and path.stem not in video.frames:
                continue
            image_id = len(images) + 1
            height, width = image_size(path)
            images[image_id] = ImageRecord(
                image_id=image_id, file_name=f"{video.name}/{path.name}", height=height, width=width, path=path
            )
            labels = self._labels(video.masks / f"{path.stem}.png", size=(height, width))
            if labels is not None and (labels == _VOID).any():
                # Pixels that count neither way, as a crowd that no ref names.
                void = rle.encode(np.equal(labels, _VOID))
                number = len(annotations) + 1
                annotations[number] = Annotation(
                    annotation_id=number, image_id=image_id, category_id=1, box=rle.box(void), mask=void, crowd=True
                )
            for target in wanted:
                if labels is None or not target.isdecimal() or int(target) not in labels:
                    continue
                mask = np.equal(labels, int(target))
                encoded = rle.encode(mask)
                number = len(annotations) + 1
                annotations[number] = Annotation(
                    annotation_id=number,
                    image_id=image_id,
                    category_id=self.category_ids.get(video.categories.get(target, ""), 1),
                    box=rle.box(encoded),
                    mask=encoded,
                )
                found[target].append(number)
        lost = sorted(video.frames - {Path(images[index].file_name).stem for index in range(first, len(images) + 1)})
        if lost or len(images) < first:
            named = (
                f"{len(lost)} of the {len(video.frames)} frames of {video.name}, the first {lost[0]}" if lost else ""
            )
            raise DataError(f"expected {named or f'frames of {video.name}'} in {video.frames_folder}, found none")
        groups: dict[str, list[_VideoExpression]] = {}
        for number, entry in enumerate(video.expressions):
            # Without a published object, each expression stands for one of its own.
            groups.setdefault(entry.target or f"?{number}", []).append(entry)
        for target, entries in groups.items():
            if not found.get(target):
                self.notes["objects without a mask in any frame"] += 1
            self._record(video.split, first, tuple(found.get(target, ())), entries, annotated=annotated)

    def _record(
        self,
        split: str,
        image_id: int,
        annotations: tuple[int, ...],
        entries: list[_VideoExpression],
        *,
        annotated: bool,
    ) -> None:
        expressions = []
        for entry in entries:
            sent = " ".join(entry.text.lower().split())
            if not words_of(sent):
                self.notes["expressions without a word"] += 1
            expressions.append(
                Expression(
                    sentence_id=PER_VIDEO * self.videos + (entry.number or 0),
                    raw=entry.text,
                    sent=sent,
                    tokens=tuple(sent.split()),
                    abilities=(f"annotator-{entry.annotator}",) if annotated and entry.annotator else (),
                )
            )
        self.dataset.records.append(
            Record(
                ref_id=len(self.dataset.records) + 1,
                image_id=image_id,
                split=split,
                annotation_ids=annotations,
                expressions=tuple(expressions),
            )
        )

    def _labels(self, path: Path, *, size: tuple[int, int]) -> np.ndarray | None:
        """Returns the labels (H, W) of a palette image, None if the frame has none."""
        if not path.is_file():
            self.notes["frames without a mask file"] += 1
            return None
        labels = read_labels(path, size=size, grey=True)
        # DAVIS 2016 draws its one object white; 255 is void only where other labels stand beside it.
        values = set(np.unique(labels).tolist())
        return (labels == _VOID).astype(np.uint8) if values <= {0, _VOID} else labels


def _text(data: bytes) -> str:
    """Returns a text file's content: one of DAVIS's annotators wrote Latin-1, the other UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _videos(file: Path) -> dict[str, Any]:
    try:
        content = parse_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {file}: {error}") from error
    return _table(_table(content, what=str(file)).get("videos"), what=f"videos in {file}")


def _table(value: Any, *, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"expected a table: {what}; got {type(value).__name__}")
    return value
