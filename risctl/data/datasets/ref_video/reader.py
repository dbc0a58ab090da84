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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from risctl.data.datasets.json_tables import table
from risctl.data.datasets.video_builder import (
    EXPRESSIONS,
    FrameMasks,
    Progress,
    VideoBuilder,
    VideoExpression,
    VideoFiles,
    expression_number,
    videos_in,
)
from risctl.data.records import Dataset
from risctl.errors import DataError
from risctl.vision import rle
from risctl.vision.label_images import read_labels

ANNOTATORS = ("1", "1_full_video", "2", "2_full_video")
_VOID = 255
_RENAMED = {"clasic-car": "classic-car", "dog-scale": "dogs-scale", "motor-bike": "motorbike"}
"""The annotators' names of videos of DAVIS that differ from DAVIS's own."""
_LINE = re.compile(r'^(\S+)\s+(\d+)\s+"(.*)"\s*$')


@dataclass(frozen=True, slots=True, kw_only=True)
class _Video:
    """A video and the folder of its label images."""

    files: VideoFiles
    masks: Path


def read_ref_youtube_vos(root: Path, *, progress: Progress | None = None) -> Dataset:
    """Reads Ref-YouTube-VOS.

    The objects of `valid` are not published, so its refs have no masks and a note counts them.

    Args:
        root: The folder of the published files.
        progress: Called with (done, total) videos.

    Raises:
        DataError: A file is missing or broken.
    """
    return _dataset("ref-youtube-vos", list(_converted(root, annotators=False)), progress=progress)


def read_ref_davis17(root: Path, *, progress: Progress | None = None) -> Dataset:
    """Reads Ref-DAVIS17 in either layout; an expression has its annotator as the ability `annotator-1` to `-4`.

    Args:
        root: The folder of the published files.
        progress: Called with (done, total) videos.

    Raises:
        DataError: A file is missing or broken.
    """
    converted = (root / "meta_expressions").is_dir()
    videos = list(_converted(root, annotators=True) if converted else _davis(root))
    return _dataset("ref-davis17", videos, progress=progress)


def _converted(root: Path, *, annotators: bool) -> Iterator[_Video]:
    folder = root / "meta_expressions"
    files = sorted(folder.glob(f"*/{EXPRESSIONS}"))
    if not files:
        raise DataError(f"expected {folder}/train/meta_expressions.json and the like, found none")
    # The published valid file has the test videos as well.
    of_test = videos_in(folder / "test" / EXPRESSIONS) if (folder / "test" / EXPRESSIONS).is_file() else {}
    for file in files:
        split = file.parent.name
        own = root / split
        meta = own / "meta.json"
        objects = videos_in(meta) if meta.is_file() else {}
        for name, video in videos_in(file).items():
            if split == "valid" and name in of_test:
                continue
            expressions = []
            texts = table(video.get("expressions"), what=f"expressions of {name} in {file}")
            # Four of an object are, in this order, Ref-DAVIS17's annotators.
            counts: Counter[str] = Counter()
            for number in sorted(texts, key=lambda one: (len(one), one)):
                entry = table(texts[number], what=f"expression {number} of {name} in {file}")
                target = str(entry.get("obj_id", ""))
                expressions.append(
                    VideoExpression(
                        text=str(entry.get("exp", "")),
                        targets=(target,) if target else (),
                        tags=(f"annotator-{counts[target] % 4 + 1}",) if annotators else (),
                        number=expression_number(number),
                    )
                )
                counts[target] += 1
            objects_of = table(table(objects.get(name, {}), what=name).get("objects", {}), what=name)
            found = VideoFiles(
                name=name,
                split=split,
                folder=own / "JPEGImages" / name,
                expressions=tuple(expressions),
                frames=frozenset(str(one) for one in video.get("frames", ())),
                categories={
                    number: str(table(one, what=name).get("category", "")) for number, one in objects_of.items()
                },
            )
            yield _Video(files=found, masks=own / "Annotations" / name)


def _davis(root: Path) -> Iterator[_Video]:
    folder = root / "davis_text_annotations"
    expressions: dict[str, list[VideoExpression]] = {}
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
                entry = VideoExpression(
                    text=found[3], targets=(found[2],), tags=(f"annotator-{number}",), number=place_of
                )
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
        files = VideoFiles(
            name=name,
            split=splits.get(name, "val"),
            folder=root / "JPEGImages" / "480p" / name,
            expressions=tuple(entries),
        )
        yield _Video(files=files, masks=root / mask_folder / "480p" / name)


def _dataset(name: str, videos: list[_Video], *, progress: Progress | None) -> Dataset:
    named = {category for video in videos for category in video.files.categories.values() if category}
    builder = VideoBuilder(name, categories=tuple(sorted(named)) or ("object",))
    for done, video in enumerate(videos, start=1):

        def masks_of(frame: Path, size: tuple[int, int], folder: Path = video.masks) -> FrameMasks:
            labels = _labels(folder / f"{frame.stem}.png", size=size)
            if labels is None:
                builder.notes["frames without a mask file"] += 1
                return FrameMasks(masks={})
            values = np.unique(labels).tolist()
            masks = {str(value): rle.encode(np.equal(labels, value)) for value in values if value not in (0, _VOID)}
            return FrameMasks(masks=masks, void=rle.encode(np.equal(labels, _VOID)) if _VOID in values else None)

        builder.add(video.files, masks_of)
        if progress:
            progress(done, len(videos))
    return builder.build()


def _labels(path: Path, *, size: tuple[int, int]) -> np.ndarray | None:
    """Returns the labels (H, W) of a palette image, None if the frame has none."""
    if not path.is_file():
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
