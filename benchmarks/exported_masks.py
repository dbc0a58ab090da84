"""Compares an exported model with its checkpoint on real images and expressions: masks, and which object is chosen.

    risctl export mini --out mini.onnx
    python benchmarks/exported_masks.py mini mini.onnx refcoco_val_pixels --json exported.json

The folder is that of `mini_pixels.py`: `expressions.json` and `images/`. A choice is the same if both say "no match" or
both masks overlap with an IoU above 0.5. Takes some minutes on one core.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from risctl.inference.predictor import Predictor
from risctl.runtime.predictor import OnnxPredictor
from risctl.vision.images import read_image


def main() -> None:
    """Predicts everything with both, prints and writes how far they agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("exported", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch, onnx = Predictor.load(arguments.model, device="cpu"), OnnxPredictor(arguments.exported, threads=1)
    texts: dict[int, list[str]] = {}
    for row in json.loads((arguments.folder / "expressions.json").read_text(encoding="utf-8")):
        texts.setdefault(int(row["image_id"]), []).append(str(row["text"]))
    files = {int(path.stem.rsplit("_", 1)[-1]): path for path in (arguments.folder / "images").iterdir()}
    counts = {"images": 0, "expressions": 0, "same_choice": 0, "same_match": 0, "pixels": 0, "same_pixels": 0}
    worst, others = 0.0, []
    for image, phrases in list(texts.items())[: arguments.limit or None]:
        pixels = read_image(files[image])
        counts["images"] += 1
        for one, other in zip(torch.predict(pixels, phrases), onnx.predict(pixels, phrases), strict=True):
            same = one.mask == other.mask
            shared, either = (one.mask & other.mask).sum(), (one.mask | other.mask).sum()
            chosen = one.matched == other.matched and (not either or shared / either > 0.5)
            counts["expressions"] += 1
            counts["same_match"] += int(one.matched == other.matched)
            counts["same_choice"] += int(chosen)
            counts["pixels"] += same.size
            counts["same_pixels"] += int(np.count_nonzero(same))
            worst = max(worst, abs(one.score - other.score))
            if not chosen:
                others.append({"image": image, "text": one.text, "scores": [one.score, other.score]})
    report: dict[str, Any] = {
        **counts,
        "share_of_pixels": counts["same_pixels"] / counts["pixels"],
        "largest_difference_of_a_score": worst,
        "other_choices": others,
    }
    print(json.dumps(report, indent=1))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
