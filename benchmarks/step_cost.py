"""Measures STEP's cost: seconds per expression against the folds K, the backbone's share, and the memory of training.

    python benchmarks/step_cost.py                          # ResNet-101, 320 x 320, on the CPU
    python benchmarks/step_cost.py --device cuda

Weights are random, which does not change the cost. On the CPU, seconds are of CPU time, so that other work on the
machine counts little; on CUDA they are of the wall clock. Memory is what autograd keeps for the backward pass, counted
without computing anything; on CUDA the measured peak of a training step is printed as well.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from risctl.data.batch import Batch, Item, collate
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.load import load_recipe
from risctl.systems.base import System
from risctl.systems.registry import build_system
from risctl.training.dry_run import dry_run

RECIPE = "step-refcoco"
WORDS = ["the", "man", "in", "the", "red", "shirt", "on", "the", "left"]


def main() -> None:
    """Runs the measurements and prints them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet101", help="deeplab_resnet101, resnet101, resnet50, resnet18")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--batch", type=int, default=8, help="batch size of the training whose memory is counted")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    changes = [
        f"model.visual={{name: {given.backbone}}}",
        f"model.input_size={given.size}",
        f"data.batch_size={given.batch}",
        "~model.text.vectors",
    ]
    print(f"{given.backbone}, {given.size} x {given.size}, {given.device}, {torch.get_num_threads()} threads\n")
    cost_of_steps(changes, folds=given.folds, device=given.device, repeats=given.repeats)
    memory_of_training(changes, folds=given.folds, batch=given.batch, device=given.device)


def cost_of_steps(changes: Sequence[str], *, folds: Sequence[int], device: str, repeats: int) -> None:
    """Prints the seconds of each part for one image and one expression, and how well they are linear in K."""
    system = system_of(changes, max(folds)).eval().to(device)
    batch = batch_of(system, 1).to(device)
    with torch.inference_mode():
        backbone = seconds(lambda: system.visual(batch.images, batch.padding), device, repeats)
        visual = system.encode_image(batch.images, batch.padding)
        image = seconds(lambda: system.encode_image(batch.images, batch.padding), device, repeats)
        text = system.encode_text(batch.words, batch.word_mask)
        reading = seconds(lambda: system.encode_text(batch.words, batch.word_mask), device, repeats)
        course = system.course
        level_count = len(system.numbers)
        decoding = {}
        for count in folds:
            system.course = course[: level_count * count]
            decoding[count] = seconds(lambda: system.decode(visual, text), device, repeats)
    print(f"per image: backbone {backbone:.3f} s, context and projections {image - backbone:.3f} s")
    print(f"per expression: text {reading:.4f} s\n")
    print("   K    T   steps s   per step s   backbone's share of all   steps' share")
    for count, spent in decoding.items():
        total = image + reading + spent
        steps = level_count * count
        print(
            f"{count:4d} {steps:4d} {spent:9.3f} {spent / steps:12.4f} {100 * backbone / total:20.1f} % "
            f"{100 * spent / total:12.1f} %"
        )
    if len(folds) > 2:
        slope, start = np.polyfit(list(decoding), list(decoding.values()), 1)
        fitted = [start + slope * count for count in decoding]
        spread = np.var(list(decoding.values()))
        rest = np.mean((np.array(list(decoding.values())) - fitted) ** 2)
        print(f"\nlinear fit: {start:.3f} s + {slope:.3f} s x K, R^2 = {1 - rest / spread:.4f}\n")


def memory_of_training(changes: Sequence[str], *, folds: Sequence[int], batch: int, device: str) -> None:
    """Prints the gigabytes of a training step for each K, counted, and measured on CUDA."""
    print(f"training, batch {batch}, fp32, the backbone trained but for its first two stages")
    print(
        "   K   weights   gradients   optimizer   activations   together" + ("   measured" if device != "cpu" else "")
    )
    for count in folds:
        recipe = load_recipe(RECIPE, [*changes, f"model.folds={count}", "model.visual.frozen_stages=2"])
        parts = dry_run(recipe).memory
        cells = [parts[name] for name in ("weights", "gradients", "optimizer", "activations")]
        row = f"{count:4d} " + " ".join(f"{size / 2**30:11.2f}" for size in (*cells, sum(cells)))
        print(row + (f" {measured_peak(changes, count, batch, device):10.2f}" if device != "cpu" else ""), flush=True)


def measured_peak(changes: Sequence[str], folds: int, batch: int, device: str) -> float:
    """Returns the peak gigabytes of one step of Adam on CUDA."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    system = system_of([*changes, "model.visual.frozen_stages=2"], folds).train().to(device)
    samples = batch_of(system, batch).to(device)
    optimizer = torch.optim.Adam([parameter for parameter in system.parameters() if parameter.requires_grad])
    for _ in range(2):
        optimizer.zero_grad()
        system.loss(system(samples), samples)["mask"].backward()
        optimizer.step()
    return torch.cuda.max_memory_allocated() / 2**30


def system_of(changes: Sequence[str], folds: int) -> System:
    """Returns a STEP with random weights."""
    recipe = load_recipe(RECIPE, [*changes, f"model.folds={folds}"])
    return build_system(recipe.model, vocabulary=Vocabulary(WORDS), pretrained=False)


def batch_of(system: System, count: int) -> Batch:
    """Returns `count` noise images of aspect 4:3, with an expression each."""
    generator = np.random.default_rng(0)
    items = []
    for _ in range(count):
        image, geometry = system.preprocess.image(generator.integers(0, 256, (480, 640, 3), dtype=np.uint8))
        words, mask = system.preprocess.text(" ".join(WORDS))
        target = system.preprocess.target(np.eye(480, 640) > 0, geometry)
        items.append(
            Item(image=image, words=words, word_mask=mask, target=target, geometry=geometry, text=" ".join(WORDS))
        )
    return collate(items)


def seconds(work: Callable[[], object], device: str, repeats: int) -> float:
    """Returns the median seconds of `work`, after one run that does not count."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    found = []
    for turn in range(repeats + 1):
        start = clock()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        if turn:
            found.append(clock() - start)
    return float(np.median(found))


if __name__ == "__main__":
    main()
