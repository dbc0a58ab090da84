"""Reads the blobs of a binary `.caffemodel` without Caffe (format: caffe.proto)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from risctl.weights.protobuf import Field, fields, message, numbers

# caffe.proto: NetParameter.layer and BlobProto's fields.
_LAYER, _NAME, _BLOBS = 100, 1, 7
_OLD_SHAPE, _DATA, _SHAPE, _DOUBLES = (1, 2, 3, 4), 5, 7, 8


def read_caffemodel(path: Path) -> dict[str, np.ndarray]:
    """Returns `{"layer/number": blob}`, float32, in the file's order.

    Raises:
        ValueError: The file is no caffemodel.
    """
    arrays: dict[str, np.ndarray] = {}
    for number, value in fields(path.read_bytes()):
        if number != _LAYER:
            continue
        name, blobs = "", []
        for inner, part in fields(message(value)):
            if inner == _NAME:
                name = message(part).decode("utf-8")
            elif inner == _BLOBS:
                blobs.append(_blob(message(part)))
        arrays.update((f"{name}/{index}", blob) for index, blob in enumerate(blobs))
    if not arrays:
        raise ValueError("it holds no layer with weights")
    return arrays


def _blob(data: bytes) -> np.ndarray:
    shape: list[int] = []
    old: dict[int, int] = {}
    values = []
    for number, value in fields(data):
        if number == _SHAPE:
            shape += [size for inner, sizes in fields(message(value)) if inner == 1 for size in numbers(sizes)]
        elif number in _OLD_SHAPE and isinstance(value, int):
            old[number] = value
        elif number in (_DATA, _DOUBLES):
            values.append(_floats((number, value)))
    flat = np.concatenate(values) if values else np.zeros(0, dtype=np.float32)
    if not shape and old:
        shape = [old.get(axis, 1) for axis in _OLD_SHAPE]
    return flat.reshape(shape) if shape else flat


def _floats(field: Field) -> np.ndarray:
    number, value = field
    kind = "<f4" if number == _DATA else "<f8"
    if isinstance(value, int):  # not packed: a number a field
        return np.array([value], dtype="<u4" if number == _DATA else "<u8").view(kind).astype(np.float32)
    return np.frombuffer(value, dtype=kind).astype(np.float32)
