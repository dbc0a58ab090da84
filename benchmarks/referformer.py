"""Compares ReferFormer's forward pass as published with ours: seconds, and peak memory against the length of a video.

`python benchmarks/referformer.py [--threads 2] [--frames 3] [--repeats 5] [--lengths 8,16,32,64] [--backbone
resnet50]`: random weights, published widths, frames of 360x640. Time: `published`, a plain version below of what the
public code does (masks of all decoder layers, a copy of the features per query; attention that builds the full weight
matrix and its mean over heads; backbone norms as a product and a sum), alternates with this package on the same
weights, and both must agree. Memory: one process per length, a video in clips of `--clip-len` frames as `risctl
predict` streams it, against one pass over the whole video, both by this package, and the plain forward.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from risctl.core.encoders.base import TextFeatures, padding_at
from risctl.core.fusion.cross_modal import to_clip, to_sequence
from risctl.core.fusion.deformable_transformer import _cell_centres, _valid_ratio, inverse_sigmoid
from risctl.core.fusion.sine_position import sine_position_1d
from risctl.inference.video_predictor import VideoPredictor
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.load import parse_recipe
from risctl.systems.referformer.model import ReferFormer
from risctl.systems.registry import build_system
from risctl.vision.video_frames import Frame, Video

WORDS = ("the", "person", "in", "red", "who", "walks", "to", "left")
TEXT = " ".join(WORDS)


def model(given: argparse.Namespace) -> ReferFormer:
    """Returns the system with random weights, also in its zero-initialised layers."""
    section = {
        "system": "referformer",
        "short_side": min(given.height, given.width),
        "visual": {"name": given.backbone},
        "text": {"tokens": None, "weights": None, "layers": given.text_layers},
    }
    recipe = parse_recipe(
        {"name": "benchmark", "model": section, "data": {"store": "none.h5"}, "train": {"epochs": 1}}, source="here"
    )
    torch.manual_seed(0)
    system = build_system(recipe.model, vocabulary=Vocabulary(WORDS), pretrained=False)
    assert isinstance(system, ReferFormer)
    with torch.no_grad():
        for parameter in system.parameters():
            if parameter.ndim > 1 and not parameter.any():
                parameter.normal_(std=0.02)
    return system.eval()


def attend(module: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor, hidden: Tensor | None) -> Tensor:
    """Multi-head attention that builds all its weights and averages them over the heads, which nobody reads here."""
    width, heads = module.embed_dim, module.num_heads
    weights, biases = module.in_proj_weight.split(width), module.in_proj_bias.split(width)
    q, k, v = (
        functional.linear(one, weight, bias).unflatten(2, (heads, -1)).transpose(1, 2)
        for one, weight, bias in zip((query, key, value), weights, biases, strict=True)
    )
    scores = (q * (width // heads) ** -0.5) @ k.transpose(2, 3)
    if hidden is not None:
        scores = scores.masked_fill(hidden[:, None, None], float("-inf"))
    shares = scores.softmax(-1)
    shares.mean(1)
    return module.out_proj((shares @ v).transpose(1, 2).flatten(2))


def deform(module: Any, queries: Tensor, references: Tensor, memory: Tensor, shapes: Any, padding: Tensor) -> Tensor:
    """Deformable attention as in the public code without its compiled operator: all samples, then their sum."""
    heads, levels, points = module.heads, module.levels, module.points
    value = module.value(memory).masked_fill(padding[..., None], 0.0).unflatten(2, (heads, -1))
    offsets = module.offsets(queries).unflatten(2, (heads, levels, points, 2))
    weights = module.weights(queries).unflatten(2, (heads, -1)).softmax(-1).unflatten(3, (levels, points))
    if references.shape[-1] == 4:
        spread = offsets / points * references[:, :, None, :, None, 2:] * 0.5
    else:
        extents = torch.tensor([(width, height) for height, width in shapes], dtype=offsets.dtype)
        spread = offsets / extents[:, None, :]
    places = 2 * (references[:, :, None, :, None, :2] + spread) - 1
    batch, _, _, depth = value.shape
    sampled = []
    for level, (height, width) in enumerate(shapes):
        start = sum(h * w for h, w in shapes[:level])
        cells = value[:, start : start + height * width].flatten(2).transpose(1, 2)
        maps = cells.reshape(batch * heads, depth, height, width)
        grid = places[:, :, :, level].transpose(1, 2).flatten(0, 1)
        sampled.append(functional.grid_sample(maps, grid, mode="bilinear", align_corners=False))
    shares = weights.transpose(1, 2).reshape(batch * heads, 1, queries.shape[1], levels * points)
    mixed = (torch.stack(sampled, dim=-2).flatten(-2) * shares).sum(-1).view(batch, heads * depth, -1)
    return module.out(mixed.transpose(1, 2).contiguous())


def feed(module: Any, x: Tensor) -> Tensor:
    """Feed-forward network with residual and norm."""
    return module.norm(x + module.second(functional.relu(module.first(x))))


def norm(module: Any, x: Tensor) -> Tensor:
    """A frozen batch norm as DETR writes it."""
    scale = module.weight * (module.running_var + module.eps).rsqrt()
    return x * scale.view(1, -1, 1, 1) + (module.bias - module.running_mean * scale).view(1, -1, 1, 1)


def backbone(module: Any, clip: Tensor) -> list[Tensor]:
    """Returns the four maps (T, C, h, w) of a bottleneck ResNet over frames (T, 3, H, W)."""
    x = (clip - module.mean) / module.deviation
    x = module.maxpool(functional.relu(norm(module.bn1, module.conv1(x))))
    maps = []
    for stage in (module.layer1, module.layer2, module.layer3, module.layer4):
        for block in stage:
            short = x if block.downsample is None else norm(block.downsample[1], block.downsample[0](x))
            inner = functional.relu(norm(block.bn1, block.conv1(x)))
            inner = functional.relu(norm(block.bn2, block.conv2(inner)))
            x = functional.relu(norm(block.bn3, block.conv3(inner)) + short)
        maps.append(x)
    return maps


def block(module: Any, clip: Tensor, position: Tensor, text: TextFeatures) -> Tensor:
    """A vision-language block of the pyramid."""
    frames, height, width = clip.shape[1], *clip.shape[3:]
    placed, coarse = clip + position[:, None], clip
    if module.reduction > 1:
        size = (max(1, height // module.reduction), max(1, width // module.reduction))
        placed, coarse = (
            functional.interpolate(one.flatten(0, 1), size=size, mode="nearest").unflatten(0, one.shape[:2])
            for one in (placed, coarse)
        )
    asked = to_sequence(placed)
    hidden = torch.zeros(asked.shape[:2], dtype=torch.bool)
    seen = to_clip(attend(module.self_attention, asked, asked, to_sequence(coarse), hidden), like=coarse)
    if module.reduction > 1:
        seen = functional.interpolate(seen.flatten(0, 1), size=(height, width), mode="bilinear").unflatten(
            0, clip.shape[:2]
        )
    cells = module.self_norm(to_sequence(clip) + to_sequence(seen))
    own = to_sequence(position[:, None].expand(-1, frames, -1, -1, -1))
    keys = text.words + sine_position_1d(text.mask, channels=text.words.shape[2])
    read = attend(module.attention, cells + own, keys, text.words, ~text.mask)
    return to_clip(feed(module.feed_forward, module.norm(cells + read)), like=clip)


def masks(head: Any, features: Tensor, states: Tensor, centres: Tensor) -> Tensor:
    """Dynamic masks as grouped convolutions over a copy of the features and offsets per query."""
    frames, queries = states.shape[:2]
    height, width = features.shape[2:]
    kernels = head.controller(states).flatten(0, 1).split(head.sizes, dim=1)
    y, x = (torch.arange(side) * head.stride + head.stride // 2 for side in (height, width))
    across = (centres[..., 0, None, None] - x).expand(-1, -1, height, -1)
    down = (centres[..., 1, None, None] - y[:, None]).expand(-1, -1, -1, width)
    offsets = torch.stack([across, down], dim=2)  # (T, Q, 2, h, w)
    repeated = features[:, None].expand(-1, queries, -1, -1, -1)
    hidden = torch.cat([repeated, offsets], dim=2).reshape(1, -1, height, width)
    count = frames * queries
    for layer, (weights, biases) in enumerate(zip(kernels[:3], kernels[3:], strict=True)):
        outputs = biases.shape[1]
        hidden = functional.conv2d(hidden, weights.reshape(count * outputs, -1, 1, 1), biases.reshape(-1), groups=count)
        hidden = functional.relu(hidden) if layer < 2 else hidden
    return hidden.view(frames, queries, height, width)


@torch.inference_mode()
def published(system: ReferFormer, clip: Tensor, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Returns mask logits (T, Q, h, w) and class logits (T, Q, 1) of a clip (T, 3, H, W), computing every layer's."""
    height, width = clip.shape[2:]
    text = system.encode_text(words, mask)
    finest, *coarser = backbone(system.visual, clip)
    maps = [finest[None]]
    for project, source in zip(system.projections, [*coarser, coarser[-1]], strict=True):
        maps.append(project(source)[None])
    padding = torch.zeros((1, height, width), dtype=torch.bool)
    paddings = [padding_at(padding, height=feature_map.shape[3], width=feature_map.shape[4]) for feature_map in maps]
    positions = [system.position(one) for one in paddings]
    keys = text.words + sine_position_1d(text.mask, channels=text.words.shape[2])
    fused = []
    for one in maps[1:]:
        asked = to_sequence(one)
        fused.append(to_clip(asked * attend(system.fusion.attention, asked, keys, text.words, ~mask), like=one)[0])
    frames = len(clip)
    transformer = system.transformer
    shapes = [tuple(level.shape[2:]) for level in fused]
    tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in fused], dim=1)
    placed = torch.cat(
        [
            (one.expand(frames, -1, -1, -1).flatten(2).transpose(1, 2) + level)
            for one, level in zip(positions[1:], transformer.level, strict=True)
        ],
        dim=1,
    )
    shares = torch.stack([_valid_ratio(one.expand(frames, -1, -1)) for one in paddings[1:]], dim=1)
    hidden = torch.zeros(tokens.shape[:2], dtype=torch.bool)
    references = _cell_centres(shapes, shares)
    for layer in transformer.encoder:
        read = deform(layer.attention, tokens + placed, references, tokens, shapes, hidden)
        tokens = feed(layer.feed_forward, layer.norm(tokens + read))
    place = system.query_embedding[None].expand(frames, -1, -1)
    queries = text.sentence[:, None].expand(frames, len(system.query_embedding), -1)
    reference = transformer.reference(place).sigmoid()
    states, boxes = [], []
    for layer, box in zip(transformer.decoder, system.boxes, strict=True):
        look = queries + place
        queries = layer.self_norm(queries + attend(layer.self_attention, look, look, queries, None))
        extent = shares.repeat(1, 1, reference.shape[2] // 2)
        read = deform(layer.attention, queries + place, reference[:, :, None] * extent[:, None], tokens, shapes, hidden)
        queries = feed(layer.feed_forward, layer.norm(queries + read))
        moved = box(queries)
        if reference.shape[2] == 4:
            moved = moved + inverse_sigmoid(reference)
        else:
            moved = torch.cat([moved[..., :2] + inverse_sigmoid(reference), moved[..., 2:]], dim=-1)
        reference = moved.sigmoid()
        states.append(queries)
        boxes.append(reference)
    seen = [
        part.transpose(1, 2).unflatten(2, shape)
        for part, shape in zip(tokens.split([h * w for h, w in shapes], dim=1), shapes, strict=True)
    ]
    mixed: Tensor | None = None
    for stage, one, position in zip(
        reversed(system.pyramid.stages), reversed([maps[0][0], *seen[:3]]), reversed(positions[:4]), strict=True
    ):
        inner = block(stage.block, stage.adapter(one)[None], position, text)[0]
        if mixed is not None:
            inner = inner + functional.interpolate(mixed, size=inner.shape[-2:], mode="nearest")
        mixed = functional.relu(stage.smooth(inner))
    features = system.pyramid.out(mixed)
    size = torch.tensor([width, height])
    found = [
        (masks(system.mask_head, features, state, box[..., :2] * size), head(state))
        for state, box, head in zip(states, boxes, system.classes, strict=True)
    ]
    return found[-1]


@torch.inference_mode()
def ours(system: ReferFormer, clip: Tensor, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Computes the same with this package."""
    padding = torch.zeros((1, *clip.shape[2:]), dtype=torch.bool)
    output = system.decode(system.encode_image(clip[None], padding), system.encode_text(words, mask))
    [last] = output.extras["layers"]
    return last.masks[0], last.classes[0]


def frames_of(count: int, *, height: int, width: int) -> Iterator[np.ndarray]:
    """Yields smooth frames that drift."""
    generator = np.random.default_rng(0)
    coarse = torch.from_numpy(generator.integers(0, 255, (1, 3, 12, 24)).astype(np.float32))
    wide = functional.interpolate(coarse, size=(height, 2 * width), mode="bicubic")[0].clamp(0, 255).byte()
    for number in range(count):
        start = number % width
        yield wide[:, :, start : start + width].permute(1, 2, 0).contiguous().numpy()


@dataclass(frozen=True, slots=True, kw_only=True)
class Drifting(Video):
    """A video whose frames are generated while it is read."""

    height: int
    width: int

    def frames(self) -> Iterator[Frame]:
        """Yields the frames."""
        for index, pixels in enumerate(frames_of(self.count or 0, height=self.height, width=self.width)):
            yield Frame(index=index, name=f"{index:05d}", pixels=pixels)


def times(given: argparse.Namespace) -> dict[str, Any]:
    """Returns the seconds of both forward passes, alternating, and the largest difference of their results."""
    system = model(given)
    clip = torch.stack(
        [
            torch.from_numpy(frame).permute(2, 0, 1).float() / 255
            for frame in frames_of(given.frames, height=given.height, width=given.width)
        ]
    )
    ids, mask = system.preprocess.text(TEXT)
    words, known = ids[None], mask[None]
    kinds = {"published": published, "ours": ours}
    results = {name: kind(system, clip, words, known) for name, kind in kinds.items()}
    apart = max(
        float((one - other).abs().max() / one.abs().max())
        for one, other in zip(results["published"], results["ours"], strict=True)
    )
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    processor: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(given.repeats):
        for name, kind in kinds.items():
            began, used = time.perf_counter(), time.process_time()
            kind(system, clip, words, known)
            seconds[name].append(time.perf_counter() - began)
            processor[name].append(time.process_time() - used)
    best = {name: min(every) for name, every in seconds.items()}
    middle = {name: median(every) for name, every in seconds.items()}
    return {
        "frames": given.frames,
        "seconds": {name: [round(run, 4) for run in every] for name, every in seconds.items()},
        "processor_seconds": {name: round(median(every), 4) for name, every in processor.items()},
        "median": {name: round(one, 4) for name, one in middle.items()},
        "ratio_of_medians": round(middle["published"] / middle["ours"], 3),
        "ratio_of_best": round(best["published"] / best["ours"], 3),
        "largest_difference": apart,
    }


def memory(way: str, length: int, given: argparse.Namespace) -> dict[str, Any]:
    """Returns the peak memory (MiB) of this process over a video of `length` frames, and its seconds."""
    system = model(given)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began = time.perf_counter()
    if way == "clips":
        video = Drifting(path=Path("drifting"), rate=24.0, count=length, height=given.height, width=given.width)
        predictor = VideoPredictor(system, clip_length=given.clip_len)
        answered = sum(1 for _ in predictor.predict(video, [TEXT]))
    else:
        pixels = frames_of(length, height=given.height, width=given.width)
        clip = torch.stack([torch.from_numpy(array).permute(2, 0, 1).float() / 255 for array in pixels])
        ids, mask = system.preprocess.text(TEXT)
        forward = published if way == "whole, published" else ours
        answered = len(forward(system, clip, ids[None], mask[None])[0])
    assert answered == length
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = time.perf_counter() - began
    return {
        "way": way,
        "frames": length,
        "peak_mib": round(peak),
        "model_mib": round(before),
        "seconds": round(seconds, 2),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the figures as JSON lines: growth of memory with length, and times."""
    parser = argparse.ArgumentParser(description="ReferFormer's forward, as published and as done here.")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--backbone", default="resnet50", choices=["resnet50", "resnet101"])
    parser.add_argument("--text-layers", type=int, default=12)
    parser.add_argument("--clip-len", type=int, default=8)
    parser.add_argument(
        "--lengths", default="8,16,32", help="Frames of the videos whose memory is measured; '' for none."
    )
    parser.add_argument("--memory", nargs=2, metavar=("WAY", "LENGTH"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    if given.memory:
        print(json.dumps(memory(given.memory[0], int(given.memory[1]), given)))
        return
    lengths = [int(one) for one in given.lengths.split(",") if one]
    own = list(sys.argv[1:] if arguments is None else arguments)
    for way in ("clips", "whole", "whole, published") if lengths else ():
        rows = []
        for length in lengths:
            command = [sys.executable, __file__, *own, "--memory", way, str(length)]
            rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
            print(json.dumps(rows[-1]), flush=True)
        if len(rows) > 1:
            grown = (rows[-1]["peak_mib"] - rows[0]["peak_mib"]) / (rows[-1]["frames"] - rows[0]["frames"])
            print(json.dumps({"way": way, "mib_a_frame": round(grown, 2)}), flush=True)
    # Times come last: a process that is started by a large one is counted as large as that from its first line on.
    print(json.dumps({"time": times(given)}), flush=True)


if __name__ == "__main__":
    main()
