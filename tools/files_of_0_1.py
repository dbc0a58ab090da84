"""Writes the files of risctl 0.1 that tests open: stores, features, a run, and a checkpoint of each system.

It runs on the code of 0.1, which the repository's history has; the package of today cannot run it:

    git worktree add ../risctl-0.1 3bc455c
    PYTHONPATH=../risctl-0.1 python tools/files_of_0_1.py tests/files/risctl-0.1.tar.xz

Weights repeat a short pattern instead of being random, and the run's gradients are scaled to nothing (its weights still
decay, its schedule goes on), so that the archive stays small. With each checkpoint goes what 0.1 predicted with it.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from safetensors import safe_open

from risctl import __version__
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.load import parse_recipe
from risctl.vision import rle

# Modules that only 0.1 has.
save_checkpoint = import_module("risctl.engine.checkpoint").save_checkpoint
Predictor = import_module("risctl.engine.predictor").Predictor
build_system = import_module("risctl.systems.build").build_system

TEXTS = ("the red cup", "left cup")
WORDS = ("the", "red", "blue", "cup", "cups", "dog", "left", "right", "both", "on")
ENCODER = {"layers": 1, "width": 16, "heads": 2, "feed_forward": 16}
MODELS: dict[str, dict[str, Any]] = {
    "vlt": {
        "input_size": 64, "max_words": 6, "queries": 2, "hidden": 8, "heads": 2, "encoder_layers": 1,
        "decoder_layers": 1, "feed_forward": 8, "fusion_channels": 8, "visual": {"name": "small_cnn"},
        "text": {"hidden": 8, "dim": 8},
    },
    "step": {
        "input_size": 64, "max_words": 6, "folds": 1, "filters": 8, "attention": 8, "embedding": 8,
        "context_channels": 8, "visual": {"name": "small_cnn"}, "text": {"hidden": 8, "dim": 8},
    },
    "referformer": {
        "short_side": 48, "queries": 3, "hidden": 32, "heads": 4, "encoder_layers": 1, "decoder_layers": 1,
        "feed_forward": 32, "mask_channels": 16, "visual": {"name": "small_cnn"},
        "text": {"tokens": None, "weights": None, **ENCODER},
    },
    "zsi": {
        "short_side": 64, "long_side": 96, "max_words": 8, "channels": 8, "hidden": 24, "vocabulary_words": 9,
        "proposals": 30, "visual": {"name": "small_cnn"}, "text": {"vectors": "given.txt", "dim": 12},
    },
    "mini": {
        "input_size": 64, "max_words": 6, "most": 6, "mask_channels": 16, "channels": 32, "layers": 1, "heads": 2,
        "presence": 0.0, "text": {"buckets": 64},
    },
}  # fmt: skip


def main(out: Path) -> None:
    """Writes all files into a folder and packs it."""
    assert __version__ == "0.1.0", f"needs the code of risctl 0.1, got {__version__}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "risctl-0.1"
        folder.mkdir()
        _write_data(folder)
        predictions = {system: _write_checkpoint(folder, system, model) for system, model in MODELS.items()}
        _write_features(folder)
        answers = {"predictions": predictions, "run": _write_run(folder)}
        (folder / "answers.json").write_text(json.dumps(answers, indent=1), encoding="utf-8")
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:xz", preset=9) as archive:
            archive.add(folder, arcname=folder.name, filter=_anonymous)
    out.write_bytes(packed.getvalue())
    print(f"{out}: {len(packed.getvalue())} bytes")


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


def _risctl(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "risctl", *arguments]
    subprocess.run(
        command, cwd=folder, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def _write_data(folder: Path) -> None:
    """Writes pictures of two cups, with masks, and stores of them: kept inside, linked, and as a video."""
    lines = []
    for number, split in enumerate(("train", "train", "val", "test")):
        pixels = np.full((48, 64, 3), (90, 140, 90), dtype=np.uint8)
        pixels[16:40, 4 + number : 24 + number] = (200, 30, 30)
        pixels[12:36, 40 : 56 + number] = (30, 60, 200)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        red, blue = ([[x, y, x + 20, y, x + 20, y + 24, x, y + 24]] for x, y in ((4 + number, 16), (40, 12)))
        common = {"image": f"{number}.png", "split": split, "category": "cup"}
        lines += [
            {**common, "texts": ["the red cup", "left cup"], "mask": red},
            {**common, "text": "the blue cup", "mask": blue},
            {**common, "text": "both cups", "mask": [*red, *blue]},
            {**common, "text": "the dog", "mask": None},
        ]
    (folder / "cups.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    _risctl(folder, "prepare", "own", "cups.jsonl", "--out", "cups.h5")
    _write_video(folder / "video")
    _risctl(folder, "prepare", "ref-youtube-vos", "--from", "video", "--out", "video.h5")
    shutil.rmtree(folder / "video")


def _write_video(root: Path) -> None:
    """Writes the layout of Ref-YouTube-VOS: one video of three frames per split."""
    for split, name in (("train", "aa"), ("test", "bb")):
        frames = [f"{5 * frame:05d}" for frame in range(3)]
        for kind in ("JPEGImages", "Annotations"):
            (root / split / kind / name).mkdir(parents=True)
        for frame, stem in enumerate(frames):
            labels = np.zeros((48, 64), dtype=np.uint8)
            labels[8:30, 4 + frame : 24 + frame] = 1
            pixels = np.where(labels[..., None] == 1, (220, 40, 40), 90).astype(np.uint8)
            Image.fromarray(pixels).save(root / split / "JPEGImages" / name / f"{stem}.jpg")
            image = Image.fromarray(labels, mode="P")
            image.putpalette([0, 0, 0, 255, 0, 0])
            image.save(root / split / "Annotations" / name / f"{stem}.png")
        said = {"expressions": {"0": {"exp": "the red cup", "obj_id": "1"}}, "frames": frames}
        (root / "meta_expressions" / split).mkdir(parents=True)
        path = root / "meta_expressions" / split / "meta_expressions.json"
        path.write_text(json.dumps({"videos": {name: said}}), encoding="utf-8")
        meta = {"videos": {name: {"objects": {"1": {"category": "cup"}}}}}
        (root / split / "meta.json").write_text(json.dumps(meta), encoding="utf-8")


def _fill(system: torch.nn.Module) -> None:
    """Gives every parameter a pattern of 61 values, of the size that its fan-in asks for; norms stay near one."""
    pattern = torch.sin(torch.arange(61, dtype=torch.float64) * 2.399963) * 1.7
    with torch.no_grad():
        for parameter in system.parameters():
            count = parameter.numel()
            values = pattern.repeat(count // 61 + 1)[:count].reshape(parameter.shape)
            if parameter.ndim > 1:
                parameter.copy_(values / parameter[0].numel() ** 0.5)
            else:
                parameter.copy_(parameter.mean() + values / 20)


def _recipe(system: str, model: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": f"{system}-cups",
        "model": {"system": system, **model},
        "data": {"store": "cups.h5", "batch_size": 2},
        "train": {"epochs": 1},
    }


def _write_checkpoint(folder: Path, system: str, model: dict[str, Any]) -> list[dict[str, Any]]:
    """Writes a checkpoint, and returns what 0.1 predicts with it."""
    recipe = parse_recipe(_recipe(system, model), source=system)
    vocabulary = Vocabulary(WORDS)
    vectors = None
    if system == "zsi":
        from risctl.language.coco_classes import SPLITS

        names = (*SPLITS["48_17"].seen, *SPLITS["48_17"].unseen)
        vocabulary = Vocabulary(sorted({*" ".join(names).split(), *WORDS}))
        vectors = np.sin(np.arange(len(vocabulary) * 12, dtype=np.float32) % 83).reshape(-1, 12)
    torch.manual_seed(0)
    built = build_system(recipe.model, vocabulary=vocabulary, vectors=vectors)
    _fill(built)
    path = folder / f"{system}.safetensors"
    save_checkpoint(path, system=built.eval(), recipe=recipe, vocabulary=vocabulary)
    predictor = Predictor.load(path, device="cpu")
    if system == "zsi":
        predictor.set_image(folder / "0.png")
        found = predictor.find(["cup", "dog"], score=0.0)
        return [{"text": one.name, "score": one.score, "rle": one.segmentation} for one in found[:5]]
    predictions = predictor.predict(folder / "0.png", TEXTS)
    return [{"text": one.text, "score": one.score, "rle": rle.encode(one.mask)} for one in predictions]


def _write_features(folder: Path) -> None:
    """Writes the features of the store that a frozen backbone gives."""
    model = {**MODELS["vlt"], "visual": {"name": "small_cnn", "frozen": True}}
    recipe = _recipe("vlt", model)
    recipe["train"]["start"] = {"checkpoint": "vlt.safetensors", "parts": ["visual"]}
    (folder / "frozen.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    _risctl(folder, "prepare", "features", "cups.h5", "--recipe", "frozen.yaml")


def _write_run(folder: Path) -> dict[str, float]:
    """Trains mini's detector for two epochs, and returns what 0.1 makes of a third: sums over its weights."""
    recipe = _recipe("mini", MODELS["mini"])
    recipe["data"] |= {"items": "things", "batch_size": 1, "workers": 0}
    recipe["optim"] = {"name": "adamw", "lr": 1e-2, "weight_decay": 0.1, "clip_norm": 1e-300}
    recipe["train"] = {"epochs": 2, "eval_every": None, "start": {"checkpoint": "mini.safetensors"}}
    (folder / "run.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    _risctl(folder, "train", "run.yaml", "--out", "run", "--device", "cpu")
    versions = json.loads((folder / "run" / "versions.json").read_text(encoding="utf-8"))
    (folder / "run" / "versions.json").write_text(json.dumps({**versions, "platform": "Linux"}), encoding="utf-8")
    shutil.copytree(folder / "run", folder / "longer")
    _risctl(folder, "train", "--resume", "longer", "train.epochs=3")
    with safe_open(folder / "longer" / "last.safetensors", "pt") as file:
        weights = [file.get_tensor(name).double() for name in sorted(file.keys()) if name.startswith("model.")]
    shutil.rmtree(folder / "longer")
    return {"sum": sum(float(one.sum()) for one in weights), "absolute": sum(float(one.abs().sum()) for one in weights)}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
