"""Writes and reads labelme's JSON: one file an image, its masks as crops (`shape_type: "mask"`, since labelme 5.4)."""

from __future__ import annotations

import base64
import contextlib
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from risctl.data.formats.annotated import AnnotatedImage, AnnotatedMask, crop_box, decoded
from risctl.data.formats.found import Found, FoundObject, FoundProblem, one_line, read_json, texts_of
from risctl.data.formats.json_file import write_json
from risctl.errors import DataError
from risctl.output_files import OutputFiles
from risctl.vision import rle

VERSION = "5.4.0"
NO_TARGET = "no_target"
"""The key of phrases of nothing that is in the image."""


def write_labelme(images: Iterable[AnnotatedImage], folder: Path, outputs: OutputFiles) -> list[Path]:
    """Writes `NAME.json` an image; the phrase is the description of its shape, several are lines of it.

    Images are expected where `images/` beside the folder has them.
    """
    written = []
    for image in images:
        path = folder / PurePosixPath(image.file_name).with_suffix(".json")
        data: dict[str, Any] = {
            "version": VERSION,
            "flags": {},
            "shapes": [shape(one) for one in image.masks if rle.area(one.mask)],
            # labelme keeps top-level keys that it does not know.
            NO_TARGET: [text for one in image.masks if not rle.area(one.mask) for text in one.phrases],
            "imagePath": "/".join([".."] * len(PurePosixPath(image.file_name).parts) + ["images", image.file_name]),
            "imageData": None,
            "imageHeight": image.height,
            "imageWidth": image.width,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, data, outputs)
        written.append(path)
    return written


def shape(one: AnnotatedMask) -> dict[str, Any]:
    """Returns the shape of a mask that is not empty: first and last pixel, inclusive, and the crop as a 1-bit PNG."""
    mask = decoded(one)
    left, top, width, height = crop_box(mask)
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(mask[top : top + height, left : left + width])).save(stream, "PNG")
    return {
        "label": one.category,
        "points": [[left, top], [left + width - 1, top + height - 1]],
        "group_id": None,
        "description": "\n".join(map(one_line, one.phrases)),
        "shape_type": "mask",
        "flags": {},
        "mask": base64.b64encode(stream.getvalue()).decode("ascii"),
    }


def read_labelme(folder: Path, images: Path) -> Iterator[Found]:
    """Reads the files of a folder and of those below it. Shapes of one `group_id` are parts of one object.

    Polygons, rectangles and circles are drawn as labelme draws them, with their outline.
    """
    files = [folder] if folder.is_file() else sorted(folder.rglob("*.json"))
    base = folder.parent if folder.is_file() else folder
    for path in files:
        file = path.relative_to(base).as_posix()
        try:
            data = read_json(path)
        except DataError as error:
            yield FoundProblem(message=str(error), file=file)
            continue
        if not isinstance(data, dict) or not isinstance(data.get("shapes"), list):
            yield FoundProblem(message="is no file of labelme: it has no list of shapes", file=file)
            continue
        yield from _objects(data, file=file, image=_image_of(data, path, base=base, images=images))


def _image_of(data: dict[str, Any], path: Path, *, base: Path, images: Path) -> str:
    """Returns the file below `images` of a labelme file: where `imagePath` leads to, else beside the file itself."""
    stated = str(data.get("imagePath") or path.with_suffix(".jpg").name).replace("\\", "/")
    led = Path(os.path.normpath(path.parent / stated))
    beside = (path.relative_to(base).parent / PurePosixPath(stated).name).as_posix()
    with contextlib.suppress(ValueError, OSError):
        below = led.relative_to(os.path.normpath(images)).as_posix()
        return below if led.is_file() or not (images / beside).is_file() else beside
    return beside


def _objects(data: dict[str, Any], *, file: str, image: str) -> Iterator[Found]:
    height, width = data.get("imageHeight"), data.get("imageWidth")
    size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
    groups: dict[Any, list[dict[str, Any]]] = {}
    for number, one in enumerate(data["shapes"]):
        if not isinstance(one, dict) or one.get("shape_type", "polygon") not in _DRAWN:
            kind = one.get("shape_type") if isinstance(one, dict) else one
            yield FoundProblem(message=f"shapes[{number}]: expected {', '.join(_DRAWN)}, got {kind!r:.40}", file=file)
            continue
        group = one.get("group_id")
        groups.setdefault((one.get("label"), group) if isinstance(group, int) else number, []).append(one)
    for shapes in groups.values():
        described = (texts_of(one.get("description")) for one in shapes)
        yield FoundObject(
            image=image,
            phrases=next((texts for texts in described if texts), ()),
            mask=partial(_united, shapes),
            category=str(shapes[0]["label"]) if shapes[0].get("label") else None,
            size=size,
            file=file,
        )
    absent = data.get(NO_TARGET)
    for text in absent if isinstance(absent, list) else ():
        yield FoundObject(image=image, phrases=(str(text),), mask=None, size=size, file=file)


def _united(shapes: Sequence[dict[str, Any]], height: int, width: int) -> rle.RLE:
    whole = np.zeros((height, width), dtype=bool)
    for one in shapes:
        try:
            _DRAWN[one.get("shape_type", "polygon")](one, whole)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"a shape of labelme cannot be read: {error}") from error
    return rle.encode(whole)


def _draw_mask(one: dict[str, Any], whole: np.ndarray) -> None:
    (left, top), (right, bottom) = ((int(x), int(y)) for x, y in _points(one))
    data = base64.b64decode(one["mask"], validate=True)
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as crop:
            if crop.size != (right - left + 1, bottom - top + 1) or crop.mode not in ("1", "L", "P"):
                raise ValueError(f"the mask has {crop.width}x{crop.height} pixels of mode {crop.mode}")
            if left < 0 or top < 0 or bottom >= whole.shape[0] or right >= whole.shape[1]:
                raise ValueError("the mask lies outside of the picture")
            whole[top : bottom + 1, left : right + 1] |= np.asarray(crop) != 0
    except ValueError:
        raise
    except Exception as error:  # decoders raise almost anything on damaged data
        raise ValueError(f"the mask is no PNG ({error})") from error


def _draw(one: dict[str, Any], whole: np.ndarray) -> None:
    points = _points(one)
    kind = one.get("shape_type", "polygon")
    if (kind == "polygon" and len(points) < 3) or (kind != "polygon" and len(points) != 2):
        raise ValueError(f"a {kind} has {len(points)} points")
    canvas = Image.new("1", (whole.shape[1], whole.shape[0]))
    draw = ImageDraw.Draw(canvas)
    if kind == "circle":
        (x, y), (to_x, to_y) = points
        radius = float(np.hypot(to_x - x, to_y - y))
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], outline=1, fill=1)
    elif kind == "rectangle":
        (x, y), (to_x, to_y) = points
        draw.rectangle([min(x, to_x), min(y, to_y), max(x, to_x), max(y, to_y)], outline=1, fill=1)
    else:
        draw.polygon(points, outline=1, fill=1)
    whole |= np.asarray(canvas)


def _points(one: dict[str, Any]) -> list[tuple[float, float]]:
    points = [(float(x), float(y)) for x, y in one["points"]]
    if not np.isfinite(points).all() or np.abs(points).max(initial=0) > _FARTHEST:
        raise ValueError("its points are no pixels")
    return points


_FARTHEST = 1e6
_DRAWN = {"mask": _draw_mask, "polygon": _draw, "rectangle": _draw, "circle": _draw}
