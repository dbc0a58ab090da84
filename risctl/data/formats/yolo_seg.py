"""Writes and reads YOLO's segmentation labels: one ring an instance, in shares of the image's sides.

A ring can have neither parts nor holes: they are joined by two-way bridges between nearest corners. They cost a few
pixels where a reader draws the outline too, and none where pixels count by their centres, as here. Phrases have no
place in the format; `phrases.jsonl` beside keeps them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from risctl.data.formats.annotated import PHRASES, AnnotatedImage, decoded, phrase_row
from risctl.data.formats.found import Found, FoundObject, FoundProblem, images_by_stem, phrase_rows, read_file
from risctl.errors import DataError
from risctl.output_files import OutputFiles
from risctl.vision import rle
from risctl.vision.polygons import fill, outlines

_BEYOND = 1.01
"""Shares above this are refused, as by the tools that train on the format."""


def write_yolo_seg(images: Iterable[AnnotatedImage], folder: Path, outputs: OutputFiles) -> list[Path]:
    """Writes `labels/NAME.txt`, `data.yaml` and `phrases.jsonl`, whose rows name a line of labels each, 0 for nothing.

    The images belong into `images/` beside `labels/`, where the tools that read the format look for them.
    """
    categories: dict[str, int] = {}
    phrases, written = [], []
    for image in images:
        lines: list[str] = []
        for one in image.masks:
            place = 0
            if rle.area(one.mask):
                number = categories.setdefault(one.category, len(categories))
                line = f"{number} {_shares(ring(decoded(one)), image)}"
                if line not in lines:  # readers drop a second line of the same class and box
                    lines.append(line)
                place = lines.index(line) + 1
            phrases.append(phrase_row(image, one, line=place))
        path = folder / "labels" / PurePosixPath(image.file_name).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        outputs.write_text(path, "".join(f"{line}\n" for line in lines))
        written.append(path)
    names = "".join(f"  {number}: {_quoted(name)}\n" for name, number in categories.items()) or "  0: target\n"
    outputs.write_text(folder / "data.yaml", f"path: .\ntrain: images\nval: images\nnames:\n{names}")
    outputs.write_json_lines(folder / PHRASES, phrases)
    return [*written, folder / "data.yaml", folder / PHRASES]


def ring(mask: np.ndarray) -> np.ndarray:
    """Returns one closed ring (N, 2) of x, y in pixels around all parts and holes of a mask that is not empty."""
    rings = [np.array(one, dtype=np.float64).reshape(-1, 2) for one in outlines(mask, holes=True)]
    # The longest is the outline of a part; the others are joined to what is there, the nearest first.
    rings.sort(key=len, reverse=True)
    whole = rings.pop(0)
    while rings:
        pairs = [_nearest(whole, other) for other in rings]
        place = int(np.argmin([pair[0] for pair in pairs]))
        _, here, there = pairs[place]
        other = rings.pop(place)
        turned = np.concatenate([other[there:], other[: there + 1]])
        whole = np.concatenate([whole[: here + 1], turned, whole[here:]])
    return whole


def _nearest(one: np.ndarray, other: np.ndarray) -> tuple[float, int, int]:
    distances = ((one[:, None] - other[None]) ** 2).sum(2)
    here, there = np.unravel_index(int(distances.argmin()), distances.shape)
    return float(distances[here, there]), int(here), int(there)


def _shares(points: np.ndarray, image: AnnotatedImage) -> str:
    # Readers cut off to whole pixels: six decimals could lose one.
    shares = points / np.array([image.width, image.height])
    return " ".join(f"{value:.9f}".rstrip("0").rstrip(".") for value in shares.reshape(-1).tolist())


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


def read_yolo_seg(folder: Path, images: Path) -> Iterator[Found]:
    """Reads `labels/**/NAME.txt`, with the phrases of `phrases.jsonl` and the classes of `data.yaml`.

    A line without a phrase is an object that is only there. Pixels count by their centres.
    """
    names, labels = _class_names(folder / "data.yaml"), folder / "labels"
    rows: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for found in phrase_rows(folder):
        if isinstance(found, FoundProblem):
            yield found
        else:
            rows.setdefault(str(PurePosixPath(found[1]["file_name"]).with_suffix("")), []).append(found)
    stems: dict[str, str] | None = None
    for path in sorted(labels.rglob("*.txt")):
        stem = path.relative_to(labels).with_suffix("").as_posix()
        own = rows.pop(stem, [])
        if own:
            image = own[0][1]["file_name"]
        else:
            stems = images_by_stem(images) if stems is None else stems
            if stem not in stems:
                yield FoundProblem(message=f"no picture {stem} in {images}", file=f"labels/{stem}.txt")
                continue
            image = stems[stem]
        yield from _labelled(path, image, own, names, file=f"labels/{stem}.txt")
    for stem, lost in rows.items():
        yield FoundProblem(message=f"there is no labels/{stem}.txt", file=PHRASES, line=lost[0][0])


def _labelled(
    path: Path, image: str, rows: list[tuple[int, dict[str, Any]]], names: dict[int, str], *, file: str
) -> Iterator[Found]:
    lines = read_file(path).decode("utf-8", errors="replace").splitlines()
    named: set[int] = set()
    for number, row in rows:
        line = row.get("line")
        if type(line) is not int or not 0 <= line <= len(lines):
            yield FoundProblem(
                message=f"line: expected a line of {file}, or 0, got {line!r:.40}", file=PHRASES, line=number
            )
            continue
        named.add(line)
        texts = tuple(row["phrases"])
        yield _object(lines[line - 1] if line else None, image, texts, names, file=file, line=line or 1)
    for line, text in enumerate(lines, start=1):
        if line not in named and text.strip():
            yield _object(text, image, (), names, file=file, line=line)


def _object(
    text: str | None, image: str, texts: tuple[str, ...], names: dict[int, str], *, file: str, line: int
) -> Found:
    if text is None:
        return FoundObject(image=image, phrases=texts, mask=None, file=file, line=line)
    try:
        values = [float(value) for value in text.split()]
        shares = np.array(values[1:]).reshape(-1, 2)
        if len(shares) < 3 or not np.isfinite(shares).all() or shares.min() < 0 or shares.max() > _BEYOND:
            raise ValueError("expected a class and at least three points from 0 to 1")
        category = int(values[0])
    except (ValueError, IndexError, OverflowError) as error:
        return FoundProblem(message=f"cannot be read as a polygon: {error}"[:200], file=file, line=line)
    return FoundObject(
        image=image, phrases=texts, mask=partial(_filled, shares), category=names.get(category), file=file, line=line
    )


def _filled(shares: np.ndarray, height: int, width: int) -> rle.RLE:
    return rle.encode(fill([shares * (width, height)], height=height, width=width))


def _class_names(path: Path) -> dict[int, str]:
    """Returns the names of the classes by number; without the file, or without names in it, none."""
    import yaml

    if not path.is_file():
        return {}
    try:
        data = yaml.safe_load(read_file(path))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is not YAML: {' '.join(str(error).split())[:200]}") from error
    names = data.get("names") if isinstance(data, dict) else None
    pairs = names.items() if isinstance(names, dict) else enumerate(names) if isinstance(names, list) else ()
    return {number: str(name) for number, name in pairs if isinstance(number, int)}
