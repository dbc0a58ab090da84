"""Trains on synthetic scenes with a published default and with what stood in its place before, all else equal.

    risctl prepare scenes -n 2000 --seed 0                  # writes data/scenes.h5
    python benchmarks/published_defaults.py vlt
    python benchmarks/published_defaults.py referformer

`vlt`: the norms of a frozen backbone normalise in training by the batch (published) or by stored statistics. The
published weights are not to be had, and Darknet-53 from random weights, 60 steps at 64 pixels, taught the arms nothing
within 100 steps. So the backbone is the small one of `vlt-scenes`, trained with a VLT of its own on the same scenes, or
that of another training (`--backbone`); each arm begins with it, freezes all of it, as VLT does with 56 of 58
convolutions, and trains new weights behind it. `referformer`: an item is a sentence (published) or a ref with one of
its sentences at random; both arms take the same number of steps. Short trainings of small models on drawings: they show
whether a default matters here, not what it is worth on photographs. What is trained already is not trained again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from torch import nn

from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.core.encoders.visual.registry import VISUAL_ENCODERS, VisualEntry
from risctl.core.encoders.visual.small_cnn import SmallCNN
from risctl.data.store.reader import Store
from risctl.evaluation.image_evaluator import evaluate
from risctl.metrics.bootstrap import paired_differences
from risctl.metrics.protocols import get_protocol
from risctl.metrics.rows import Rows
from risctl.recipe.load import load_recipe
from risctl.training.run import train

FROZEN = "small_cnn_frozen"
VLT = ["train.eval_every=null", "data.workers=0"]
REFERFORMER = [
    "model.short_side=96", "model.longest_side=192", "model.hidden=64", "model.encoder_layers=1",
    "model.feed_forward=128", "model.mask_channels=32", "model.dropout=0", "model.text.layers=1", "model.text.width=64",
    "model.text.feed_forward=128", "model.text.dropout=0", "optim.lr=1e-3", "optim.warmup_steps=100",
    "train.epochs=2", "train.eval_every=null", "data.workers=0",
]  # fmt: skip


class FrozenSmallCNN(SmallCNN):
    """The small backbone, frozen; its norms normalise in training as Darknet's: by the batch, or by what is stored."""

    def __init__(self, *, batch_statistics: bool) -> None:
        self.batch_statistics = False  # until the norms are there
        super().__init__(frozen=True)
        self.batch_statistics = batch_statistics
        for norm in self._norms():
            norm.momentum = 0.0  # in training mode a norm with this momentum keeps its stored statistics

    def train(self, mode: bool = True) -> FrozenSmallCNN:
        """Sets the training mode of norms with batch statistics; all else stays in evaluation mode."""
        super().train(mode)
        if self.batch_statistics:
            for norm in self._norms():
                norm.train(mode)
        return self

    def _norms(self) -> list[nn.BatchNorm2d]:
        return [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]


VISUAL_ENCODERS[FROZEN] = VisualEntry(
    build=lambda section, wanted: FrozenSmallCNN(batch_statistics=section.batch_statistics),
    strides=(8, 16, 32),
    options={"batch_statistics": True},
)


def trained(recipe: str, changes: list[str], *, out: Path, store: Path) -> Path:
    """Trains a recipe with changes, unless `out` has the training already, and returns its last checkpoint."""
    last = out / "last.safetensors"
    if not last.is_file():
        train(load_recipe(recipe, [*changes, f"data.store={store}"]), out=out, device="cpu")
    return last


def arms(given: argparse.Namespace, seed: int) -> dict[str, Path]:
    """Returns the checkpoints of both arms, the published default first."""
    out: Path = given.out / given.which
    if given.which == "referformer":
        steps = given.steps or 1055
        return {
            sentences: trained(
                "referformer-scenes",
                [*REFERFORMER, f"data.sentences={sentences}", f"train.max_steps={steps}", f"train.seed={seed}"],
                out=out / f"{sentences}-{seed}",
                store=given.store,
            )
            for sentences in ("all", "random")
        }
    steps = given.steps or 600
    base = given.backbone or trained(
        "vlt-scenes", [*VLT, f"train.max_steps={given.base_steps}"], out=out / "backbone", store=given.store
    )
    begin = [f"model.visual.name={FROZEN}"]
    begin += [f"train.init_weights.checkpoint={base}", "train.init_weights.include=[visual.]"]
    return {
        name: trained(
            "vlt-scenes",
            [*VLT, *begin, f"model.visual.batch_statistics={value}", f"train.max_steps={steps}", f"train.seed={seed}"],
            out=out / f"{name}-{seed}",
            store=given.store,
        )
        for name, value in (("batch", "true"), ("stored", "false"))
    }


def main() -> None:
    """Trains both arms for each seed, evaluates them on the test split and prints the paired differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=["vlt", "referformer"])
    parser.add_argument("--store", type=Path, default=Path("data/scenes.h5"))
    parser.add_argument("--out", type=Path, default=Path("runs/published-defaults"))
    parser.add_argument("--steps", type=int, help="steps of each arm; default: 600 for vlt, 1055 for referformer")
    parser.add_argument("--base-steps", type=int, default=2392, help="vlt: steps in which the backbone is trained")
    parser.add_argument(
        "--backbone",
        type=Path,
        help="vlt: another training on the same scenes, such as `referformer`'s, whose small backbone the arms take",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--limit", type=int, help="evaluate the first so many sentences only")
    given = parser.parse_args()
    for seed in given.seeds:
        found: dict[str, Rows] = {}
        protocol = get_protocol("original")
        for name, checkpoint in arms(given, seed).items():
            loaded = load_checkpoint(checkpoint, "cpu")
            protocol = get_protocol("original").at_threshold(given=None, recipe=loaded.recipe.eval.threshold)
            with Store(given.store) as store:
                report = evaluate(loaded.system, store, split="test", protocols=protocol, limit=given.limit)
            result = report.results["original"]
            found[name] = result.rows
            figures = (f"{figure} {result.figures[figure]:.2f}" for figure in ("mIoU", "oIoU"))
            print(f"{given.which}, seed {seed}, {name}: {', '.join(figures)}, {len(result.rows)} samples", flush=True)
        published, former = found
        differences = paired_differences(found[former], found[published], protocol)
        for figure in ("mIoU", "oIoU"):
            one = differences[figure]
            interval = f"({one.low:+.2f} to {one.high:+.2f} over images)"
            print(f"  {published} minus {former}: {figure} {one.value:+.2f} {interval}", flush=True)


if __name__ == "__main__":
    main()
