"""Draws the pictures of docs/explanations: what `risctl visualize` shows of each system on one photograph.

    python tools/explanation_pictures.py RUNS [SYSTEM …]

RUNS holds a run folder a system (`vlt`, `step`, …). One that is missing is made first: the system's small recipe learns
four photographs by heart, with masks of the model that ships, in a few minutes of one CPU core each. Such a model knows
nothing else; its picture shows how the system arrives at an answer, not how good it is. LAVT's is the run `lavt-scenes`
where there is one. A picture has at most 150 kB.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[1]
PICTURES = REPOSITORY / "docs" / "explanations" / "pictures"
PHOTOGRAPHS = REPOSITORY / "docs" / "pictures"
PHRASES = {
    "coffee": ("the cup", "the spoon"),
    "cat": ("the cat",),
    "astronaut": ("the woman",),
    "admiral": ("the man",),
}
DRAWN, PHRASE = "coffee", "the cup"
SYSTEMS = ("vlt", "step", "referformer", "lavt", "cris", "rela")
LARGEST, SIDE = 150_000, 1000  # bytes, pixels

# The same for all: the pictures as they are, no evaluation, every sentence in every step.
BY_HEART = ("~data.augment", "data.workers=0", "data.batch_size=5", "optim.warmup_steps=20", "train.eval_every=null")
STEPS = {"vlt": 400, "step": 250, "referformer": 200, "lavt": 200, "cris": 300, "rela": 160}
ALSO = {"referformer": ("model.short_side=96", "model.longest_side=160")}


def main() -> int:
    """Draws the systems that are named, or all. Returns the exit code."""
    runs, wanted = Path(sys.argv[1]), sys.argv[2:] or [*SYSTEMS, "mini"]
    PICTURES.mkdir(exist_ok=True)
    for name in wanted:
        if name == "mini":
            draw(name, "mini")
            continue
        found = [path for path in (runs / f"{name}-scenes", runs / name) if path.is_dir()]
        draw(name, str(found[0] if found else learn(name, runs)))
    return 0


def learn(name: str, runs: Path) -> Path:
    """Trains a system's small recipe on the photographs until it has them by heart; returns its run folder."""
    store = runs / "photographs.h5"
    if not store.is_file():
        annotated = runs / "photographs"
        for photograph, phrases in PHRASES.items():
            out = annotated / photograph
            risctl(
                "predict", str(PHOTOGRAPHS / f"{photograph}.jpg"), *phrases, "--format", "labelme", "--out", str(out)
            )
        for folder in ("labelme", "images"):
            (annotated / folder).mkdir()
            for path in annotated.glob(f"*/{folder}/*"):
                shutil.move(path, annotated / folder)
        risctl("prepare", "custom", str(annotated / "labelme"), "--out", str(store), "--splits", "train=1")
    steps = STEPS[name]
    options = [f"data.store={store}", f"train.max_steps={steps}", f"train.epochs={steps}", *ALSO.get(name, ())]
    risctl("train", f"{name}-scenes", *BY_HEART, *options, "--out", str(runs / name))
    return runs / name


def draw(name: str, model: str) -> None:
    """Draws one picture, in a JPEG of `LARGEST` bytes at most."""
    photograph = str(PHOTOGRAPHS / f"{DRAWN}.jpg")
    with tempfile.TemporaryDirectory() as folder:
        sheet = Path(folder) / "sheet.png"
        risctl("visualize", "attention", photograph, PHRASE, "--model", model, "--out", str(sheet))
        with Image.open(sheet) as opened:
            image = opened.convert("RGB")
    image.thumbnail((SIDE, 4 * SIDE))
    out = PICTURES / f"{name}.jpg"
    for quality in (85, 75, 60, 45):
        image.save(out, quality=quality, optimize=True)
        if out.stat().st_size <= LARGEST:
            break
    print(out)


def risctl(*arguments: str) -> None:
    """Runs a subcommand, and ends with its error."""
    subprocess.run([sys.executable, "-m", "risctl", *arguments, "--quiet"], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
