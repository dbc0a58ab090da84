"""Measures the time that precomputed features save per training step: VLT, STEP and a light head, on the CPU.

    python benchmarks/feature_cache.py                     # some minutes on 2 cores
    python benchmarks/feature_cache.py --full              # the recipes at their published input sizes

Three kinds of step alternate: from images, with the backbone run at every step; from the cache, with features read from
the file; and with the same features in memory, a lower bound for any reader. A step includes loading, in one process
without loader workers, so that reading is not hidden behind computation. Seconds are of CPU time over all threads, so
that other work on the machine counts little; medians are printed. Backbones have random weights, which do not change
the cost. Recipes are the shipped ones except for the store, learned word embeddings, batches of 2 and, without --full,
smaller inputs and one of STEP's five folds. The file is in the operating system's cache: the reader is measured, not
the disk.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from risctl.data.batch import Batch, Item, collate
from risctl.data.datasets.scenes.generate import make_scenes
from risctl.data.features.cached_features import CachedFeatures
from risctl.data.loading.image_dataset import ReferringImageDataset
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.recipe.load import load_recipe
from risctl.systems.base import System
from risctl.training.datasets import training_dataset
from risctl.training.features.extract import FeaturePlan, FeatureRun

OWN = ["data.workers=0", "data.augment=null", "~model.text.vectors", "model.visual.weights=null"]
RECIPES: dict[str, tuple[str, list[str], list[str]]] = {
    # name: recipe, its changes, further ones for smaller inputs
    "VLT (vlt-refcoco, 56 of 58 convolutions frozen)": ("vlt-refcoco", [], ["model.input_size=128"]),
    "STEP (step-refcoco, 2 of 5 stages frozen)": (
        "step-refcoco",
        ["model.visual.frozen_norms=true"],
        ["model.input_size=96", "model.folds=1"],
    ),
    "light head (vlt-light-refcoco, ResNet-50 frozen)": ("vlt-light-refcoco", [], ["model.input_size=224"]),
}
BATCH = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Median seconds of each kind of step, and bytes of an image's features."""

    pictures: float
    cached: float
    memory: float
    bytes: int


def main() -> None:
    """Runs the measurements and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="published input sizes")
    parser.add_argument("--steps", type=int, default=4, help="steps of each kind, the first of which does not count")
    parser.add_argument("--only", default="", help="only recipes whose name contains this")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(f"CPU time, {given.threads} threads, batches of {BATCH}, medians of {given.steps - 1} steps\n")
    heads = ("pictures s", "cached s", "memory s", "gain", "cached/memory", "GB per 1,000")
    print(f"{'recipe':50} " + " ".join(f"{head:>13}" for head in heads), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scenes.h5"
        write_store(make_scenes(count=10, seed=0, size=(640, 480)), path)
        chosen = {name: one for name, one in RECIPES.items() if given.only.lower() in name.lower()}
        for name, (recipe, changes, smaller) in chosen.items():
            own = [*OWN, *changes, *([] if given.full else smaller), f"data.store={path}", f"data.batch_size={BATCH}"]
            found = measure(recipe, own, path, steps=given.steps)
            cells = (
                f"{found.pictures:.3f}",
                f"{found.cached:.3f}",
                f"{found.memory:.3f}",
                f"{found.pictures / found.cached:.2f}",
                f"{found.cached / found.memory:.3f}",
                f"{1000 * found.bytes / 1e9:.2f}",
            )
            print(f"{name:50} " + " ".join(f"{cell:>13}" for cell in cells), flush=True)


def measure(recipe_name: str, changes: list[str], path: Path, *, steps: int) -> Measured:
    """Returns the medians for one recipe."""
    recipe = load_recipe(recipe_name, changes)
    with Store(path) as store:
        run = FeatureRun(recipe, store)
        plan: FeaturePlan = run.plan()
        if not plan.out.exists():
            run.write(plan, device=torch.device("cpu"), batch=BATCH)
        system = run.system
        plain, cached = training_dataset(recipe, store, system), training_dataset(recipe, store, system)
        assert isinstance(plain, ReferringImageDataset) and isinstance(cached, ReferringImageDataset)
        cached.features = CachedFeatures(plan.out)
        optimizer = torch.optim.Adam(
            [parameter for parameter in system.parameters() if parameter.requires_grad], lr=1e-5
        )
        keys = [[(step * BATCH + place) % len(plain) for place in range(BATCH)] for step in range(steps)]
        held = [collate([item_of(cached, key) for key in some]) for some in keys]
        kinds: dict[str, Callable[[int], Batch]] = {
            "pictures": lambda step: collate([item_of(plain, key) for key in keys[step]]),
            "cached": lambda step: collate([item_of(cached, key) for key in keys[step]]),
            "memory": lambda step: held[step],
        }
        spent: dict[str, list[float]] = {name: [] for name in kinds}
        for step in range(steps):
            for name, load in kinds.items():
                start = time.process_time()
                train_step(system, optimizer, load(step))
                if step:
                    spent[name].append(time.process_time() - start)
    medians = {name: float(np.median(values)) for name, values in spent.items()}
    return Measured(**medians, bytes=plan.each)


def item_of(items: ReferringImageDataset, key: int) -> Item:
    """Returns an item of the first epoch."""
    return items.item(0, key)


def train_step(system: System, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
    """Makes one optimiser step."""
    optimizer.zero_grad()
    terms = system.loss(system(batch), batch)
    torch.stack([term.float() for term in terms.values()]).sum().backward()
    optimizer.step()


if __name__ == "__main__":
    main()
