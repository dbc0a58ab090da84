"""Reads the published matrices of class vectors (word_w2v_withbg_48_17.txt, word_w2v_withbg_65_15.txt).

Each line holds one dimension, each column one class after background's, in the order of the split, separated by commas.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from risctl.errors import DataError
from risctl.language.coco_classes import SPLITS
from risctl.language.vector_files import Table

_ORDERS = {1 + len(split.seen) + len(split.unseen): (*split.seen, *split.unseen) for split in SPLITS.values()}
_MAX_LINE = 1 << 14
BACKGROUND = "<background>"
"""The name of the first column among words: the mean over all 80 classes, whichever the split."""


def is_class_matrix(path: Path) -> bool:
    """Returns whether a file begins as such a matrix does: 66 or 81 numbers separated by commas."""
    if path.suffix != ".txt":
        return False
    with path.open("rb") as file:
        fields = file.readline(_MAX_LINE).split(b",")
    try:
        return len([float(field) for field in fields]) in _ORDERS
    except ValueError:
        return False


def read_matrix(path: Path) -> np.ndarray:
    """Reads a matrix of class vectors as it stands, float32 (D, classes + 1).

    Raises:
        DataError: The file holds no such matrix.
    """
    try:
        lines = path.read_text(encoding="utf-8").replace(",", " ").splitlines()
        matrix = np.array([[float(number) for number in line.split()] for line in lines if line.strip()], np.float32)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path} as class vectors: {error}") from error
    if matrix.ndim != 2 or not np.isfinite(matrix).all():
        raise DataError(f"{path} holds no matrix of finite numbers")
    return matrix


def read_class_table(path: Path) -> Table:
    """Reads the classes of a matrix as words, with `BACKGROUND` last.

    Names of several words are joined as in word2vec: "traffic_light".

    Raises:
        DataError: The file holds no such matrix.
    """
    matrix = read_matrix(path)
    order = _ORDERS.get(matrix.shape[1])
    if order is None:
        raise DataError(f"expected {' or '.join(map(str, _ORDERS))} columns in {path}, got {matrix.shape[1]}")
    words = (*(name.replace(" ", "_") for name in order), BACKGROUND)
    return Table(words=words, vectors=np.roll(matrix, -1, axis=1).T.copy())
