r"""Measures mini's chooser over the instances of other detectors, on real expressions with pixels.

    python benchmarks/chooser.py refcoco_val_pixels --nanodet-m nanodet_m.onnx \
        --boxes refcoco_eval/eval_boxes.json --records data/detector-records.npz --json chooser.json

For each finder, box P@.5 of two answers: the finder's surest box of the category that the head noun names, and the box
that the chooser chooses; their difference is paired, the intervals are from resampled images. "found" is the share of
expressions whose true box is among the instances. Finders:

- nanodet-plus: the detector within the mini that comes with risctl, by its best category alone;
- nanodet-m: NanoDet-m (416 pixels, ONNX, needs onnxruntime), whose boxes mini's chooser has never been trained on;
- true boxes: all annotated boxes (`--boxes`), each certain, with its true category; the "surest" is the largest;
- true boxes with noise: each annotated box becomes what the detector of `--records` (`tools/detector_records.py`) made
  of one of its class and size in another picture, with its offset, category, score and doubles, or is missed, and false
  boxes come with it. `--draws` pictures of each are drawn, and a figure is their mean.

Colours are read from the pixels in all of them. The folder is that of `benchmarks/mini_pixels.py`. Takes some minutes
on one core.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mini_pixels import _ID, overlap

from risctl.core.heads.roi_ops import nms
from risctl.data.box_grounding.records import DetectorRecords, read_records
from risctl.data.box_grounding.samples import BoxGroundingSample, ImageBoxes
from risctl.data.datasets.refcoco_boxes import COCO_INDEX
from risctl.inference.encoded_image import encode, prepare
from risctl.language.coco_classes import CLASSES
from risctl.models.chooser import Chooser, load_chooser
from risctl.models.instances import Instances
from risctl.models.nouns import categories_of
from risctl.vision.images import read_image

_NAMES = tuple(CLASSES[number] for number in sorted(CLASSES))
_SIDE, _STRIDES, _BINS = 416, (8, 16, 32), 8
_MEAN, _STD = np.array([103.53, 116.28, 123.675]), np.array([57.375, 57.12, 58.395])
_LEAST, _MOST = 0.05, 40
_EVEN_SCORE, _SLOPE = 0.4, 11.0  # at which an instance is there as probably as not, and how fast that grows: as in mini

Finder = Callable[[np.ndarray, int], Instances]
"""Takes an image and its id."""


def main() -> int:
    """Runs the measurements, prints and writes them; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--nanodet-m", type=Path)
    parser.add_argument("--boxes", type=Path, help="all boxes of the images, by their ids")
    parser.add_argument("--records", type=Path, help="what a detector finds in other pictures (needs --boxes)")
    parser.add_argument("--draws", type=int, default=5, help="how often the noise is drawn")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.records is not None and arguments.boxes is None:
        parser.error("--records needs the boxes that the noise is put on: --boxes")
    torch.set_num_threads(1)
    chooser = load_chooser()
    rows = json.loads((arguments.folder / "expressions.json").read_text(encoding="utf-8"))
    pictures = dict(_pictures(arguments.folder, rows))
    finders: dict[str, Sequence[Finder]] = {"nanodet-plus": [of_mini(chooser)]}
    if arguments.nanodet_m is not None:
        finders["nanodet-m"] = [NanoDetM(arguments.nanodet_m)]
    if arguments.boxes is not None:
        true = _true_boxes(arguments.boxes, pictures)
        finders["true boxes"] = [lambda _, image: _as_instances(true[image])]
        if arguments.records is not None:
            records = read_records(arguments.records, classes=len(_NAMES))
            finders["true boxes with noise"] = [_Noisy(true, records, seed) for seed in range(arguments.draws)]
    report: dict[str, Any] = {"expressions": len(rows), "images": len(pictures)}
    for name, some in finders.items():
        report[name] = _figures(np.mean([_right(one, chooser, rows, pictures) for one in some], 0), rows)
        print(f"{name:21} {json.dumps(report[name])}", flush=True)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


def _pictures(folder: Path, rows: list[dict[str, Any]]) -> list[tuple[int, np.ndarray]]:
    sizes = {int(row["image_id"]): (int(row["height"]), int(row["width"])) for row in rows}
    files = {int(match.group(1)): path for path in (folder / "images").iterdir() if (match := _ID.search(path.stem))}
    found = []
    for image, size in sizes.items():
        pixels = torch.from_numpy(np.ascontiguousarray(read_image(files[image]))).permute(2, 0, 1)[None].float()
        resized = torch.nn.functional.interpolate(pixels, size=size, mode="bicubic", antialias=True)
        found.append((image, resized.round().clamp(0, 255)[0].permute(1, 2, 0).byte().numpy()))
    return found


def _right(
    finder: Finder,
    chooser: Chooser,
    rows: list[dict[str, Any]],
    pictures: Mapping[int, np.ndarray],
) -> np.ndarray:
    """Returns whether the surest box, the chosen one, and any box is the true one, of each expression: (N, 3)."""
    right = np.zeros((len(rows), 3), dtype=bool)
    for image, pixels in pictures.items():
        instances = finder(pixels, image)
        index = [number for number, row in enumerate(rows) if int(row["image_id"]) == image]
        if not len(instances):
            continue
        encoded = chooser.encode(instances, pixels, even_score=_EVEN_SCORE)
        sides = np.array([pixels.shape[1], pixels.shape[0]] * 2)
        areas = (instances.boxes[:, 2:] - instances.boxes[:, :2]).prod(1)
        for number in index:
            good = np.array([overlap(box / sides, rows[number]) > 0.5 for box in instances.boxes])
            wanted = categories_of(rows[number]["text"], _NAMES)
            fits = [row for row, name in enumerate(instances.names) if name in wanted]
            # Of boxes that are equally sure, the largest.
            surest = max(fits, key=lambda row: (instances.scores[row], areas[row]), default=None)
            _, chosen, _ = chooser.choose(encoded, rows[number]["text"])
            right[number] = surest is not None and good[surest], good[chosen[0]], good.any()
    return right


def _figures(right: np.ndarray, rows: list[dict[str, Any]]) -> dict[str, Any]:
    images = np.array([int(row["image_id"]) for row in rows])
    measured = {"surest": right[:, 0], "chooser": right[:, 1], "difference": right[:, 1] - right[:, 0]}
    return {
        **{
            name: [round(100 * value, 1) for value in (float(values.mean()), *_interval(values, images))]
            for name, values in measured.items()
        },
        "found": round(100 * float(right[:, 2].mean()), 1),
    }


def _interval(values: np.ndarray, images: np.ndarray, *, resamples: int = 1000) -> tuple[float, float]:
    """Returns the 95% interval of the mean of `values`, images drawn with replacement."""
    _, group = np.unique(images, return_inverse=True)
    sums, counts = np.bincount(group, weights=values), np.bincount(group)
    drawn = np.random.default_rng(0).integers(0, len(sums), (resamples, len(sums)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def of_mini(chooser: Chooser) -> Finder:
    """Returns the detector of mini as a finder like any other: its boxes, and the best category of each."""
    system = chooser.system

    @torch.inference_mode()
    def find(pixels: np.ndarray, _: int) -> Instances:
        features: Any = encode(system, prepare(system.preprocess, pixels)).features
        valid = features.detections.mask[0]
        best = features.detections.scores[0][valid].max(1)
        sides = torch.tensor([pixels.shape[1], pixels.shape[0]] * 2)
        return _best(features.boxes.corners[0][valid] * sides, best.values, best.indices)

    return find


def _best(boxes: torch.Tensor, scores: torch.Tensor, classes: torch.Tensor) -> Instances:
    order = scores.argsort(descending=True, stable=True)[:_MOST]
    return Instances(
        boxes=boxes[order].float().numpy(),
        scores=scores[order].float().numpy(),
        names=tuple(_NAMES[int(number)] for number in classes[order]),
    )


def _true_boxes(path: Path, pictures: Mapping[int, np.ndarray]) -> dict[int, tuple[ImageBoxes, np.ndarray]]:
    """Returns the annotated boxes of the images, with the sides (width, height, width, height) that they are given in.

    The largest come first, since no more than 40 are chosen among.
    """
    annotated = json.loads(path.read_text(encoding="utf-8"))
    found = {}
    for image, pixels in pictures.items():
        listed = sorted(annotated[str(image)]["boxes"], key=lambda box: -box[3] * box[4])
        values = np.array(listed, dtype=np.float32).reshape(-1, 5)
        sides = np.array([annotated[str(image)][side] for side in ("width", "height")] * 2, dtype=np.float32)
        corners = np.concatenate([values[:, 1:3], values[:, 1:3] + values[:, 3:]], 1) / sides
        kinds = np.array([COCO_INDEX[int(category)] for category in values[:, 0]], dtype=np.int64)
        boxes = ImageBoxes(corners=corners.clip(0, 1), category_ids=kinds, aspect=float(sides[0] / sides[1]))
        found[image] = boxes, np.array([pixels.shape[1], pixels.shape[0]] * 2, dtype=np.float32)
    return found


def _as_instances(true: tuple[ImageBoxes, np.ndarray]) -> Instances:
    boxes, sides = true
    if boxes.confidence is None:
        scores = np.ones(len(boxes), dtype=np.float32)
    else:
        share = boxes.confidence.clip(1e-6, 1 - 1e-6)
        scores = (np.log(share / (1 - share)) / _SLOPE + _EVEN_SCORE).clip(0, 1).astype(np.float32)
    order = np.argsort(-scores, kind="stable")[:_MOST]
    return Instances(
        boxes=(boxes.corners * sides).astype(np.float32)[order],
        scores=scores[order],
        names=tuple(_NAMES[int(boxes.category_ids[row])] for row in order),
    )


class _Noisy:
    """Annotated boxes as a detector would have found them."""

    def __init__(self, true: Mapping[int, tuple[ImageBoxes, np.ndarray]], records: DetectorRecords, seed: int) -> None:
        self._true, self._records, self._generator = true, records, np.random.default_rng(seed)

    def __call__(self, pixels: np.ndarray, image: int) -> Instances:
        boxes, sides = self._true[image]
        # Without a target nothing is forced to be found.
        noisy = self._records(BoxGroundingSample(boxes=boxes, text="it", targets=()), self._generator)
        return _as_instances((noisy.boxes, sides))


class NanoDetM:
    """NanoDet-m's ONNX file: class scores and distributions of the four distances, at three strides."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def __call__(self, pixels: np.ndarray, image: int = 0) -> Instances:
        """Returns the 40 surest boxes in an RGB image, uint8 (H, W, 3)."""
        height, width = pixels.shape[:2]
        values = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
        square = torch.nn.functional.interpolate(values, size=(_SIDE, _SIDE), mode="bilinear", align_corners=False)
        inputs = (square[0].permute(1, 2, 0).numpy()[..., ::-1] - _MEAN) / _STD
        name = self._session.get_inputs()[0].name
        outputs = self._session.run(None, {name: inputs.transpose(2, 0, 1)[None].astype(np.float32)})
        boxes, scores = [], []
        for stride, classes, distances in zip(_STRIDES, outputs[:3], outputs[3:], strict=True):
            cells = _SIDE // stride
            rows, columns = np.divmod(np.arange(cells * cells), cells)
            centres = np.stack([columns, rows, columns, rows], 1) * stride + (stride - 1) / 2
            shares = np.exp(distances[0].reshape(-1, 4, _BINS))
            spans = (shares / shares.sum(-1, keepdims=True)) @ np.arange(_BINS) * stride
            boxes.append(centres + spans * np.array([-1, -1, 1, 1]))
            scores.append(classes[0])
        corners = torch.from_numpy(np.concatenate(boxes)).float().clamp(0, _SIDE)
        best = torch.from_numpy(np.concatenate(scores)).max(1)
        kept = torch.nonzero(best.values > _LEAST)[:, 0]
        kept = kept[nms(corners[kept], best.values[kept], 0.6)]
        scale = torch.tensor([width, height] * 2) / _SIDE
        return _best(corners[kept] * scale, best.values[kept], best.indices[kept])


if __name__ == "__main__":
    sys.exit(main())
