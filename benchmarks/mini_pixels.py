r"""Measures mini on real expressions with pixels, whose boxes are known but not their masks.

    python benchmarks/mini_pixels.py MODEL refcoco_val_pixels --boxes refcoco_eval/eval_boxes.json --json pixels.json

The folder has `expressions.json` (set, image_id, text, box xywh in pixels, width, height) and `images/`, whose names
end in the image's id; images of another size are resized to width x height. Box P@.5 is the share of expressions of
which the best box overlaps the true one with an IoU above 0.5, refused or not.

With --boxes, the boxes of all classes of these images (`eval_boxes.json`), it also asks for what is absent: expressions
of other images that name a class which this one lacks, and plain names of such classes. Then it prints which share of
them is refused while at most 5 % of the real ones are, the expected calibration error, a reliability curve, and the
weights of `model.no_target_score=logistic` that fit best, with what they would reach in five-fold cross-validation over
images. Weights and threshold are chosen on val splits only. Takes a minute on one core.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.data.box_grounding.absent import classes_named
from risctl.data.datasets.coco_phrases.about_boxes import CATEGORIES
from risctl.data.datasets.refcoco_boxes import COCO_INDEX
from risctl.inference.encoded_image import encode, prepare
from risctl.metrics.bootstrap import share_interval
from risctl.systems.mini.model import Mini
from risctl.systems.mini.presence import evidence_of
from risctl.vision.images import read_image

_REAL_REFUSED = 0.05
_FOLDS = 5
_BINS = 10
_TEXTS, _NAMES = 5, 3  # absent expressions an image: people's, and plain names


def main() -> int:
    """Runs the measurements, prints and writes them; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--boxes", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    system = load_checkpoint(arguments.model).system
    if not isinstance(system, Mini):
        sys.exit(f"{arguments.model} is not a mini model")
    system.eval()
    rows = json.loads((arguments.folder / "expressions.json").read_text(encoding="utf-8"))
    real = [(int(row["image_id"]), str(row["text"])) for row in rows]
    nothing = [] if arguments.boxes is None else absent_expressions(real, _classes_of(arguments.boxes))
    answers = ask(system, arguments.folder, rows, [*real, *nothing])
    images = np.array([image for image, _ in real])
    right = np.array([overlap(answers["box"][index], row) > 0.5 for index, row in enumerate(rows)])
    report: dict[str, Any] = {"model": arguments.model, "box P@.5": {}}
    for name in ("all", *dict.fromkeys(row["set"] for row in rows)):
        chosen = np.array([name in ("all", row["set"]) for row in rows])
        span = share_interval(right[chosen], images[chosen], resamples=1000)
        report["box P@.5"][name] = [
            round(100 * float(right[chosen].mean()), 1),
            round(span.low, 1),
            round(span.high, 1),
        ]
        value, low, high = report["box P@.5"][name]
        print(f"{name:10} {chosen.sum():5} expressions  box P@.5 {value} ({low} to {high})")
    if nothing:
        report["no match"] = no_match(
            answers, count=len(real), images=np.array([image for image, _ in [*real, *nothing]])
        )
        print(json.dumps(report["no match"], indent=1))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


@torch.inference_mode()
def ask(
    system: Mini, folder: Path, rows: Sequence[Mapping[str, Any]], asked: Sequence[tuple[int, str]]
) -> dict[str, np.ndarray]:
    """Returns for every (image, text) the best "box" (N, 4) in shares of the sides, "score", "logit" and "evidence"."""
    sizes = {int(row["image_id"]): (int(row["height"]), int(row["width"])) for row in rows}
    files = {int(match.group(1)): path for path in (folder / "images").iterdir() if (match := _ID.search(path.stem))}
    found = {name: np.zeros(len(asked), dtype=np.float64) for name in ("score", "logit", "evidence")}
    found["box"] = np.zeros((len(asked), 4))
    for image, size in sizes.items():
        pixels = torch.from_numpy(np.ascontiguousarray(read_image(files[image]))).permute(2, 0, 1)[None].float()
        pixels = (
            torch.nn.functional.interpolate(pixels, size=size, mode="bicubic", antialias=True).round().clamp(0, 255)
        )
        encoded = encode(system, prepare(system.preprocess, pixels[0].permute(1, 2, 0).byte().numpy()))
        index = [row for row, (own, _) in enumerate(asked) if own == image]
        ids, masks = (
            torch.stack(part) for part in zip(*[system.preprocess.text(asked[row][1]) for row in index], strict=True)
        )
        features = encoded.features.select(torch.zeros(len(index), dtype=torch.int64))
        text = system.encode_text(ids, masks)
        choice = system.box_selector(text.words, text.mask, features.encoded_boxes)
        found["score"][index] = system.presence(choice, features.detections).numpy()
        found["logit"][index] = choice.presence.float().numpy()
        found["evidence"][index] = evidence_of(choice, features.detections).numpy()
        if features.detections.mask.shape[1]:
            found["box"][index] = features.boxes.corners[range(len(index)), choice.scores.argmax(1)].numpy()
    return found


_ID = re.compile(r"(\d{6,12})$")


def overlap(box: np.ndarray, row: Mapping[str, Any]) -> float:
    """Returns the IoU of a box in shares of the sides with the true one of an expression."""
    x, y, width, height = row["box"]
    sides = np.array([row["width"], row["height"]] * 2)
    true, own = np.array([x, y, x + width, y + height]) / sides, np.asarray(box)
    shared = (np.minimum(true[2:], own[2:]) - np.maximum(true[:2], own[:2])).clip(min=0).prod()
    return float(shared / max((true[2:] - true[:2]).prod() + (own[2:] - own[:2]).prod() - shared, 1e-9))


def absent_expressions(
    real: Sequence[tuple[int, str]], classes_of: Mapping[int, frozenset[int]]
) -> list[tuple[int, str]]:
    """Returns (image, text) pairs of which the image shows nothing of the kind; the same in every run."""
    rng = random.Random(0)
    named = [(text, classes) for _, text in real if (classes := classes_named(text))]
    asked = []
    for image in sorted({image for image, _ in real}):
        others = [text for text, classes in named if not classes & classes_of[image]]
        asked.extend((image, text) for text in rng.sample(others, min(_TEXTS, len(others))))
        missing = [name for index, name in enumerate(CATEGORIES) if index not in classes_of[image]]
        for name in rng.sample(missing, _NAMES):
            asked.append((image, rng.choice(("the {}", "{}", "{} on the left")).format(name)))
    return asked


def no_match(answers: Mapping[str, np.ndarray], *, count: int, images: np.ndarray) -> dict[str, Any]:
    """Returns the figures of refusals; the first `count` answers are to real expressions, the others to absent ones."""
    there = np.arange(len(images)) < count
    inputs = np.stack([answers["logit"], np.log(answers["evidence"] + 1e-3), np.ones(len(images))], 1)
    fitted = np.zeros(len(images))
    fold = images * 7919 % _FOLDS
    for one in range(_FOLDS):
        weights = fit_logistic(inputs[fold != one], there[fold != one])
        fitted[fold == one] = 1 / (1 + np.exp(-inputs[fold == one] @ weights))
    scale, evidence, shift = (round(float(weight), 4) for weight in fit_logistic(inputs, there))
    return {
        "absent": int((~there).sum()),
        "as it is": _figures(answers["score"], there),
        "logistic, cross-validated": _figures(fitted, there),
        "logistic, weights": {"no_target_scale": scale, "no_target_evidence": evidence, "no_target_shift": shift},
    }


def _figures(score: np.ndarray, there: np.ndarray) -> dict[str, Any]:
    threshold = float(np.quantile(score[there], _REAL_REFUSED))
    return {
        "threshold": round(threshold, 4),
        "absent refused": round(100 * float((score[~there] < threshold).mean()), 1),
        "real refused": round(100 * float((score[there] < threshold).mean()), 1),
        "calibration error": round(calibration_error(score, there), 4),
        "reliability": reliability(score, there),
    }


def fit_logistic(inputs: np.ndarray, there: np.ndarray, *, penalty: float = 1.0, steps: int = 40) -> np.ndarray:
    """Returns the weights of a logistic regression, by Newton's method with a small squared penalty."""
    weights = np.zeros(inputs.shape[1])
    for _ in range(steps):
        probability = 1 / (1 + np.exp(-inputs @ weights))
        curvature = (inputs * (probability * (1 - probability))[:, None]).T @ inputs + penalty * np.eye(len(weights))
        weights += np.linalg.solve(curvature, inputs.T @ (there - probability) - penalty * weights)
    return weights


def reliability(score: np.ndarray, there: np.ndarray) -> list[dict[str, float]]:
    """Returns the mean score and the share of real expressions in each tenth of the scores that has any."""
    tenth = np.minimum((score * _BINS).astype(int), _BINS - 1)
    return [
        {
            "expressions": int((tenth == one).sum()),
            "score": round(float(score[tenth == one].mean()), 3),
            "real": round(float(there[tenth == one].mean()), 3),
        }
        for one in range(_BINS)
        if (tenth == one).any()
    ]


def calibration_error(score: np.ndarray, there: np.ndarray) -> float:
    """Returns the expected calibration error over ten bins of equal width (Guo et al., 2017)."""
    tenth = np.minimum((score * _BINS).astype(int), _BINS - 1)
    parts = [tenth == one for one in range(_BINS) if (tenth == one).any()]
    return float(sum(part.mean() * abs(score[part].mean() - there[part].mean()) for part in parts))


def _classes_of(path: Path) -> dict[int, frozenset[int]]:
    entries = json.loads(path.read_text(encoding="utf-8"))
    return {
        int(image): frozenset(COCO_INDEX[int(box[0])] for box in entry["boxes"]) for image, entry in entries.items()
    }


if __name__ == "__main__":
    sys.exit(main())
