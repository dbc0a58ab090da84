"""Encodes masks as COCO run-length encodings, the form in which masks are stored and compared.

An `RLE` is the compressed form of pycocotools with its counts as text, `{"size": [height, width], "counts": "…"}`,
which can be written to JSON unchanged. Masks are bool (H, W); boxes are `(x, y, width, height)` in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, TypedDict

import numpy as np
from pycocotools import mask as coco_mask

from risctl.errors import DataError

_FEW_RUNS = 256  # up to so many runs are filled one by one
_LONG_TO_CHECK = 100  # from so many characters on, numpy checks counts faster than a loop
_LONGEST_RUN = 6  # characters of a run at most: pycocotools shifts further into undefined behaviour
_LONG_COUNTS = 2_000  # from so many characters of counts on, pycocotools decodes faster


class RLE(TypedDict):
    """A run-length encoded mask of `size` [height, width], in column-major order, with COCO's compressed counts."""

    size: list[int]
    counts: str


def encode(mask: np.ndarray) -> RLE:
    """Encodes a mask (H, W), set where it is not 0."""
    if mask.ndim != 2:
        raise ValueError(f"a mask is (H, W); got shape {mask.shape}")
    return _text(coco_mask.encode(np.asfortranarray(mask.astype(bool).astype(np.uint8))))


def encode_patch(patch: np.ndarray, *, x: int, y: int, height: int, width: int) -> RLE:
    """Encodes a mask of `height` x `width` that is False outside a patch, in time proportional to the patch.

    Args:
        patch: The mask within the patch, bool (h, w).
        x: Column of the patch's left edge.
        y: Row of its top edge.
        height: Height of the whole mask.
        width: Width of the whole mask.
    """
    tall, wide = patch.shape
    if not (0 <= x <= width - wide and 0 <= y <= height - tall):
        raise ValueError(f"a patch of {tall}x{wide} at ({x}, {y}) is not within {height}x{width}")
    padded = np.zeros((wide, tall + 2), dtype=np.int8)
    padded[:, 1:-1] = patch.T
    columns, rows = np.nonzero(np.diff(padded, axis=1))
    # In a column changes come in pairs: where a run begins, and after where it ends.
    changes = (x + columns) * height + y + rows
    # A run that ends at the foot of a column goes on at the head of the next.
    joined = np.flatnonzero(changes[1:-1:2] == changes[2::2]) * 2 + 1
    changes = np.delete(changes, np.concatenate([joined, joined + 1]))
    counts = np.diff(np.concatenate([[0], changes, [height * width]])).tolist()
    if not counts[-1]:
        counts.pop()
    return _text(coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width))


def decode(rle: RLE) -> np.ndarray:
    """Decodes `rle` to a mask, bool (H, W), in column-major (Fortran) order in memory."""
    if len(rle["counts"]) > _LONG_COUNTS:
        return coco_mask.decode(_packed(rle)).view(bool)
    return _filled(rle["size"], runs(rle))


def decode_checked(rle: RLE) -> np.ndarray | None:
    """Decodes `rle` as `decode` does; returns None unless `is_sound`. It takes less time than both."""
    lengths = _sound_runs(rle)
    if lengths is None:
        return None
    return decode(rle) if len(rle["counts"]) > _LONG_COUNTS else _filled(rle["size"], lengths)


def _filled(size: Sequence[int], lengths: np.ndarray) -> np.ndarray:
    # pycocotools writes pixel by pixel, which takes two to five times as long.
    height, width = size
    if len(lengths) > _FEW_RUNS and lengths.min() >= 0 and lengths.sum() == height * width:
        return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape((height, width), order="F")
    # The few runs of most instance masks are filled faster one by one.
    pixels = np.zeros(height * width, dtype=bool)
    ends = lengths.cumsum().tolist()
    for start, stop in zip(ends[::2], ends[1::2]):
        pixels[start:stop] = True
    return pixels.reshape((height, width), order="F")


def runs(rle: RLE) -> np.ndarray:
    """Returns the run lengths of `rle`, int64 (N,), in column-major order, alternating unset and set pixels.

    The encoding is described in `_run_total`; malformed counts give meaningless numbers.
    """
    codes = np.frombuffer(rle["counts"].encode("ascii"), dtype=np.uint8).astype(np.int64) - 48
    if not len(codes):
        return codes
    ends = np.flatnonzero(codes & 32 == 0)
    return _run_lengths(codes, ends) if len(ends) else ends


def _run_lengths(codes: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Returns the run lengths of codes, int64; `ends` are the places of the last ones of each run."""
    lengths = np.diff(ends, prepend=-1)
    starts = ends - lengths + 1
    shifts = 5 * (np.arange(ends[-1] + 1) - starts.repeat(lengths))
    found = np.add.reduceat((codes[: ends[-1] + 1] & 31) << shifts, starts)
    found -= np.where(codes[ends] & 16, 1 << (5 * lengths), 0)
    found[1::2] = found[1::2].cumsum()
    found[2::2] = found[2::2].cumsum()
    return found


def is_sound(rle: RLE) -> bool:
    """Returns whether the counts of `rle` are well formed and cover its size, which is positive, exactly.

    It says what `check` says of the counts, in less time where they are long.
    """
    if len(rle["counts"]) < _LONG_TO_CHECK:
        return _run_total(rle["counts"]) == math.prod(rle["size"])
    return _sound_runs(rle) is not None


def _sound_runs(rle: RLE) -> np.ndarray | None:
    """Returns the run lengths; None unless they are well formed and cover the size."""
    if not rle["counts"].isascii():
        return None
    codes = np.frombuffer(rle["counts"].encode("ascii"), dtype=np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(codes & 32 == 0)
    if not len(ends) or ends[-1] != len(codes) - 1 or codes.min() < 0 or codes.max() >= 64:
        return None
    if ends[0] >= _LONGEST_RUN or np.diff(ends).max(initial=0) > _LONGEST_RUN:
        return None
    # None is above `pixels`, so that neither these sums nor those of differences can overflow unnoticed.
    lengths, pixels = _run_lengths(codes, ends), math.prod(rle["size"])
    sound = lengths.min() >= 0 and lengths.max() <= pixels and lengths.sum() == pixels
    return lengths if sound else None


def area(rle: RLE) -> int:
    """Returns the number of set pixels."""
    return int(coco_mask.area(_packed(rle)))


def box(rle: RLE) -> tuple[float, float, float, float]:
    """Returns the tight box (x, y, width, height) in pixels; zeros for an empty mask."""
    x, y, width, height = coco_mask.toBbox(_packed(rle)).tolist()
    return x, y, width, height


def empty(height: int, width: int) -> RLE:
    """Returns the RLE of an all-False mask."""
    return encode(np.zeros((height, width), dtype=bool))


def union(rles: Sequence[RLE]) -> RLE:
    """Returns the union of one or more masks of one size. Raises `ValueError` if there is none, or sizes differ."""
    if not rles:
        raise ValueError("the union of no masks has no size")
    for rle in rles[1:]:
        _check_same_size(rles[0], rle)
    return _text(coco_mask.merge([_packed(rle) for rle in rles], intersect=False))


def overlap(first: RLE, second: RLE) -> tuple[int, int]:
    """Returns (intersection, union) in pixels of two masks of one size, without decoding them."""
    _check_same_size(first, second)
    shared = int(coco_mask.area(coco_mask.merge([_packed(first), _packed(second)], intersect=True)))
    return shared, area(first) + area(second) - shared


def ious(first: Sequence[RLE], second: Sequence[RLE]) -> np.ndarray:
    """Returns the IoU of each mask of `first` with each of `second`, float64 (N, M); of two empty masks it is 0.

    Raises:
        ValueError: Sizes differ.
    """
    if not first or not second:
        return np.zeros((len(first), len(second)))
    for mask in (*first, *second):
        _check_same_size(first[0], mask)
    return np.asarray(
        coco_mask.iou([_packed(one) for one in first], [_packed(one) for one in second], [0] * len(second))
    ).reshape(len(first), len(second))


def from_segmentation(
    segmentation: Any, *, height: int, width: int, overlaps: Literal["object", "background"] = "object"
) -> RLE:
    """Converts a COCO `segmentation` to an RLE.

    Several polygons are united, as COCO does; the original REFER `getMask` sums them instead, and codebases differ on
    what the value 2 then means.

    Args:
        segmentation: Polygons, an uncompressed RLE, a compressed RLE, or a list of RLEs.
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        overlaps: What pixels that several polygons, or several RLEs of a list, cover are: part of the object, or
            background, as where LAVT and others compare REFER's sum with 1.

    Raises:
        DataError: It is malformed: fewer than three points, numbers that are not finite, runs that do not fill the
            image.
    """
    if isinstance(segmentation, dict):
        return _from_one(segmentation, height=height, width=width)
    if not isinstance(segmentation, list) or not segmentation:
        raise DataError(f"a segmentation is a list of polygons or an RLE; got {_short(segmentation)}")
    if all(isinstance(part, dict) for part in segmentation):
        parts = [_from_one(part, height=height, width=width) for part in segmentation]
        if overlaps == "background" and len(parts) > 1:
            return _covered_once([_packed(part) for part in parts])
        return union(parts)
    polygons = [_checked_polygon(part) for part in segmentation]
    filled = coco_mask.frPyObjects(polygons, height, width)
    if overlaps == "background" and len(filled) > 1:
        return _covered_once(filled)
    return _text(coco_mask.merge(filled, intersect=False))


def _covered_once(packed: list[dict[str, Any]]) -> RLE:
    return _text(coco_mask.encode(np.asfortranarray(coco_mask.decode(packed).sum(axis=2) == 1).view(np.uint8)))


def rescaled(polygons: Sequence[Sequence[float]], *, height: int, width: int, size: tuple[int, int]) -> RLE:
    """Rasterises polygons after they were brought to another size, as detectron2's dataset mappers do.

    Args:
        polygons: Lists x, y, … of at least three points each; they are united.
        height: Height of the image that they are of, in pixels.
        width: Its width.
        size: (height, width) of the mask.

    Raises:
        DataError: A polygon is malformed.
    """
    across, down = size[1] * 1.0 / width, size[0] * 1.0 / height
    scaled = []
    for polygon in polygons:
        points = np.array(_checked_polygon(list(polygon)))
        points[0::2] *= across
        points[1::2] *= down
        scaled.append(points.tolist())
    if not scaled:
        return empty(*size)
    return _text(coco_mask.merge(coco_mask.frPyObjects(scaled, *size), intersect=False))


def _checked_polygon(part: Any) -> list[float]:
    if not isinstance(part, list) or len(part) < 6 or len(part) % 2:
        raise DataError(f"a polygon is a list of at least three x, y pairs; got {_short(part)}")
    try:
        points = [float(value) for value in part]
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"a polygon holds numbers; got {_short(part)}") from error
    if not all(-1e6 <= value <= 1e6 for value in points):  # of NaN neither is true
        raise DataError(f"a polygon's numbers are finite pixels; got {_short(part)}")
    return points


def _from_one(part: dict[str, Any], *, height: int, width: int) -> RLE:
    size = part.get("size")
    if not isinstance(size, list | tuple) or list(size) != [height, width]:
        raise DataError(f"an RLE of size {part.get('size')} does not fit an image of {height}x{width} (height x width)")
    counts = part.get("counts")
    if isinstance(counts, list):
        if any(not isinstance(run, int) or run < 0 for run in counts) or sum(counts) != height * width:
            raise DataError(f"the runs of an RLE do not fill {height}x{width}: {_short(counts)}")
        return _text(coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width))
    if isinstance(counts, bytes):
        counts = counts.decode("ascii", errors="replace")
    mask: RLE | None = {"size": [height, width], "counts": counts} if isinstance(counts, str) else None
    if mask is None or not is_sound(mask):
        raise DataError(f"the counts of an RLE do not fill {height}x{width}: {_short(counts)}")
    return mask


def _run_total(counts: str) -> int:
    """Returns how many pixels compressed `counts` cover, or -1 if they are malformed.

    pycocotools does not check this and reads or writes past its buffers when they do not fit. Each run is written in
    groups of 5 bits, least significant first, offset by 48; from the fourth run on, what is stored is the difference
    to the run two before (`rleToString` in pycocotools' maskApi.c).
    """
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift >= 5 * _LONGEST_RUN:
            return -1
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        if len(runs) > 2:
            value += runs[-2]
        if value < 0:
            return -1
        runs.append(value)
        value = shift = 0
    return -1 if shift else sum(runs)


def check(rle: RLE) -> None:
    """Raises `DataError` unless `rle` is well formed; call it on anything read from outside before decoding it."""
    size = rle.get("size")
    sides = list(size) if isinstance(size, list | tuple) else []
    if len(sides) != 2 or not all(isinstance(side, int) and 0 <= side < 2**31 for side in sides):
        raise DataError(f"the size of an RLE is [height, width]; got {_short(size)}")
    height, width = sides
    _from_one(dict(rle), height=height, width=width)


def _check_same_size(first: RLE, second: RLE) -> None:
    # pycocotools would answer with a mask of 0 x 0.
    if list(first["size"]) != list(second["size"]):
        raise ValueError(f"masks differ in size: {first['size']} and {second['size']}")


def _packed(rle: RLE) -> dict[str, Any]:
    return {"size": list(rle["size"]), "counts": rle["counts"].encode("ascii")}


def _text(packed: dict[str, Any]) -> RLE:
    return {"size": [int(side) for side in packed["size"]], "counts": packed["counts"].decode("ascii")}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
