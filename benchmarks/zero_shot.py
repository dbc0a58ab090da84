"""Compares Global-Local CLIP as published with ours: seconds and peak memory on one machine.

`python benchmarks/zero_shot.py [--images 2] [--threads 2] [--proposals 100]`: a ViT-B/32 of full size with random
weights, 100 proposals per image of 640x480, 2.5 refs and 7 sentences per image. Three schedules, each in its own
process: `published` (a plain version below of the public code), `exact` and `fast` (this package). Proposals and noun
phrases are given, so that neither is timed. Proposals are ellipses of 1 to 30 % of the image, most of them small; the
time of the exact schedule depends on their area, since patches outside a mask are skipped. Both wall-clock and CPU
seconds are printed: on a busy machine only the latter are comparable.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel

from risctl.core.fusion import global_local
from risctl.systems.global_local_clip.load_clip import wrap_clip
from risctl.systems.global_local_clip.model import TEXT_WEIGHT, VISUAL_WEIGHT, GlobalLocalCLIP

HEIGHT, WIDTH = 480, 640
# Refs of an image as sentences of each: 2.5 refs and 7 sentences an image.
REFS = ((3, 3, 2), (3, 3))
LENGTHS = (10, 5)


def picture(seed: int, *, proposals: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns an image and its proposals (N, H, W)."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 255, (12, 16, 3)).astype(np.float32)
    smooth = functional.interpolate(
        torch.from_numpy(coarse).permute(2, 0, 1)[None], size=(HEIGHT, WIDTH), mode="bicubic"
    )
    pixels = smooth[0].permute(1, 2, 0).clamp(0, 255).numpy().astype(np.uint8)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    masks = []
    for _ in range(proposals):
        area = HEIGHT * WIDTH * 0.01 * 30 ** generator.random()
        aspect = 2 ** generator.uniform(-1, 1)
        tall, wide = np.sqrt(area / np.pi * aspect), np.sqrt(area / np.pi / aspect)
        y, x = generator.uniform(0.1, 0.9) * HEIGHT, generator.uniform(0.1, 0.9) * WIDTH
        masks.append(((rows - y) / tall) ** 2 + ((columns - x) / wide) ** 2 <= 1)
    return pixels, np.stack(masks)


def texts(count: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Returns `count` pairs of token ids (1, L): a sentence and its noun phrase."""
    generator = torch.Generator().manual_seed(seed)

    def one(length: int) -> Tensor:
        inner = torch.randint(300, 40_000, (1, length - 2), generator=generator)
        return functional.pad(functional.pad(inner, (1, 0), value=49406), (0, 1), value=49407)

    return [(one(LENGTHS[0]), one(LENGTHS[1])) for _ in range(count)]


@torch.no_grad()
def published(system: GlobalLocalCLIP, image: np.ndarray, masks: np.ndarray, refs: list[list[Any]]) -> list[Tensor]:
    """Recomputes everything for each ref: the image, each crop from the full image in a loop, each text alone."""
    visual, model = system.clip.visual, system.clip.visual.model
    found = []
    for ref in refs:
        pixels = global_local.preprocess(image)
        original = global_local.resize(pixels, HEIGHT, WIDTH)
        small = global_local.resize(pixels, 224, 224)
        every = torch.from_numpy(masks)
        grid = global_local.resize(every[:, None].float(), visual.grid, visual.grid)
        weights = torch.cat([torch.ones(len(every), 1), grid.flatten(1)], dim=1)[..., None]
        tokens = model.pre_layrnorm(model.embeddings(small))
        for layer in model.encoder.layers[:9]:
            tokens = layer(tokens, attention_mask=None)
        tokens = tokens.expand(len(every), -1, -1)
        for layer in model.encoder.layers[9:]:
            tokens = layer(tokens * weights, attention_mask=None)
        context = visual.projection(model.post_layernorm(tokens[:, 0]))
        boxes = global_local.integer_boxes(global_local.mask_boxes(every), height=HEIGHT, width=WIDTH)
        mean = torch.tensor(global_local.MEAN)[None, :, None, None]
        crops = []
        for mask, (left, top, right, bottom) in zip(every, boxes.tolist(), strict=True):
            masked = original * mask + ~mask * mean
            crops.append(global_local.resize(masked[:, :, top:bottom, left:right], 224, 224))
        hidden = model.pre_layrnorm(model.embeddings(torch.cat(crops)))
        for layer in model.encoder.layers:
            hidden = layer(hidden, attention_mask=None)
        local = visual.projection(model.post_layernorm(hidden[:, 0]))
        joined = VISUAL_WEIGHT * context + (1 - VISUAL_WEIGHT) * local
        for sentence, noun in ref:
            # The public code pads each text to 77 tokens.
            parts = [system.encode_text(_padded(ids), torch.tensor([ids.shape[1] - 1])) for ids in (sentence, noun)]
            text = TEXT_WEIGHT * parts[0] + (1 - TEXT_WEIGHT) * parts[1]
            found.append(global_local.similarities(joined, text, system.clip.logit_scale, normalise=True)[0])
    return found


@torch.no_grad()
def ours(
    system: GlobalLocalCLIP, image: np.ndarray, masks: np.ndarray, refs: list[list[Any]], *, shortlist: int | None
) -> list[Tensor]:
    """Encodes the image once for all its refs, and all texts in one batch."""
    encoded = system.encode_image(image, masks)
    text = encode(system, [pair for ref in refs for pair in ref])
    if shortlist is None:
        return list(system.score(encoded, text))
    return list(system.score_shortlist(encoded, text, shortlist=shortlist))


def encode(system: GlobalLocalCLIP, pairs: list[Any]) -> Tensor:
    """Returns the combined features (T, E) of pairs of texts."""
    ids = [pair[part][0] for part in (0, 1) for pair in pairs]
    stacked = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
    found = system.encode_text(stacked, torch.tensor([len(tokens) - 1 for tokens in ids]))
    return global_local.combine(found[: len(pairs)], found[len(pairs) :], TEXT_WEIGHT)


@torch.no_grad()
def unchanged(system: GlobalLocalCLIP, *, images: int, count: int, shortlist: int, proposals: int) -> tuple[int, int]:
    """Returns how many texts get the same proposal from the shortlist as from exact scores, and of how many."""
    same = 0
    for seed in range(images):
        encoded = system.encode_image(*picture(seed, proposals=proposals))
        text = encode(system, texts(count, 1000 + seed))
        exact = system.score(encoded, text).argmax(1)
        same += int((system.score_shortlist(encoded, text, shortlist=shortlist).argmax(1) == exact).sum())
    return same, images * count


def child(schedule: str, *, images: int, threads: int, shortlist: int, count: int, proposals: int) -> dict[str, Any]:
    """Runs one schedule and returns its figures."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    system = GlobalLocalCLIP(wrap_clip(CLIPModel(CLIPConfig())))
    # A small warm-up run of everything, so that no schedule pays for one-time work of libraries.
    system.encode_image(np.zeros((32, 32, 3), dtype=np.uint8), np.ones((2, 32, 32), dtype=bool)).local.sum()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    wall = processor = 0.0
    rows: list[list[float]] = []
    for seed in range(images):
        image, masks = picture(seed, proposals=proposals)
        sizes = REFS[seed % len(REFS)]
        pairs = texts(sum(sizes), seed)
        refs = [[pairs.pop() for _ in range(size)] for size in sizes]
        start, used = time.perf_counter(), time.process_time()
        if schedule == "published":
            scores = published(system, image, masks, refs)
        else:
            scores = ours(system, image, masks, refs, shortlist=shortlist if schedule == "fast" else None)
        wall += time.perf_counter() - start
        processor += time.process_time() - used
        rows += [score.tolist() for score in scores]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    report = {"wall": wall / images, "processor": processor / images, "memory": memory, "model": before, "rows": rows}
    if schedule == "fast" and count:
        report["unchanged"] = unchanged(system, images=images, count=count, shortlist=shortlist, proposals=proposals)
    return report


def main() -> int:
    """Runs all schedules and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--proposals", type=int, default=100)
    parser.add_argument("--shortlist", type=int, default=10)
    parser.add_argument(
        "--texts", type=int, default=500, help="texts per image, to count unchanged selections of the shortlist"
    )
    parser.add_argument("--only", choices=("published", "exact", "fast"))
    asked = parser.parse_args()
    if asked.only:
        settings = {
            "images": asked.images,
            "threads": asked.threads,
            "shortlist": asked.shortlist,
            "count": asked.texts,
            "proposals": asked.proposals,
        }
        print(json.dumps(child(asked.only, **settings)))
        return 0
    # Spinning threads would count as CPU time on a busy machine.
    environment = os.environ | {"OMP_WAIT_POLICY": "passive"}
    found = {}
    for schedule in ("published", "exact", "fast"):
        command = [sys.executable, __file__, *sys.argv[1:], "--only", schedule]
        found[schedule] = json.loads(
            subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
        )
        one, first = found[schedule], found["published"]
        print(
            f"{schedule:<10} {one['wall']:7.2f} s per image, {one['processor']:7.2f} s of CPU time "
            f"({first['wall'] / one['wall']:.2f}x, {first['processor'] / one['processor']:.2f}x), peak memory "
            f"{one['memory']:,.0f} MB ({one['model']:,.0f} MB before the first image)",
            flush=True,
        )
    exact, plain = np.array(found["exact"]["rows"]), np.array(found["published"]["rows"])
    same = int((exact.argmax(1) == plain.argmax(1)).sum())
    print(
        f"exact vs published: scores within {np.abs(exact - plain).max():.1e}, {same} of {len(plain)} selections equal"
    )
    if asked.texts:
        same, every = found["fast"]["unchanged"]
        share = 100 * same / every
        print(f"fast vs exact: {same} of {every} selections equal ({share:.2f} %), shortlist {asked.shortlist}")
    return 0


def _padded(ids: Tensor) -> Tensor:
    return functional.pad(ids, (0, 77 - ids.shape[1]))


if __name__ == "__main__":
    sys.exit(main())
