"""Records what mini's detector finds in pictures whose boxes are known, for `data.box_grounding.records`.

    python tools/detector_records.py MODEL IMAGES coco2017_boxes.npz data/detector-records.npz --exclude evaluated.txt

IMAGES is a folder of COCO pictures named by their ids, of any size: their boxes come as shares of the sides. Pictures
squashed into squares are shown to the detector as 4:3, or as 3:4 where it recognises more that way.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.data.box_grounding.records import RecordArrays
from risctl.data.box_grounding.samples import ImageBoxes
from risctl.data.datasets.coco_phrases.generate import read_ids
from risctl.inference.encoded_image import encode, prepare
from risctl.systems.base import System
from risctl.systems.protocols import as_box_grounder
from risctl.training.box_grounding_dataset import boxes_of_image
from risctl.vision.images import read_image
from risctl.weights.npz import read_npz

_SIDES = ((480, 640), (640, 480))  # (height, width) of 3:4 and of 4:3
_RECOGNISED = 0.25


def main() -> int:
    """Parses the command line and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("images", type=Path)
    parser.add_argument("boxes", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--exclude", type=Path)
    parser.add_argument("--limit", type=int, default=1500)
    arguments = parser.parse_args()
    if arguments.out.exists():
        sys.exit(f"{arguments.out} exists already; delete it or name another file")
    system = load_checkpoint(arguments.model).system.eval()
    exclude = set() if arguments.exclude is None else read_ids(arguments.exclude)
    rows = list(_records(system, arguments.images, arguments.boxes, exclude=exclude, limit=arguments.limit))
    if not rows:
        sys.exit(f"no picture of {arguments.images} has boxes in {arguments.boxes}")
    _arrays(rows).write(arguments.out)
    print(f"wrote {arguments.out}: {len(rows)} pictures")
    return 0


def _records(
    system: System, folder: Path, boxes_file: Path, *, exclude: set[int], limit: int
) -> Iterator[tuple[np.ndarray, np.ndarray, ImageBoxes]]:
    """Yields the annotated corners and classes of each picture, and what the detector finds."""
    arrays = read_npz(boxes_file, what="boxes of COCO's pictures")
    ids, kinds, centred = arrays["image_id"], arrays["cls80"].astype(np.int64), arrays["cxcywh"].astype(np.float32)
    corners = np.concatenate([centred[:, :2] - centred[:, 2:] / 2, centred[:, :2] + centred[:, 2:] / 2], 1).clip(0, 1)
    files = sorted(folder.iterdir())
    done = 0
    for index in np.random.default_rng(0).permutation(len(files)).tolist():
        match = re.search(r"(\d{6,12})", files[index].stem)
        if match is None or int(match.group(1)) in exclude or done == limit:
            continue
        start, end = np.searchsorted(ids, [int(match.group(1)), int(match.group(1)) + 1])
        if start == end:
            continue
        pixels = read_image(files[index])
        best: tuple[float, ImageBoxes] | None = None
        for height, width in _SIDES[::-1] if pixels.shape[0] == pixels.shape[1] else (pixels.shape[:2],):
            found = _detect(system, pixels, height=height, width=width)
            quality = _quality(found, corners[start:end], kinds[start:end])
            if best is None or quality > best[0]:
                best = quality, found
            if quality >= _RECOGNISED:
                break
        if best is not None:
            done += 1
            yield corners[start:end], kinds[start:end], best[1]


@torch.inference_mode()
def _detect(system: System, pixels: np.ndarray, *, height: int, width: int) -> ImageBoxes:
    shown = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float()
    shown = torch.nn.functional.interpolate(shown, size=(height, width), mode="bicubic", antialias=True)
    image = shown[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy()
    encoded = encode(system, prepare(system.preprocess, image))
    return boxes_of_image(as_box_grounder(system).boxes_of(encoded.features))


def _quality(found: ImageBoxes, corners: np.ndarray, kinds: np.ndarray) -> float:
    """Returns how well the detections fit the annotated boxes: the mean overlap with one of the right class."""
    if not len(found):
        return 0.0
    low = np.maximum(corners[:, None, :2], found.corners[None, :, :2])
    high = np.minimum(corners[:, None, 2:], found.corners[None, :, 2:])
    shared = (high - low).clip(min=0).prod(-1)
    areas = [(one[:, 2:] - one[:, :2]).prod(-1) for one in (corners, found.corners)]
    overlaps = shared / (areas[0][:, None] + areas[1][None] - shared).clip(min=1e-9)
    right = overlaps * (kinds[:, None] == found.category_ids[None]) * (overlaps > 0.5)
    return float(right.max(1).mean())


def _arrays(rows: list[tuple[np.ndarray, np.ndarray, ImageBoxes]]) -> RecordArrays:
    found = [row[2] for row in rows]

    def joined(name: str, kind: str) -> np.ndarray:
        return np.concatenate([getattr(boxes, name) for boxes in found]).astype(kind)

    return RecordArrays(
        aspect=np.array([boxes.aspect for boxes in found], dtype=np.float32),
        true_start=np.cumsum([0, *(len(row[0]) for row in rows)]),
        true_corners=np.concatenate([row[0] for row in rows]).astype(np.float16),
        true_classes=np.concatenate([row[1] for row in rows]).astype(np.uint8),
        found_start=np.cumsum([0, *map(len, found)]),
        corners=joined("corners", "float16"),
        first=joined("category_ids", "uint8"),
        second=joined("second_category_ids", "uint8"),
        share=joined("category_share", "float16"),
        confidence=joined("confidence", "float16"),
        appearance=joined("appearance", "float16"),
    )


if __name__ == "__main__":
    sys.exit(main())
