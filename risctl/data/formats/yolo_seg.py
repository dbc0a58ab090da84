"""Writes YOLO's segmentation labels: one ring an instance, in shares of the image's sides.

A ring can have neither parts nor holes: they are joined by two-way bridges between nearest corners, which costs a few
pixels. Phrases have no place in the format; `phrases.jsonl` beside keeps them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np

from risctl.data.formats.annotated import AnnotatedImage, decoded
from risctl.output_files import OutputFiles
from risctl.vision import rle
from risctl.vision.polygons import outlines


def write_yolo_seg(images: Iterable[AnnotatedImage], folder: Path, outputs: OutputFiles) -> list[Path]:
    """Writes `labels/NAME.txt`, `data.yaml` and `phrases.jsonl`, which has one line for each line of labels.

    The images belong into `images/` beside `labels/`, where the tools that read the format look for them.
    """
    categories: dict[str, int] = {}
    phrases, written = [], []
    for image in images:
        lines: list[str] = []
        for one in image.masks:
            if not rle.area(one.mask):
                continue
            number = categories.setdefault(one.category, len(categories))
            line = f"{number} {_shares(ring(decoded(one)), image)}"
            if line in lines:  # readers drop a second line of the same class and box
                continue
            lines.append(line)
            phrases.append(
                {
                    "file_name": image.file_name,
                    "line": len(lines),
                    "phrases": list(one.phrases),
                    "ref_id": one.ref_id,
                    "sent_ids": list(one.sentence_ids),
                    "score": one.score,
                }
            )
        path = folder / "labels" / PurePosixPath(image.file_name).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        outputs.write_text(path, "".join(f"{line}\n" for line in lines))
        written.append(path)
    names = "".join(f"  {number}: {_quoted(name)}\n" for name, number in categories.items()) or "  0: target\n"
    outputs.write_text(folder / "data.yaml", f"path: .\ntrain: images\nval: images\nnames:\n{names}")
    outputs.write_json_lines(folder / "phrases.jsonl", phrases)
    return [*written, folder / "data.yaml", folder / "phrases.jsonl"]


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
    import json

    return json.dumps(name, ensure_ascii=False)
