"""Trains STEP on synthetic scenes: against VLT under the same budget, and with each of its parts left out.

    risctl prepare scenes -n 2000 --seed 0                  # writes data/scenes.h5
    python benchmarks/step_scenes.py                        # VLT, STEP with K = 1 and 2
    python benchmarks/step_scenes.py --only step-k1 step-k2 step-k3 step-plain-text step-no-gru step-f5

Every variant is trained on the same samples in the same order (the recipes share one budget) and evaluated on the test
split, at the recipes' threshold and at the protocol's. A variant that is trained already is not trained again, so that
an interrupted run continues. Differences are paired: both variants are resampled over the same images.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.data.store.reader import Store
from risctl.evaluation.image_evaluator import evaluate
from risctl.metrics.bootstrap import paired_differences
from risctl.metrics.protocols import get_protocol
from risctl.recipe.load import load_recipe
from risctl.training.run import train

VARIANTS: dict[str, tuple[str, list[str]]] = {
    "vlt": ("vlt-scenes", []),
    "step-k1": ("step-scenes", []),
    "step-k2": ("step-scenes", ["model.folds=2"]),
    "step-k3": ("step-scenes", ["model.folds=3"]),
    "step-plain-text": ("step-scenes", ["model.reweighted_text=false"]),
    "step-no-gru": ("step-scenes", ["model.refinement=none"]),
    "step-f5": ("step-scenes", ["model.levels=[5]", "model.folds=5"]),
    "step-f5-to-f1": ("step-scenes", ["model.order=F5-F1"]),
}
BASE = "step-k1"


def main() -> None:
    """Trains the variants, evaluates them and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=["vlt", "step-k1", "step-k2"])
    parser.add_argument("--store", default="data/scenes.h5")
    parser.add_argument("--out", type=Path, default=Path("runs/step-scenes-benchmark"))
    parser.add_argument("--split", default="test")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="overrides of every recipe")
    given = parser.parse_args()
    results: dict[float, dict[str, list[Any]]] = {}
    for name in given.only:
        recipe, changes = VARIANTS[name]
        run = given.out / name
        if not (run / "done.json").is_file():
            start = time.monotonic()
            train(
                load_recipe(recipe, [*changes, f"data.store={given.store}", *given.set]), out=run, device=given.device
            )
            (run / "done.json").write_text(json.dumps({"seconds": time.monotonic() - start}), encoding="utf-8")
        spent = json.loads((run / "done.json").read_text(encoding="utf-8"))["seconds"]
        loaded = load_checkpoint(run / "last.safetensors", given.device)
        parameters = sum(parameter.numel() for parameter in loaded.system.parameters())
        print(f"{name}: {parameters / 1e6:.2f} M parameters, trained in {spent / 60:.1f} min")
        for threshold in (load_recipe(recipe).eval.threshold, None):
            protocol = get_protocol("original").with_threshold(threshold)
            with Store(Path(given.store)) as store:
                report = evaluate(
                    loaded.system,
                    store,
                    split=given.split,
                    protocols=protocol,
                    threshold=threshold,
                    device=given.device,
                )
            result = report.results["original"]
            results.setdefault(protocol.threshold, {})[name] = result.rows
            shown = "  ".join(
                f"{figure} {result.figures[figure]:.2f} "
                f"[{result.intervals[figure].low:.2f}, {result.intervals[figure].high:.2f}]"
                for figure in ("mIoU", "oIoU")
            )
            print(f"  threshold {protocol.threshold:.2f}: {shown}, {len(result.rows)} samples", flush=True)
    for threshold, of_variant in results.items():
        for name, rows in of_variant.items():
            if BASE in of_variant and name != BASE:
                change = paired_differences(of_variant[BASE], rows, get_protocol("original"))["mIoU"]
                print(
                    f"mIoU of {name} minus {BASE} at {threshold}: {change.value:+.2f} "
                    f"[{change.low:+.2f}, {change.high:+.2f}]"
                )


if __name__ == "__main__":
    main()
