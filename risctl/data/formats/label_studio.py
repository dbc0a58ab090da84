"""Writes Label Studio's tasks: one a phrase, its mask as a brush, shown by `<Text value="$phrase">`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from risctl.data.formats.annotated import AnnotatedImage, AnnotatedMask, decoded
from risctl.data.formats.json_file import write_json
from risctl.output_files import OutputFiles
from risctl.vision import rle

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
