"""Reads the blobs of a binary `.caffemodel` without Caffe (format: caffe.proto)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from risctl.weights.protobuf import Field, fields, message, numbers

# caffe.proto: NetParameter.layer and BlobProto's fields.
_LAYER, _NAME, _BLOBS = 100, 1, 7
_MOST = 10_000
"""Blobs in a file: a model has a few hundred, and empty ones take a hundred times their bytes."""
_OLD_SHAPE, _DATA, _SHAPE, _DOUBLES = (1, 2, 3, 4), 5, 7, 8


def read_caffemodel(path: Path) -> dict[str, np.ndarray]:
    """Returns `{"layer/number": blob}`, float32, in the file's order.

    Raises:
        ValueError: The file is no caffemodel.
        OverflowError: A number in it is too large for its type.
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
            if len(blobs) + len(arrays) > _MOST:
                raise ValueError(f"it holds more than {_MOST:,} arrays")
        arrays.update((f"{name}/{index}", blob) for index, blob in enumerate(blobs))
    if not arrays:
        raise ValueError("it holds no layer with weights")
    return arrays


def _blob(data: bytes) -> np.ndarray:
    shape: list[int] = []
    old: dict[int, int] = {}
    values: list[np.ndarray] = []
    single = {_DATA: bytearray(), _DOUBLES: bytearray()}  # of numbers that are not packed: a field each
    for number, value in fields(data):
        if number == _SHAPE:
            shape += [size for inner, sizes in fields(message(value)) if inner == 1 for size in numbers(sizes)]
        elif number in _OLD_SHAPE and isinstance(value, int):
            old[number] = value
        elif number in (_DATA, _DOUBLES) and isinstance(value, int):
            single[number] += value.to_bytes(4 if number == _DATA else 8, "little")
        elif number in (_DATA, _DOUBLES):
            values.append(_floats((number, value)))
    values += [_floats((number, bytes(one))) for number, one in single.items() if one]
    flat = np.concatenate(values) if values else np.zeros(0, dtype=np.float32)
    if not shape and old:
        shape = [old.get(axis, 1) for axis in _OLD_SHAPE]
    return flat.reshape(shape) if shape else flat


def _floats(field: Field) -> np.ndarray:
    number, value = field
    return np.frombuffer(message(value), dtype="<f4" if number == _DATA else "<f8").astype(np.float32, copy=False)
