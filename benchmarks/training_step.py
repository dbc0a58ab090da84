"""Measures what a training step costs, and what each way to make it cheaper brings at which difference of the loss.

    python benchmarks/training_step.py                              # vlt-scenes and referformer-scenes, on the CPU
    python benchmarks/training_step.py --recipes vlt-scenes --rounds 15 --only plain bf16 packed
    python benchmarks/training_step.py --profile --only packed      # where the time of a plain and a packed step goes
    python benchmarks/training_step.py --device cuda                # also fp16 with a scaler

Each way trains its own copy of one model on the same batches, drawn scenes. Rounds alternate between the ways, so that
other work on the machine meets all; a ratio is the median over rounds of a plain step's time by the way's in the
same round. On the CPU times are of the process (all threads), on CUDA of the wall clock. Memory is what autograd keeps
for the backward pass, on CUDA the measured peak. The difference is that of the loss after the steps, in percent of the
plain one, both computed plainly on a batch that was not trained on.

`packed` is `data.phrases_per_image=3`, about RefCOCO's 2.8, where every image has three; the plain step meets each
image three times. What cannot run here is a row with its reason: fp16 needs a GPU, compiling a C++ compiler and
Python's headers. `floats to device` undoes that images travel as bytes, as they do in every training of a system that
keeps the aspect ratio; on the CPU nothing travels. `--loading` compares images a second: plain, with torchvision's v2
transforms, and with loader processes that end with the epoch.
"""

from __future__ import annotations

import argparse
import copy
import os
import shutil
import statistics
import sysconfig
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from risctl.data.batch import Batch
from risctl.data.datasets.scenes.generate import make_scenes
from risctl.data.loading.loader import batches, make_loader
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.devices import pick_device
from risctl.recipe.load import load_recipe
from risctl.systems.base import System
from risctl.training.datasets import epoch_sampler, training_dataset
from risctl.training.initial_system import initial_system
from risctl.training.optimizer import build_optimizer

RECIPES = ("vlt-scenes", "referformer-scenes")
PHRASES = 3  # expressions of an image in a packed batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to train.

    Attributes:
        name: Its name.
        autocast: The type to compute the forward pass in.
        scaler: Whether gradients are scaled.
        fused: Whether the optimizer is one operation.
        prepare: Changes the system.
        packed: Whether the batches have each image once.
        floats: Whether images are floats before they go to the device, not bytes.
        gpu: Whether it needs a GPU.
    """

    name: str
    autocast: torch.dtype | None = None
    scaler: bool = False
    fused: bool = False
    prepare: Callable[[System], None] = lambda system: None
    packed: bool = False
    floats: bool = False
    gpu: bool = False


def compiled(system: System) -> None:
    """Compiles the image encoder, whose input has one size in every batch."""
    system.encode_image = torch.compile(system.encode_image, dynamic=False)  # type: ignore[method-assign]


def channels_last(system: System) -> None:
    """Keeps convolution kernels, and with them their maps, with the channels innermost."""
    for module in system.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)


def checkpointed(system: System) -> None:
    """Computes the image encoder again in the backward pass instead of keeping what it needs."""
    encode = system.encode_image
    system.encode_image = lambda images, padding: checkpoint(  # type: ignore[method-assign]
        encode, images, padding, use_reentrant=False
    )


def shared(batch: Batch) -> Batch:
    """Returns a batch of `packed_of` with each image once, as `risctl.data.batch.collate` makes it of shared images."""
    return replace(
        batch,
        images=batch.images[::PHRASES],
        padding=batch.padding[::PHRASES],
        image_rows=torch.arange(len(batch)) // PHRASES,
    )


WAYS = (
    Way(name="plain"),
    Way(name="bf16", autocast=torch.bfloat16),
    Way(name="fp16 + scaler", autocast=torch.float16, scaler=True, gpu=True),
    Way(name="compile", prepare=compiled),
    Way(name="channels_last", prepare=channels_last),
    Way(name="fused", fused=True),
    Way(name="checkpointing", prepare=checkpointed),
    Way(name="floats to device", floats=True, gpu=True),
    Way(name="packed", packed=True),
    Way(name="packed + bf16", packed=True, autocast=torch.bfloat16),
    Way(name="packed + channels_last", packed=True, prepare=channels_last),
)


def missing(way: Way, device: torch.device) -> str | None:
    """Returns why a way cannot be measured here; None if it can."""
    if way.gpu and device.type != "cuda":
        return "not measured: needs a GPU"
    if way.prepare is compiled:
        compiler = os.environ.get("CXX") or next(filter(shutil.which, ("g++", "clang++", "c++")), None)
        if compiler is None:
            return "not measured: torch.compile needs a C++ compiler, and there is none"
        if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
            return "not measured: torch.compile needs Python's headers (python3-dev), and there are none"
    return None


class Training:
    """One way to train one system."""

    def __init__(self, way: Way, system: System, recipe: Any, device: torch.device) -> None:
        self.way = way
        self.device = device
        self.system = copy.deepcopy(system).train().to(device)
        self.optimizer = build_optimizer(self.system, recipe.optim)
        if way.fused:
            for group in self.optimizer.param_groups:
                group["fused"], group["foreach"] = True, False
        self.plain = self.system.encode_image
        way.prepare(self.system)
        self.scaler = torch.amp.GradScaler(device.type, enabled=way.scaler)
        self.clip_norm = recipe.optim.clip_norm
        self.kept = 0

    def step(self, batch: Batch) -> float:
        """Trains on a batch, and returns the seconds that it took."""
        clock = time.process_time if self.device.type == "cpu" else time.perf_counter
        torch.manual_seed(0)
        begun = clock()
        given = shared(batch) if self.way.packed else batch
        if self.way.floats and given.images.dtype == torch.uint8:
            given = replace(given, images=given.images.float().div_(255))
        on_device = given.to(self.device)
        with torch.autocast(self.device.type, dtype=self.way.autocast, enabled=self.way.autocast is not None):
            terms = self.system.loss(self.system(on_device), on_device)
        total = torch.stack([term.float() for term in terms.values()]).sum()
        self.scaler.scale(total).backward()
        self.scaler.unscale_(self.optimizer)
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.system.parameters(), self.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return clock() - begun

    def memory(self, batch: Batch) -> int:
        """Returns the bytes that a step needs beside weights, gradients and moments."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            self.step(batch)
            return torch.cuda.max_memory_allocated() - before
        seen: dict[int, int] = {}
        own = {one.untyped_storage().data_ptr() for one in self.system.state_dict().values()}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                seen[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            self.step(batch)
        return sum(seen.values())

    @torch.no_grad()
    def loss(self, batch: Batch) -> float:
        """Returns the loss of a batch, computed plainly."""
        self.system.encode_image = self.plain  # type: ignore[method-assign]
        torch.manual_seed(0)
        on_device = batch.to(self.device)
        return float(sum(term.float() for term in self.system.loss(self.system(on_device), on_device).values()))


def made_store(folder: Path, count: int) -> Path:
    """Writes a store of drawn scenes."""
    path = folder / "scenes.h5"
    write_store(make_scenes(count=count, seed=0, workers=1), path)
    return path


def packed_of(batch: Batch) -> Batch:
    """Returns a batch whose rows have each image `PHRASES` times, with the targets of those images."""
    rows = torch.arange(len(batch)) // PHRASES
    again = rows * PHRASES
    assert batch.targets is not None
    return replace(
        batch,
        images=batch.images[again],
        padding=batch.padding[again],
        targets=batch.targets[again],
        geometries=tuple(batch.geometries[int(row)] for row in again),
        boxes=None if batch.boxes is None else batch.boxes[again],
    )


def measure(name: str, given: argparse.Namespace, folder: Path) -> None:
    """Prints the table of one recipe."""
    device = pick_device(given.device)
    recipe = load_recipe(name, [f"data.store={made_store(folder, given.scenes)}", "data.workers=0"])
    with Store(Path(recipe.data.store)) as store:
        system = initial_system(recipe, (store,)).system
        dataset = training_dataset(recipe, store, system)
        size = recipe.data.batch_size // PHRASES * PHRASES
        data = recipe.data.model_copy(update={"batch_size": size})
        sampler = epoch_sampler(recipe.model_copy(update={"data": data}), dataset)
        stream = batches(make_loader(dataset, sampler, workers=0))
        # Packed and plain ways train on the same rows, so that their losses can be compared.
        drawn = [packed_of(next(stream)) for _ in range(given.distinct + 1)]
    *trained, apart = drawn
    if given.profile:
        for way in WAYS:
            if way.name in given.only and missing(way, device) is None:
                profile(Training(way, system, recipe, device), trained[0])
        return
    asked = [way for way in WAYS if way.name in given.only]
    ways = [way for way in asked if missing(way, device) is None]
    trainings = [Training(way, system, recipe, device) for way in ways]
    times: dict[str, list[float]] = {way.name: [] for way in ways}
    for turn in range(given.rounds + 2):
        for training in trainings:
            spent = training.step(trained[turn % len(trained)])
            if turn >= 2:  # the first compile and allocate
                times[training.way.name].append(spent)
    kept = {one.way.name: one.memory(trained[0]) for one in trainings}
    losses = {one.way.name: one.loss(apart) for one in trainings}
    print(f"\n{name}: batches of {size} expressions, {given.rounds} steps, {device}, {torch.get_num_threads()} threads")
    print(f"{'way':24} {'ms a step':>10} {'ratio':>7} {'memory MiB':>11} {'loss':>10} {'difference %':>13}")
    for way in asked:
        if (reason := missing(way, device)) is not None:
            print(f"{way.name:24} {reason}")
            continue
        own, plain = times[way.name], times["plain"]
        ratio = statistics.median(one / other for one, other in zip(plain, own, strict=True))
        difference = 100 * (losses[way.name] - losses["plain"]) / losses["plain"]
        print(
            f"{way.name:24} {1000 * statistics.median(own):10.1f} {ratio:7.2f} {kept[way.name] / 2**20:11.1f} "
            f"{losses[way.name]:10.4g} {difference:13.2f}",
            flush=True,
        )


def profile(training: Training, batch: Batch) -> None:
    """Prints what a step of a way spends its time on: by part of the system, then by operation."""
    training.step(batch)
    print(f"\n{training.way.name}: shares of a step's forward pass and of the whole")
    for part, share in parts_of_a_step(training, batch).items():
        print(f"{part:24} {100 * share:5.1f} %")
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        for _ in range(3):
            training.step(batch)
    print(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=16))


def parts_of_a_step(training: Training, batch: Batch) -> dict[str, float]:
    """Returns the share of a step's time that each part of the system takes in the forward pass, and all else."""
    clock = time.process_time if training.device.type == "cpu" else time.perf_counter
    spent: dict[str, float] = {}
    own = training.system.__dict__
    parts = ("encode_image", "encode_text", "decode", "loss")

    def timed(name: str) -> Callable[..., Any]:
        method = getattr(training.system, name)

        def call(*given: Any) -> Any:
            begun = clock()
            answer = method(*given)
            if training.device.type == "cuda":
                torch.cuda.synchronize()
            spent[name] = spent.get(name, 0.0) + clock() - begun
            return answer

        return call

    before = dict(own)
    for name in parts:
        own[name] = timed(name)
    whole = sum(training.step(batch) for _ in range(3))
    for name in parts:
        own.pop(name)
    own.update({name: before[name] for name in parts if name in before})
    shares = {name: seconds / whole for name, seconds in spent.items()}
    return {**shares, "backward and update": 1 - sum(shares.values())}


def loading(given: argparse.Namespace, folder: Path) -> None:
    """Prints images a second of the loader, of torchvision's v2 transforms, and with workers begun anew every epoch."""
    from torchvision.io import ImageReadMode, decode_image
    from torchvision.transforms import v2

    recipe = load_recipe("vlt-scenes", [f"data.store={made_store(folder, given.scenes)}"])
    with Store(Path(recipe.data.store)) as store:
        system = initial_system(recipe, (store,)).system
        dataset = training_dataset(recipe, store, system)
        images = [torch.frombuffer(bytearray(store.image_bytes(int(row))), dtype=torch.uint8) for row in range(64)]
        resize = v2.Compose([v2.Resize((128, 128), antialias=True), v2.ToDtype(torch.float32, scale=True)])

        def items() -> float:
            return _per_second(len(dataset), lambda: [dataset.item(0, index) for index in range(len(dataset))])

        def transforms() -> float:
            return _per_second(64, lambda: [resize(decode_image(one, mode=ImageReadMode.RGB)) for one in images])

        def epochs(*, persistent: bool) -> float:
            loader = make_loader(dataset, epoch_sampler(recipe, dataset), workers=1)
            loader.persistent_workers = persistent
            begun = time.perf_counter()
            for _ in range(3):
                for _ in batches(loader):
                    pass
            return 3 * len(dataset) / (time.perf_counter() - begun)

        rows: Sequence[tuple[str, Callable[[], float]]] = (
            ("an item: image, mask, flip, text", items),
            ("torchvision v2: decode and resize alone", transforms),
            ("a worker that lives on", lambda: epochs(persistent=True)),
            ("a worker of each epoch", lambda: epochs(persistent=False)),
        )
        found: dict[str, list[float]] = {name: [] for name, _ in rows}
        for _ in range(max(3, given.rounds // 5)):
            for name, work in rows:
                found[name].append(work())
    print("\nloading, images a second")
    for name, own in found.items():
        print(f"{name:42} {statistics.median(own):8.0f}")


def _per_second(count: int, work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return count / (time.process_time() - begun)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [way.name for way in WAYS]
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES))
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="WAY", help=", ".join(names))
    parser.add_argument("--rounds", type=int, default=15, help="steps of each way that count")
    parser.add_argument("--distinct", type=int, default=8, help="batches, which come again and again")
    parser.add_argument("--scenes", type=int, default=240)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--profile", action="store_true", help="print where the time of a step goes")
    parser.add_argument("--loading", action="store_true", help="measure loading in place of steps")
    given = parser.parse_args()
    given.only = ["plain", *(name for name in given.only if name != "plain")]
    with tempfile.TemporaryDirectory() as folder:
        if given.loading:
            loading(given, Path(folder))
            return
        for name in given.recipes:
            measure(name, given, Path(folder))


if __name__ == "__main__":
    main()
