"""Questions about boxes as a file: JSON Lines, a picture a line.

    {"aspect": 1.333, "boxes": [[x1, y1, x2, y2], …], "kinds": [0, 56, …],
     "phrases": [{"text": "man on left", "targets": [0], "colours": []}, …]}

Corners are shares of the picture's sides, kinds the indices of COCO's 80 classes in their order (-1: unknown), targets
the indices of the boxes meant, colours those that the phrase says of them (null: it names colours of something else).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from risctl.data.box_grounding import UNKNOWN, BoxPicture, BoxQuestion
from risctl.errors import DataError
from risctl.files import replacing


def write_questions(path: Path, questions: Iterable[BoxQuestion]) -> int:
    """Write `questions` to `path`, whole or not at all, and return the number of pictures."""
    pictures: dict[int, tuple[BoxPicture, list[BoxQuestion]]] = {}
    for one in questions:
        pictures.setdefault(id(one.picture), (one.picture, []))[1].append(one)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as beside, beside.open("w", encoding="utf-8") as file:
        for picture, own in pictures.values():
            phrases = [
                {
                    "text": one.text,
                    "targets": [int(target) for target in one.targets],
                    "colours": None if one.colours is None else list(one.colours),
                }
                for one in own
            ]
            row = {
                "aspect": round(picture.aspect, 6),
                "boxes": [[round(float(value), 5) for value in box] for box in picture.corners],
                "kinds": [int(kind) for kind in picture.kinds],
                "phrases": phrases,
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return len(pictures)


def read_questions(path: Path, *, classes: int) -> list[BoxQuestion]:
    """Return the questions of the file `path`. Raises `DataError` naming the line that is not as above."""
    questions = []
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    try:
                        questions.extend(_of_row(json.loads(line), classes=classes))
                    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
                        raise DataError(
                            f"{path}, line {number}: expected the boxes and phrases of a picture; {error!s:.120}"
                        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}; `risctl prepare box-phrases` writes such a file") from error
    return questions


def _of_row(row: Any, *, classes: int) -> list[BoxQuestion]:
    corners = np.array(row["boxes"], dtype=np.float32).reshape(-1, 4)
    kinds = np.array(row["kinds"], dtype=np.int64).reshape(-1)
    aspect = float(row["aspect"])
    if len(kinds) != len(corners):
        raise ValueError(f"{len(corners)} boxes have {len(kinds)} kinds")
    if not (np.isfinite(corners).all() and (corners >= 0).all() and (corners <= 1).all()):
        raise ValueError("corners are shares of the picture's sides, from 0 to 1")
    if ((kinds < UNKNOWN) | (kinds >= classes)).any():
        raise ValueError(f"kinds are -1 to {classes - 1}")
    if not 0 < aspect < 1e4:
        raise ValueError(f"no picture has the aspect {aspect}")
    picture = BoxPicture(corners=corners, kinds=kinds, aspect=aspect)
    questions = []
    for phrase in row["phrases"]:
        targets = tuple(int(target) for target in phrase["targets"])
        if any(not 0 <= target < len(kinds) for target in targets):
            raise ValueError(f"targets {list(targets)} of {len(kinds)} boxes")
        text, colours = phrase["text"], phrase.get("colours", [])
        if not isinstance(text, str):
            raise ValueError("a text is a string")
        questions.append(
            BoxQuestion(
                picture=picture,
                text=text,
                targets=targets,
                colours=None if colours is None else tuple(str(one) for one in colours),
            )
        )
    return questions
