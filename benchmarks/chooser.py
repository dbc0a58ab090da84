r"""Measures mini's chooser over the instances of other detectors, on real expressions with pixels.

    python benchmarks/chooser.py refcoco_val_pixels --nanodet-m nanodet_m.onnx --json chooser.json

For each finder, box P@.5 of two answers: the finder's surest box of the category that the head noun names, and the box
that the chooser chooses; their difference is paired, its interval from resampled images. "found" is the share of
expressions whose true box is among the instances. Finders:

- nanodet-plus: the detector within the mini that comes with risctl, by its best category alone;
- nanodet-m: NanoDet-m (416 pixels, ONNX, needs onnxruntime), whose boxes mini's chooser has never been trained on.

The folder is that of `benchmarks/mini_pixels.py`. Takes some minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mini_pixels import _ID, overlap

from risctl.core.heads.roi_ops import nms
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
_EVEN_SCORE = 0.4  # at which an instance is there as probably as not, as in mini

Finder = Callable[[np.ndarray], Instances]


def main() -> int:
    """Runs the measurements, prints and writes them; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--nanodet-m", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    chooser = load_chooser()
    rows = json.loads((arguments.folder / "expressions.json").read_text(encoding="utf-8"))
    pictures = dict(_pictures(arguments.folder, rows))
    finders: dict[str, Finder] = {"nanodet-plus": _of_mini(chooser)}
    if arguments.nanodet_m is not None:
        finders["nanodet-m"] = _NanoDetM(arguments.nanodet_m)
    report: dict[str, Any] = {"expressions": len(rows), "images": len(pictures)}
    for name, finder in finders.items():
        report[name] = _measured(finder, chooser, rows, pictures)
        print(f"{name:12} {json.dumps(report[name])}", flush=True)
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


def _measured(
    finder: Finder,
    chooser: Chooser,
    rows: list[dict[str, Any]],
    pictures: Mapping[int, np.ndarray],
) -> dict[str, Any]:
    right = np.zeros((len(rows), 3), dtype=bool)
    for image, pixels in pictures.items():
        instances = finder(pixels)
        index = [number for number, row in enumerate(rows) if int(row["image_id"]) == image]
        if not len(instances):
            continue
        encoded = chooser.encode(instances, pixels, even_score=_EVEN_SCORE)
        sides = np.array([pixels.shape[1], pixels.shape[0]] * 2)
        for number in index:
            good = np.array([overlap(box / sides, rows[number]) > 0.5 for box in instances.boxes])
            wanted = categories_of(rows[number]["text"], _NAMES)
            fits = [row for row, name in enumerate(instances.names) if name in wanted]
            surest = max(fits, key=lambda row: instances.scores[row], default=None)
            _, chosen, _ = chooser.choose(encoded, rows[number]["text"])
            right[number] = surest is not None and good[surest], good[chosen[0]], good.any()
    images = np.array([int(row["image_id"]) for row in rows])
    low, high = _interval(right[:, 1].astype(float) - right[:, 0], images)
    share = {name: round(100 * float(right[:, column].mean()), 1) for column, name in enumerate(("surest", "chooser"))}
    return {
        **share,
        "difference": [
            round(100 * float((right[:, 1].astype(float) - right[:, 0]).mean()), 1),
            round(100 * low, 1),
            round(100 * high, 1),
        ],
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


def _of_mini(chooser: Chooser) -> Finder:
    """Returns the detector of mini as a finder like any other: its boxes, and the best category of each."""
    system = chooser.system

    @torch.inference_mode()
    def find(pixels: np.ndarray) -> Instances:
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


class _NanoDetM:
    """NanoDet-m's ONNX file: class scores and distributions of the four distances, at three strides."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def __call__(self, pixels: np.ndarray) -> Instances:
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
