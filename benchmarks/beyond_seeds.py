"""Measures the forward of LAVT, CRIS and ReLA beside a straightforward implementation, and what a second phrase costs.

    python benchmarks/beyond_seeds.py                       # all, published sizes, on the CPU
    python benchmarks/beyond_seeds.py lavt --size 224 --repeats 5

Weights are random, which does not change the cost. The straightforward implementations (`beyond_plain/`) have the same
weights and give the same logits, which is checked first; they were written for the purpose from the papers' equations:
one phrase an image, every padded token, attention unfused. Seconds are of CPU time, so that other work on the machine
counts little; the two are measured in turns, and the quotient is that of the fastest of each.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from risctl.language.vocabulary import Vocabulary
from risctl.recipe.load import load_recipe
from risctl.systems.base import System
from risctl.systems.registry import build_system

RECIPES = {"lavt": "lavt-refcoco", "cris": "cris-refcoco", "rela": "rela-grefcoco"}
TOKENS = {"lavt": 30_522, "cris": 49_408, "rela": 30_522}
WORDS = 8
"""Tokens of the phrase, start and end included; the others are padding."""
TOLERANCE = 1e-3
"""Of logits, as a share of the largest."""


def main() -> None:
    """Runs the measurements and prints them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="*", metavar="SYSTEM", help=f"{', '.join(RECIPES)}; default: all")
    parser.add_argument("--size", type=int, help="side of the input; default: as published")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    unknown = set(given.systems) - set(RECIPES)
    if unknown:
        parser.error(f"expected some of {', '.join(RECIPES)}; got {', '.join(sorted(unknown))}")
    print("system  size  plain s  here s  quotient  first phrase s  second phrase s  share")
    for name in given.systems or RECIPES:
        measure(name, size=given.size, repeats=given.repeats)


@torch.inference_mode()
def measure(name: str, *, size: int | None, repeats: int) -> None:
    """Prints the row of one system."""
    system = build(name, size=size)
    size = int(getattr(system.preprocess, "size", None) or size or 0)
    plain: nn.Module = importlib.import_module(f"benchmarks.beyond_plain.{name}").Plain(system).eval()
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(1, 3, size, size, generator=generator)
    padding = torch.zeros(1, size, size, dtype=torch.bool)
    length = int(system.preprocess.max_words)  # type: ignore[attr-defined]
    ids = torch.randint(10, TOKENS[name] - 10, (1, length), generator=generator)
    mask = torch.arange(length)[None] < WORDS
    ids = ids.where(mask, 0)

    def second(visual: object) -> Tensor:
        return system.decode(visual, system.encode_text(ids, mask)).logits  # type: ignore[arg-type]

    def here() -> Tensor:
        return second(system.encode_image(images, padding))

    expected, found = plain(images, ids, mask), here()
    if (expected - found).abs().max() > TOLERANCE * expected.abs().max():
        raise SystemExit(f"{name}: the two implementations differ by {float((expected - found).abs().max()):.2e}")
    visual = system.encode_image(images, padding)
    costs = [
        (seconds(lambda: plain(images, ids, mask)), seconds(here), seconds(lambda: second(visual)))
        for _ in range(repeats)
    ]
    slow, fast, more = (min(column) for column in zip(*costs, strict=True))
    print(
        f"{name:6s} {size:5d} {slow:8.2f} {fast:7.2f} {slow / fast:9.2f} {fast:15.2f} {more:16.2f} {more / fast:6.0%}",
        flush=True,
    )


def build(name: str, *, size: int | None) -> System:
    """Returns the published system with random weights, whose norms' statistics are no longer those of a new one."""
    changes = ["~model.visual.weights", "model.text.weights=null", "model.text.tokens=null"]
    recipe = load_recipe(RECIPES[name], [*changes, *([f"model.input_size={size}"] if size else [])])
    torch.manual_seed(0)
    words = Vocabulary(f"w{number}" for number in range(TOKENS[name] - 2))
    system = build_system(recipe.model, vocabulary=words, pretrained=False)
    for module in system.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    return system.eval()


def seconds(run: Callable[[], object]) -> float:
    """Returns the CPU time of one run."""
    began = time.process_time()
    run()
    return time.process_time() - began


if __name__ == "__main__":
    main()
