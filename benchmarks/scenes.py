"""Trains five systems on synthetic scenes under one budget, and lays them side by side on one page.

    risctl prepare scenes -n 2000 --seed 0                  # writes data/scenes.h5
    python benchmarks/scenes.py                             # writes runs/scenes/scenes.html
    python benchmarks/scenes.py --only lavt cris --set train.max_steps=600

Each small recipe is trained as it is, STEP with two folds: the same data, input, batch, optimizer and steps, random
weights. The test split is evaluated once, by `original`, at the threshold .35 of VLT and CRIS, not tuned for others.
The page has every figure and every group of the breakdowns, by ability among them, with the difference from the first
system and its interval, paired over images, and then each system against the first with the samples that flipped. What
is trained or evaluated already is not done again, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.data.download.mirrors import sha256_of
from risctl.data.store.reader import Store
from risctl.evaluation.comparison import compare_runs
from risctl.evaluation.image_evaluator import evaluate
from risctl.evaluation.saved_rows import read_run
from risctl.metrics.protocols import get_protocol
from risctl.output_files import OutputFiles
from risctl.recipe.load import load_recipe
from risctl.training.run import resume, train
from risctl.training.run_folder import RunFolder
from risctl.visualization.comparison import as_text
from risctl.visualization.report.comparison_page import as_page

SYSTEMS = {
    "lavt": ("lavt-scenes", []),
    "cris": ("cris-scenes", []),
    "rela": ("rela-scenes", []),
    "step": ("step-scenes", ["model.folds=2"]),
    "vlt": ("vlt-scenes", []),
}


def rows_of(name: str, given: argparse.Namespace) -> Path:
    """Trains and evaluates a system, where that is still to be done, and returns the file of its rows."""
    rows: Path = given.out / f"{name}.jsonl"
    if rows.is_file():
        return rows
    recipe, changes = SYSTEMS[name]
    run = RunFolder(given.out / name)
    if not run.last.is_file():
        train(
            load_recipe(recipe, [*changes, f"data.store={given.store}", *given.set]),
            out=run.path,
            device=given.device,
        )
    elif not run.result_file.is_file():  # interrupted: what it saved is not what is compared
        resume(run.path, device=given.device)
    loaded = load_checkpoint(run.last, given.device)
    with Store(given.store) as store:
        report = evaluate(
            loaded.system,
            store,
            split="test",
            protocols=get_protocol("original").with_threshold(given.threshold),
            device=given.device,
            checkpoint=sha256_of(run.last),
        )
    report.write_rows(rows)
    return rows


def main() -> None:
    """Trains and evaluates the systems, writes the page and prints it as text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS), help="the first is the base")
    parser.add_argument("--store", type=Path, default=Path("data/scenes.h5"))
    parser.add_argument("--out", type=Path, default=Path("runs/scenes"))
    parser.add_argument("--threshold", type=float, default=0.35)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes of every recipe")
    given = parser.parse_args()
    comparison = compare_runs([read_run(rows_of(name, given)) for name in given.only]).to_dict()
    page = given.out / "scenes.html"
    OutputFiles(overwrite=True).write_text(page, as_page(comparison))
    print(as_text(comparison))
    print(f"\npage: {page}")


if __name__ == "__main__":
    main()
