"""Measures what word vectors transfer: ZSI trained on 48 classes of a few hundred COCO images, tested on 17 unseen.

    risctl prepare coco-zsi-48-17 --instances instances.json --images images --held-out 0.1
    python benchmarks/zsi_coco_mini.py --vectors word_w2v_withbg_48_17.txt

Two trainings of the recipe zsi-coco-mini: with the classes' word vectors, and with the same vectors randomly reassigned
to other classes (no class keeps its own). Evaluated on the images with an unseen class, none of which was used in
training:

  trained          as trained
  untrained head   the trained backbone, pyramid and proposals; box and mask head as initialised
  asked shuffled   as trained, but unseen classes are detected by each other's vectors, in several ways
  shuffled         trained and evaluated with the reassigned vectors

Recall@100 of unseen classes at IoU .4, .5 and .6 and mAP at .5, on masks and on boxes. Differences of recall are
paired: both are resampled over the same images. An interrupted training continues, and finished measurements are not
repeated. On one core a training takes about half an hour, and a row of the table about 6 minutes; `--only` runs one of
the two trainings, so that both can run side by side. With ImageNet weights in a local file: `--set
model.visual.weights=FILE`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.data.store.reader import Store
from risctl.evaluation.instance_evaluator import detection_results, truth_of
from risctl.files import replacing
from risctl.language.coco_classes import SPLITS
from risctl.language.word_vectors import WordVectors
from risctl.metrics.zero_shot import AP_AT, RECALL_AT, Matches, matches, zsi_figures
from risctl.recipe.load import load_recipe
from risctl.recipe.schema import Recipe
from risctl.systems.registry import build_system
from risctl.systems.zsi.model import ZSI
from risctl.training.run import resume, train
from risctl.training.seeding import seed_run
from risctl.training.vocabulary import gather_vocabulary

KINDS: tuple[Literal["segm", "bbox"], ...] = ("segm", "bbox")
NAMES = {"segm": "masks", "bbox": "boxes"}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Paths of the experiment, and the overrides of its recipe."""

    store: Path
    out: Path
    device: str
    split: str
    limit: int | None
    changes: list[str]

    def pictures(self, store: Store) -> list[int]:
        """Returns the rows of the images to evaluate on."""
        return [int(row) for row in store.images(self.split)][: self.limit]

    def recipe(self, vectors: Path) -> Recipe:
        """Returns the recipe of a training with the vectors of a file."""
        return load_recipe(
            "zsi-coco-mini", [f"data.store={self.store}", f"model.text.vectors={vectors}", *self.changes]
        )


def main() -> None:
    """Runs the missing trainings and measurements and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=Path, required=True, help="word vectors that contain the classes' names")
    parser.add_argument("--store", type=Path, default=Path("data/coco-zsi-48-17.h5"))
    parser.add_argument("--out", type=Path, default=Path("runs/zsi-coco-mini-benchmark"))
    parser.add_argument("--split", default="test")
    parser.add_argument("--limit", type=int, help="evaluate on the first N images only")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--shuffles",
        type=int,
        default=2,
        help="number of shuffles of the vectors that the trained model is evaluated with",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the reassignment of vectors")
    parser.add_argument(
        "--only", choices=("trained", "shuffled"), help="run one training only, so that two can run side by side"
    )
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="overrides of the recipe")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    setting = Setting(
        store=given.store, out=given.out, device=given.device, split=given.split, limit=given.limit, changes=given.set
    )
    own, dealt = write_vectors(given.vectors, given.out, seed=given.seed)
    runs = {
        name: trained(setting, name, vectors)
        for name, vectors in {"trained": own, "shuffled": dealt}.items()
        if given.only in (None, name)
    }
    if given.only is not None:
        return
    measured = {"trained": found(setting, "trained", runs["trained"])}
    measured["untrained head"] = found(
        setting, "untrained-head", runs["trained"], change=lambda system: forget_heads(system, setting, own)
    )
    for number in range(given.shuffles):
        measured[f"asked shuffled {number + 1}"] = found(
            setting,
            f"asked-shuffled-{number + 1}",
            runs["trained"],
            change=lambda system, number=number: shuffle_asked(system, seed=number),  # type: ignore[misc]
        )
    measured["shuffled"] = found(setting, "shuffled", runs["shuffled"])
    with Store(setting.store) as store:
        truth = truth_of(store, setting.pictures(store))
        numbers = {name: number for number, name in store.categories.items()}
    tell(truth, measured, unseen={numbers[name] for name in SPLITS["48_17"].unseen})


def write_vectors(source: Path, out: Path, *, seed: int) -> tuple[Path, Path]:
    """Writes the vectors of the classes alone, as they are and reassigned to other classes, and returns both files."""
    names = (*SPLITS["48_17"].seen, *SPLITS["48_17"].unseen)
    vectors, there = WordVectors.open(source, needed=names, dim=300).lookup(names)
    if not there.all():
        raise SystemExit(f"{source} lacks {', '.join(np.array(names)[~there])}")
    own, dealt = out / "own.safetensors", out / "dealt.safetensors"
    if not own.is_file():
        WordVectors(names, vectors).save(own)
    if not dealt.is_file():
        WordVectors(names, vectors[derangement(len(names), seed=seed)]).save(dealt)
    return own, dealt


def derangement(count: int, *, seed: int) -> np.ndarray:
    """Returns a permutation of `count` elements without fixed points."""
    generator = np.random.default_rng(seed)
    while True:
        order = generator.permutation(count)
        if (order != np.arange(count)).all():
            return order


def trained(setting: Setting, name: str, vectors: Path) -> Path:
    """Trains the run `name`, or resumes it, and returns its folder."""
    run = setting.out / name
    done = run / "done.json"
    if done.is_file():
        return run
    recipe = setting.recipe(vectors)
    result = (
        resume(run, recipe=recipe, device=setting.device)
        if (run / "recipe.yaml").is_file()
        else train(recipe, out=run, device=setting.device)
    )
    print(f"{name}: {result.steps} steps in {result.seconds / 60:.1f} min", flush=True)
    with replacing(done) as beside:
        beside.write_text(json.dumps({"steps": result.steps, "seconds": result.seconds}), encoding="utf-8")
    return run


def found(
    setting: Setting, name: str, run: Path, *, change: Callable[[ZSI], None] | None = None
) -> list[dict[str, Any]]:
    """Returns the detections of unseen classes by a run's final model, after a change of it."""
    kept = setting.out / f"{name}.{setting.split}{'' if setting.limit is None else setting.limit}.json"
    if kept.is_file():
        return json.loads(kept.read_text(encoding="utf-8"))
    system = load_checkpoint(run / "last.safetensors", setting.device).system
    if not isinstance(system, ZSI):
        raise SystemExit(f"{run} holds no ZSI")
    if change is not None:
        change(system)
    with Store(setting.store) as store:
        unseen = [SPLITS["48_17"].unseen]
        results = detection_results(system.eval(), store, setting.pictures(store), unseen)
    with replacing(kept) as beside:
        beside.write_text(json.dumps(results), encoding="utf-8")
    print(f"{name}: {len(results):,} detections", flush=True)
    return results


def forget_heads(system: ZSI, setting: Setting, vectors: Path) -> None:
    """Resets the box and mask heads to their initial weights."""
    recipe = setting.recipe(vectors)
    with Store(setting.store) as store:
        words = gather_vocabulary(recipe, store)
    seed_run(recipe.train.seed)
    fresh = build_system(recipe.model, vocabulary=words.vocabulary, vectors=words.vectors)
    for head in ("box_head", "mask_head"):
        system.get_submodule(head).load_state_dict(fresh.get_submodule(head).state_dict())


def shuffle_asked(system: ZSI, *, seed: int) -> None:
    """Gives each unseen class another unseen class's vector."""
    order = torch.from_numpy(derangement(len(system.unseen) - 1, seed=seed))
    system.unseen[1:] = system.unseen[1:][order]


def tell(truth: dict[str, Any], measured: dict[str, list[dict[str, Any]]], *, unseen: set[int]) -> None:
    """Prints the figures of each variant, and the differences from the trained one."""
    of = [
        record["category_id"]
        for record in truth["annotations"]
        if record["category_id"] in unseen and not record["iscrowd"]
    ]
    print(f"{len(truth['images'])} images, n = {len(of)} instances of {len(set(of))} unseen classes")
    for kind in KINDS:
        print(f"\n{NAMES[kind]:<18}" + "".join(f"recall@100 {at:g}".rjust(16) for at in RECALL_AT) + "  mAP 0.5")
        counted: dict[str, Matches] = {}
        for name, results in measured.items():
            figures = zsi_figures(truth, results, unseen=unseen, of=kind)
            counted[name] = matches(truth, results, classes=unseen, of=kind)
            recalls = "".join(f"{figures[f'recall@100 {at:g}']:16.2f}" for at in RECALL_AT)
            print(f"{name:<18}{recalls}{figures[f'mAP {AP_AT:g}']:9.2f}")
        for name in list(measured)[1:]:
            shown = "".join(
                f"{value:+.2f} [{low:+.2f}, {high:+.2f}]".rjust(24)
                for value, low, high in (difference(counted["trained"], counted[name], at) for at in RECALL_AT)
            )
            print(f"trained minus {name:<16}{shown}")


def difference(first: Matches, second: Matches, at: float, *, resamples: int = 1000) -> tuple[float, float, float]:
    """Returns the difference in recall of the first from the second, and its 95 % interval over resampled images."""
    count = len(first.there)
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=resamples).astype(float)
    spread = first.recall(at, weights=drawn) - second.recall(at, weights=drawn)
    low, high = np.nanpercentile(spread, [2.5, 97.5])
    return float(first.recall(at)[0] - second.recall(at)[0]), float(low), float(high)


if __name__ == "__main__":
    main()
