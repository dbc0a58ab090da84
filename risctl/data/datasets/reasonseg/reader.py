"""Reads ReasonSeg as published: `SPLIT/NAME.jpg` with `NAME.json`, its polygons drawn as LISA draws them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from risctl.data.datasets.image_folders import size_of
from risctl.data.datasets.problems import OnMissing, Problems
from risctl.data.ignored import IGNORED
from risctl.data.records import Annotation, Dataset, Expression, ImageRecord, Record
from risctl.errors import DataError
from risctl.json_text import parse_json
from risctl.language.tokens import words_of
from risctl.vision import rle
from risctl.vision.outline_fill import fill_outlined

SPLITS = ("train", "val", "test")
TARGET_VALUE, IGNORED_VALUE = 1, 255
LONG, SHORT = "long query", "short query"
"""ReasonSeg's two kinds of query, a sentence (a question) or a short phrase."""

_MAX_BYTES = 2**24
_MAX_COORDINATE = 10**6
_TARGET, _IGNORED = 1, 2
_PER_IMAGE = 100
"""Sentence ids of an image: this many times its number, plus the place of the sentence."""


def read_reasonseg(
    root: Path,
    *,
    split_by: str | None = None,
    images: Path | None = None,
    on_missing: OnMissing = "refuse",
    progress: Callable[[int, int | None], None] | None = None,
) -> Dataset:
    """Reads ReasonSeg: those of train, val and test that are there.

    An image is one ref with all of its sentences; LISA evaluates the first. What its annotation says to ignore is kept
    as a crowd annotation of the category `IGNORED`, which `risctl.data.ignored` finds.

    Args:
        root: The folder with `train`, `val` and `test`, or the one above.
        split_by: None; there is one way.
        images: None; images lie beside their annotations.
        on_missing: Whether images that cannot be used are refused or left out.
        progress: Called with (done, all) images.

    Raises:
        DataError: The files are not there or broken; of losses, their number and the first few are named.
    """
    del split_by, images
    folders = _folders(root)
    files = [(split, file) for split, folder in folders.items() for file in sorted(folder.glob("*.json"))]
    if not files:
        raise DataError(f"{root} holds no annotations of ReasonSeg; expected SPLIT/NAME.json beside SPLIT/NAME.jpg")
    problems = Problems()
    images_read: dict[int, ImageRecord] = {}
    annotations: dict[int, Annotation] = {}
    records: list[Record] = []
    for number, (split, file) in enumerate(files, start=1):
        read = _read(file, split=split, number=number, problems=problems)
        if read is not None:
            images_read[number] = read.image
            annotations |= {one.annotation_id: one for one in read.annotations}
            records.append(read.record)
        if progress is not None:
            progress(number, len(files))
    if on_missing == "refuse":
        problems.refuse_losses("ReasonSeg")
    if not records:
        raise DataError(f"nothing is left of ReasonSeg's {len(files)} images in {root}")
    return Dataset(
        name="reasonseg",
        split_by="",
        categories={_TARGET: "target", _IGNORED: IGNORED},
        images=images_read,
        annotations=annotations,
        records=records,
        notes=problems.notes(),
    )


def label_map(annotation: Any, *, height: int, width: int) -> np.ndarray:
    """Returns what LISA makes of an annotation, uint8 (H, W): 1 is the target, 255 is ignored, 0 the rest.

    Points are cut off to whole pixels; a shape is its outline and what is inside, by OpenCV's rule. The largest shape
    is drawn first, so that smaller ones lie above it, whatever their label. Shapes labelled `flag` are left out.

    Args:
        annotation: The JSON of an image.
        height: Height of the image.
        width: Its width.

    Raises:
        DataError: A shape is not one.
    """
    shapes = annotation.get("shapes") if isinstance(annotation, dict) else None
    if not isinstance(shapes, list):
        raise DataError("expected an object with a list of shapes")
    drawn = []
    for shape in shapes:
        label = shape.get("label") if isinstance(shape, dict) else None
        if not isinstance(label, str):
            raise DataError(f"expected a shape with a label, got {shape!r:.60}")
        if "flag" in label.lower():
            continue
        mask = fill_outlined(_points(shape.get("points")), height=height, width=width)
        drawn.append((mask, IGNORED_VALUE if "ignore" in label.lower() else TARGET_VALUE))
    found = np.zeros((height, width), dtype=np.uint8)
    for mask, value in sorted(drawn, key=lambda one: -int(np.count_nonzero(one[0]))):
        found[mask] = value
    return found


def _folders(root: Path) -> dict[str, Path]:
    for folder in (root, root / "ReasonSeg"):
        found = {split: folder / split for split in SPLITS if (folder / split).is_dir()}
        if found:
            return found
    raise DataError(f"{root} has no folder train, val or test; name the folder of ReasonSeg's files with --from")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """An image with its annotations and its sentences."""

    image: ImageRecord
    annotations: list[Annotation]
    record: Record


def _read(file: Path, *, split: str, number: int, problems: Problems) -> _Read | None:
    path = file.with_suffix(".jpg")
    name = f"{split}/{path.name}"
    size = size_of(path, annotated=None, problems=problems)
    if size is None:
        return None
    height, width = size
    try:
        annotation = _parsed(file)
        texts = list(_texts(annotation))
        values = label_map(annotation, height=height, width=width)
    except DataError as error:
        problems.lose("images whose annotation cannot be used", f"{split}/{file.name}: {error}")
        return None
    found = [
        _annotation(values == value, number=number, category=category)
        for category, value in ((_TARGET, TARGET_VALUE), (_IGNORED, IGNORED_VALUE))
        if (values == value).any()
    ]
    own = tuple(one.annotation_id for one in found if one.category_id == _TARGET)
    if not own:
        problems.repair("images without a pixel of a target, kept as no-target", name)
    kind = LONG if annotation.get("is_sentence") else SHORT
    expressions = tuple(
        Expression(
            sentence_id=_PER_IMAGE * number + place,
            raw=text,
            sent=text,
            tokens=tuple(words_of(text)),
            abilities=(kind,),
        )
        for place, text in enumerate(texts)
    )
    return _Read(
        image=ImageRecord(image_id=number, file_name=name, height=height, width=width, path=path),
        annotations=found,
        record=Record(ref_id=number, image_id=number, split=split, annotation_ids=own, expressions=expressions),
    )


def _annotation(mask: np.ndarray, *, number: int, category: int) -> Annotation:
    encoded = rle.encode(mask)
    return Annotation(
        annotation_id=2 * number + category - 1,
        image_id=number,
        category_id=category,
        box=rle.box(encoded),
        mask=encoded,
        crowd=category == _IGNORED,
    )


def _parsed(file: Path) -> Any:
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise DataError(f"it is larger than {_MAX_BYTES:,} bytes")
        data = file.read_bytes()
    except OSError as error:
        raise DataError(str(error.strerror or error)) from error
    # As published, some files are in Windows' encoding of Western languages.
    for encoding in ("utf-8", "cp1252"):
        try:
            return parse_json(data.decode(encoding))
        except UnicodeDecodeError:
            continue
        except ValueError as error:
            raise DataError(f"it is not JSON ({error})") from error
    raise DataError("it is neither UTF-8 nor cp1252")


def _texts(annotation: Any) -> Iterator[str]:
    texts = annotation.get("text") if isinstance(annotation, dict) else None
    if isinstance(texts, str):
        texts = [texts]
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise DataError(f"expected text, a list of sentences; got {texts!r:.60}")
    if len(texts) >= _PER_IMAGE:
        raise DataError(f"{len(texts)} sentences of one image are too many")
    yield from (text.strip() for text in texts)


def _points(points: Any) -> list[tuple[int, int]]:
    found = []
    for point in points if isinstance(points, list) else [points]:
        try:
            x, y = (int(value) for value in point)
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(f"a shape is a list of points x, y; got {point!r:.40}") from error
        if max(abs(x), abs(y)) > _MAX_COORDINATE:
            raise DataError(f"a shape's points are pixels; got {point!r:.40}")
        found.append((x, y))
    return found
