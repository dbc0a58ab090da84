"""Reads A2D-Sentences and JHMDB-Sentences in their published layouts.

Both are measured on single annotated frames, so they become datasets of images: a ref is an actor in a frame. Further
images are the frames around the annotated ones, for systems whose backbone sees several frames; no ref is about them.

A2D: `a2d_annotation.txt` (video, instance, query), `Release/videoset.csv` (its last column: 0 train, 1 test),
`Release/CLIPS320/VIDEO.mp4` (or `clips320H`), `text_annotations/a2d_annotation_with_instances/VIDEO/FRAME.h5` (frames
counted from 1).
JHMDB: `jhmdb_sentences_samples_metadata.json` ([video, frame, masks, frames, query]),
`Rename_Images/ACTION/VIDEO/*.png`, `puppet_mask/ACTION/VIDEO/puppet_mask.mat`.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

from risctl.data.datasets.image_buffer import ImageBuffer
from risctl.data.records import Annotation, Dataset, Expression, ImageRecord, Record
from risctl.errors import DataError
from risctl.json_text import parse_json
from risctl.language.tokens import words_of
from risctl.vision import rle
from risctl.vision.images import image_size
from risctl.vision.video_frames import Video

Progress = Callable[[int, int | None], None]
WINDOW = 3
"""Frames kept before and after an annotated one: those that ReferFormer's published code sees in evaluation with clips
of up to six frames, and near the annotated one in training."""

_ACTOR = 1
_QUALITY = 95
_INSTANCE = re.compile(r"\s*(\d+)\s*(\(copy\))?\s*")


def read_a2d(root: Path, *, window: int = WINDOW, progress: Progress | None = None) -> Dataset:
    """Reads A2D-Sentences: its annotated frames and those around them, decoded from the videos and kept as JPEG.

    Instances without a mask in a frame are left out and counted.

    Args:
        root: The folder of the published files.
        window: Frames that are kept before and after each annotated one.
        progress: Called with (done, total) videos.

    Raises:
        DataError: A file is missing or broken.
        MachineError: PyAV is not installed.
    """
    builder = _Builder("a2d-sentences")
    texts = _a2d_texts(_find(root, "a2d_annotation.txt"), notes=builder.notes)
    splits = _a2d_splits(_find(root, "videoset.csv"))
    masks = _find(root, "a2d_annotation_with_instances")
    videos_folder = _find(root, "CLIPS320", "clips320", "clips320H")
    for done, (name, queries) in enumerate(texts.items(), start=1):
        if name not in splits or not (masks / name).is_dir():
            builder.notes["videos without masks or a split, left out"] += 1
            continue
        files = {int(file.stem): file for file in sorted((masks / name).glob("*.h5"))}
        video = Video.open(videos_folder / f"{name}.mp4")
        wanted = {number + distance for number in files for distance in range(-window, window + 1)}
        last = max(wanted, default=0)
        for frame in video.frames():
            number = frame.index + 1
            if number in wanted:
                image = builder.add_image(f"{name}/{number:05d}.jpg", pixels=frame.pixels)
            if number in files:
                masks_of = _a2d_masks(files[number], size=frame.pixels.shape[:2])
                for instance, text in queries:
                    builder.add_ref(image, splits[name], masks_of.get(instance), text)
            if number >= last:
                break
        if progress:
            progress(done, len(texts))
    return builder.build()


def read_jhmdb(root: Path, *, window: int = WINDOW, progress: Progress | None = None) -> Dataset:
    """Reads JHMDB-Sentences, all of it in the split `test`, with its frames as files.

    Args:
        root: The folder of the published files.
        window: Frames that are kept before and after each annotated one.
        progress: Called with (done, total) frames.

    Raises:
        DataError: A file is missing or broken.
    """
    file = _find(root, "jhmdb_sentences_samples_metadata.json")
    try:
        samples = parse_json(file.read_text(encoding="utf-8"))
        entries = [(str(sample[0]), Path(str(sample[1])), str(sample[4])) for sample in samples]
    except (OSError, ValueError, IndexError, TypeError) as error:
        raise DataError(f"expected lists of video, frame, masks, frames, query in {file}: {error}") from error
    builder = _Builder("jhmdb-sentences")
    cached: tuple[Path, np.ndarray] | None = None
    for done, (video, frame, text) in enumerate(entries, start=1):
        # The file has absolute paths of the machine it was made on: only what follows the dataset's own folders counts.
        action = frame.parent.parent.name
        folder = root / "Rename_Images" / action / video
        where = root / "puppet_mask" / action / video / "puppet_mask.mat"
        if cached is None or cached[0] != where:
            cached = (where, _puppets(where))
        number = int(frame.stem) - 1
        mask = cached[1][..., number] > 0 if number < cached[1].shape[2] else None
        for near in range(number + 1 - window, number + 2 + window):
            path = folder / f"{near:05d}{frame.suffix}"
            if near != number + 1 and path.is_file():
                builder.add_image(f"{action}/{video}/{path.name}", path=path)
        image = builder.add_image(f"{action}/{video}/{frame.name}", path=folder / frame.name)
        builder.add_ref(image, "test", mask, text)
        if progress:
            progress(done, len(entries))
    return builder.build()


class _Builder:
    """Builds a dataset of images with actors."""

    def __init__(self, name: str) -> None:
        self.notes: Counter[str] = Counter()
        self.buffer = ImageBuffer()
        self.files: dict[int, ImageRecord] = {}
        self.annotations: dict[int, Annotation] = {}
        self.records: list[Record] = []
        self.name = name
        self._sizes: dict[int, tuple[int, int]] = {}
        self._numbers: dict[str, int] = {}

    def add_image(self, name: str, *, pixels: np.ndarray | None = None, path: Path | None = None) -> int:
        """Adds an image, from its pixels or its file, unless it was added before, and returns its id."""
        if name in self._numbers:
            return self._numbers[name]
        number = self._numbers.setdefault(name, len(self._sizes) + 1)
        data = None
        if pixels is not None:
            height, width = pixels.shape[:2]
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, "JPEG", quality=_QUALITY, subsampling=0)
            data = stream.getvalue()
        else:
            assert path is not None
            height, width = image_size(path)
        record = ImageRecord(image_id=number, file_name=name, height=height, width=width, path=path, data=data)
        if data is not None:
            self.buffer.add(record)
        else:
            self.files[number] = record
        self._sizes[number] = (height, width)
        return number

    def add_ref(self, image: int, split: str, mask: np.ndarray | None, text: str) -> None:
        """Adds an expression about an actor of an image, unless the actor has no mask there."""
        if mask is None or not mask.any():
            self.notes["actors without a mask in a frame, left out"] += 1
            return
        if mask.shape != self._sizes[image]:
            raise DataError(f"a mask of {mask.shape} in a frame of {self._sizes[image]} (height, width): {text!r}")
        sent = " ".join(text.lower().split())
        if not words_of(sent):
            self.notes["expressions without a word"] += 1
        number = len(self.records) + 1
        encoded = rle.encode(mask)
        self.annotations[number] = Annotation(
            annotation_id=number, image_id=image, category_id=_ACTOR, box=rle.box(encoded), mask=encoded
        )
        expression = Expression(sentence_id=number, raw=text, sent=sent, tokens=tuple(sent.split()))
        self.records.append(
            Record(ref_id=number, image_id=image, split=split, annotation_ids=(number,), expressions=(expression,))
        )

    def build(self) -> Dataset:
        """Returns the dataset."""
        return Dataset(
            name=self.name,
            split_by="published",
            categories={_ACTOR: "actor"},
            images=self.files or self.buffer,
            annotations=self.annotations,
            records=self.records,
            notes=dict(self.notes),
        )


def _find(root: Path, *names: str) -> Path:
    """Returns the file or folder of one of `names`, in `root` or in a folder below it."""
    for name in names:
        found = [root / name] if (root / name).exists() else sorted(root.glob(f"*/{name}"))
        if found:
            return found[0]
    raise DataError(f"expected {' or '.join(names)} in {root} or a folder in it, found none")


def _a2d_texts(file: Path, *, notes: Counter[str]) -> dict[str, list[tuple[int, str]]]:
    texts: dict[str, list[tuple[int, str]]] = {}
    for line, row in enumerate(_rows(file), start=1):
        if line == 1 and row[:2] == ["video_id", "instance_id"]:
            continue
        found = _INSTANCE.fullmatch(row[1]) if len(row) >= 3 else None
        if found is None:
            raise DataError(f"{file}, line {line}: expected video,instance,query, got {','.join(row)[:60]!r}")
        if found[2]:
            # The published file has a few such: further queries about the same instance.
            notes["instances marked as copies, taken for the instance"] += 1
        texts.setdefault(row[0].strip(), []).append((int(found[1]), row[2]))
    return texts


def _a2d_splits(file: Path) -> dict[str, str]:
    return {row[0].strip(): {"0": "train", "1": "test"}.get(row[-1].strip(), "other") for row in _rows(file) if row}


def _rows(file: Path) -> Iterator[list[str]]:
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            yield from csv.reader(lines)
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"cannot read {file}: {error}") from error


def _a2d_masks(file: Path, *, size: tuple[int, int]) -> dict[int, np.ndarray]:
    """Returns the masks (H, W) of a frame by instance."""
    try:
        with h5py.File(file, "r") as content:
            instances = [int(one) for one in np.asarray(content["instance"]).reshape(-1)]
            masks = np.asarray(content["reMask"])
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"cannot read the masks {file}: {error}") from error
    if masks.ndim == 2:
        masks = masks[None]
    # MATLAB wrote columns first.
    masks = masks.transpose(0, 2, 1) > 0
    if masks.shape != (len(instances), *size):
        raise DataError(f"{file}: expected masks {(len(instances), *size)}, got {masks.shape}")
    return dict(zip(instances, masks, strict=True))


def _puppets(file: Path) -> np.ndarray:
    from scipy.io import loadmat

    try:
        masks: Any = loadmat(file)["part_mask"]
    except (OSError, KeyError, ValueError, NotImplementedError) as error:
        raise DataError(f"cannot read the masks {file}: {error}") from error
    return np.asarray(masks)
