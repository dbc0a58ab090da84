"""Writes and reads Label Studio's tasks: one a phrase, its mask as a brush, shown by `<Text value="$phrase">`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import numpy as np

from risctl.data.formats.annotated import AnnotatedImage, AnnotatedMask, decoded
from risctl.data.formats.found import Found, FoundObject, FoundProblem, image_below, read_json
from risctl.data.formats.json_file import write_json
from risctl.errors import DataError
from risctl.output_files import OutputFiles
from risctl.vision import rle
from risctl.vision.polygons import fill

CONFIG = """<View>
  <Text name="phrase" value="$phrase"/>
  <Image name="image" value="$image"/>
  <BrushLabels name="mask" toName="image">
    <Label value="target"/>
  </BrushLabels>
</View>
"""
"""The labelling interface that the tasks fit."""

IMAGES = "/data/local-files/?d=images/"
"""Where Label Studio serves local files from; put the folder of images below its document root."""

_RUN_BITS = (3, 4, 8, 16)
"""Bits of a run's length, by the size index that is written before it."""


def write_label_studio(images: Iterable[AnnotatedImage], folder: Path, outputs: OutputFiles) -> list[Path]:
    """Writes `tasks.json` and `config.xml`. Annotations are annotations, what has a score is a prediction."""
    tasks = [_task(image, one, phrase) for image in images for one in image.masks for phrase in one.phrases]
    write_json(folder / "tasks.json", tasks, outputs)
    outputs.write_text(folder / "config.xml", CONFIG)
    return [folder / "tasks.json", folder / "config.xml"]


def brush(mask: np.ndarray) -> list[int]:
    """Returns Label Studio's run lengths of a mask (H, W): a stream of bits, as bytes.

    The content is RGBA by rows, 255 in all four channels where the mask is set. The stream holds the number of values
    (32 bits), the bits of a value less one (5), the bits of the four sizes of runs less one (4 each); then for each run
    whether its values are equal (1), the index of its size (2), its length less one, and the value, or all of them.
    """
    values = mask.reshape(-1)
    changes = np.flatnonzero(values[1:] != values[:-1]) + 1
    starts = np.concatenate([[0], changes])
    lengths = np.diff(np.concatenate([starts, [values.size]])) * 4
    bits = [f"{values.size * 4:032b}", f"{8 - 1:05b}", *(f"{size - 1:04b}" for size in _RUN_BITS)]
    longest = 1 << _RUN_BITS[-1]
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        value = "11111111" if values[start] else "00000000"
        while length:
            part = min(length, longest)
            index = next(place for place, size in enumerate(_RUN_BITS) if part <= 1 << size)
            bits.append(f"1{index:02b}{part - 1:0{_RUN_BITS[index]}b}{value}")
            length -= part
    stream = "".join(bits)
    stream += "0" * (-len(stream) % 8)
    return list(int(stream, 2).to_bytes(len(stream) // 8, "big")) if stream else []


def _task(image: AnnotatedImage, one: AnnotatedMask, phrase: str) -> dict[str, Any]:
    result = []
    if rle.area(one.mask):
        result = [
            {
                "id": "mask",
                "type": "brushlabels",
                "from_name": "mask",
                "to_name": "image",
                "original_width": image.width,
                "original_height": image.height,
                "image_rotation": 0,
                "value": {"format": "rle", "rle": brush(decoded(one)), "brushlabels": ["target"]},
            }
        ]
    task: dict[str, Any] = {
        "data": {"image": f"{IMAGES}{quote(image.file_name)}", "phrase": phrase, "image_id": image.image_id}
    }
    if one.score is None:
        task["annotations"] = [{"result": result}]
    else:
        task["predictions"] = [{"model_version": "risctl", "score": min(1.0, max(0.0, one.score)), "result": result}]
    return task


def read_label_studio(path: Path, images: Path) -> Iterator[Found]:
    """Reads the tasks of an export as JSON: one object a task, its brushes, polygons and boxes united.

    Of a task that was annotated the first annotation counts that was not cancelled, else the first prediction. A task
    without a mask is a phrase of nothing.

    Raises:
        DataError: The file is no list of tasks.
    """
    file = path / "tasks.json" if path.is_dir() else path
    tasks = read_json(file)
    if not isinstance(tasks, list):
        raise DataError(f"{file} holds no list of tasks; export them as JSON")
    for number, task in enumerate(tasks, start=1):
        try:
            yield _read_task(task, images)
        except ValueError as error:
            yield FoundProblem(message=f"task {number:,}: {error}")


def _read_task(task: Any, images: Path) -> FoundObject:
    data = task.get("data") if isinstance(task, dict) else None
    if not isinstance(data, dict) or not isinstance(data.get("image"), str) or not isinstance(data.get("phrase"), str):
        raise ValueError('expected an object with data: {"image": …, "phrase": …}')
    address = urlsplit(data["image"])
    name = parse_qs(address.query).get("d", [unquote(address.path)])[0]
    below = image_below(images, name)
    if below is None:
        raise ValueError(f"there is no picture {name!r:.80} in {images}")
    answers = [one for key in ("annotations", "predictions") for one in _dicts(task.get(key))]
    result = next((one.get("result") for one in answers if not one.get("was_cancelled")), None)
    if result is None:
        raise ValueError("it has no annotation and no prediction")
    shapes = [one for one in _dicts(result) if one.get("type") in _SHAPES]
    image_id = data.get("image_id")
    return FoundObject(
        image=below,
        phrases=(data["phrase"],),
        mask=partial(_united, shapes) if shapes else None,
        image_id=image_id if type(image_id) is int else None,
    )


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _united(shapes: Sequence[dict[str, Any]], height: int, width: int) -> rle.RLE:
    whole = np.zeros((height, width), dtype=bool)
    try:
        for one in shapes:
            if one.get("image_rotation", 0):
                raise ValueError("the picture was turned while it was annotated")
            whole |= _SHAPES[one["type"]](one["value"], height, width)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise DataError(f"a result of Label Studio cannot be read: {error}") from error
    return rle.encode(whole)


def unbrush(data: Sequence[int], *, height: int, width: int) -> np.ndarray:
    """Returns the mask, bool (height, width), of Label Studio's run lengths; see `brush`.

    Raises:
        ValueError: They are damaged, or of an image of another size.
    """
    bits = "".join(f"{byte:08b}" for byte in bytes(data))
    count, place = int(bits[:32] or "0", 2), 53
    if count != height * width * 4 or int(bits[32:37] or "0", 2) != 7:
        raise ValueError(f"a brush has {count:,} values; {width}x{height} pixels have {height * width * 4:,}")
    sizes = [int(bits[start : start + 4], 2) + 1 for start in range(37, 53, 4)]
    values: list[int] = []
    lengths: list[int] = []
    filled = 0
    while filled < count:
        equal, size = bits[place : place + 1], sizes[int(bits[place + 1 : place + 3] or "0", 2)]
        place += 3
        length = int(bits[place : place + size] or "0", 2) + 1
        place += size
        many = 1 if equal == "1" else length
        if place + 8 * many > len(bits):
            raise ValueError("a brush ends before its picture is filled")
        values += [int(bits[start : start + 8], 2) for start in range(place, place + 8 * many, 8)]
        lengths += [length] if equal == "1" else [1] * length
        place += 8 * many
        filled += length
    if filled != count:
        raise ValueError("a brush has more values than its picture")
    alpha = np.repeat(np.array(values, dtype=np.uint8), lengths)[3::4]
    return alpha.reshape(height, width) > 127


def _brush_mask(value: dict[str, Any], height: int, width: int) -> np.ndarray:
    if value.get("format") != "rle":
        raise ValueError(f"expected a brush of the format rle, got {value.get('format')!r:.40}")
    return unbrush(value["rle"], height=height, width=width)


def _polygon_mask(value: dict[str, Any], height: int, width: int) -> np.ndarray:
    points = np.array([[float(x), float(y)] for x, y in value["points"]]).reshape(-1, 2)
    return _filled(points * (width / 100, height / 100), height, width)


def _rectangle_mask(value: dict[str, Any], height: int, width: int) -> np.ndarray:
    x, y = float(value["x"]) * width / 100, float(value["y"]) * height / 100
    wide, tall = float(value["width"]) * width / 100, float(value["height"]) * height / 100
    turn = math.radians(float(value.get("rotation") or 0))  # about the top left corner
    across, down = np.array([math.cos(turn), math.sin(turn)]), np.array([-math.sin(turn), math.cos(turn)])
    corners = np.array([0 * across, wide * across, wide * across + tall * down, tall * down])
    return _filled(corners + np.array([x, y]), height, width)


def _filled(points: np.ndarray, height: int, width: int) -> np.ndarray:
    if not np.isfinite(points).all() or np.abs(points).max(initial=0) > 1e6:
        raise ValueError("its points are no shares of the picture")
    return fill([points], height=height, width=width)


_SHAPES: dict[str, Callable[[dict[str, Any], int, int], np.ndarray]] = {
    "brushlabels": _brush_mask,
    "brush": _brush_mask,
    "polygonlabels": _polygon_mask,
    "polygon": _polygon_mask,
    "rectanglelabels": _rectangle_mask,
    "rectangle": _rectangle_mask,
}
