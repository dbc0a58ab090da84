"""Small videos in the published layouts: made of boxes that move, or of the DAVIS sequences at hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = ((220, 40, 40), (40, 200, 60))
TEXTS = {"1": ("a red box", "the box on the left"), "2": ("a green box", "the box on the right")}


def labels_of(frame: int, *, height: int, width: int) -> np.ndarray:
    labels = np.zeros((height, width), dtype=np.uint8)
    labels[8:30, 4 + frame : 24 + frame] = 1
    if frame != 2:  # in one frame the second object does not show
        labels[20:44, 40 - frame : 60 - frame] = 2
    return labels


def write_film(pictures: Path, masks: Path, *, frames: int = 5, height: int = 48, width: int = 64) -> None:
    """Write the frames and label images of a video with two boxes."""
    for folder in (pictures, masks):
        folder.mkdir(parents=True)
    for frame in range(frames):
        labels = labels_of(frame, height=height, width=width)
        pixels = np.full((height, width, 3), 90, dtype=np.uint8)
        for number, colour in enumerate(COLOURS, start=1):
            pixels[labels == number] = colour
        Image.fromarray(pixels).save(pictures / f"{5 * frame:05d}.jpg", quality=95)
        image = Image.fromarray(labels)
        image.putpalette([value for number in range(256) for value in (number, 0, 255 - number)])
        image.save(masks / f"{5 * frame:05d}.png")


def write_youtube(root: Path, *, videos: dict[str, tuple[str, ...]] | None = None) -> Path:
    """Write the Ref-YouTube-VOS layout: `videos` by split."""
    for split, names in (videos or {"train": ("aa", "bb"), "test": ("cc",)}).items():
        table: dict[str, object] = {}
        meta: dict[str, object] = {}
        for name in names:
            write_film(root / split / "JPEGImages" / name, root / split / "Annotations" / name)
            said = [(target, text) for target, texts in TEXTS.items() for text in texts]
            table[name] = {
                "expressions": {str(n): {"exp": text, "obj_id": target} for n, (target, text) in enumerate(said)},
                "frames": [f"{5 * frame:05d}" for frame in range(5)],
            }
            meta[name] = {"objects": {"1": {"category": "box"}, "2": {"category": "crate"}}}
        folder = root / "meta_expressions" / split
        folder.mkdir(parents=True)
        (folder / "meta_expressions.json").write_text(json.dumps({"videos": table}))
        (root / split / "meta.json").write_text(json.dumps({"videos": meta}))
    return root


def write_davis(root: Path, mini: Path, *, names: tuple[str, ...] = ("cows", "dog")) -> Path:
    """Lay some of the DAVIS sequences at hand out as DAVIS 2017 with text annotations."""
    said = json.loads((mini / "expressions.json").read_text(encoding="utf-8"))
    for kind in ("JPEGImages", "Annotations"):
        folder = root / kind / "480p"
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).symlink_to(mini / kind / name, target_is_directory=True)
    texts = root / "davis_text_annotations"
    texts.mkdir()
    for number, annotator in enumerate(("1", "1_full_video", "2", "2_full_video")):
        lines = [f'{name} 1 "{said[name]["expressions"][number]["exp"]}"' for name in names]
        (texts / f"Davis17_annot{annotator}.txt").write_text("\n".join(lines) + "\n")
    sets = root / "ImageSets" / "2017"
    sets.mkdir(parents=True)
    (sets / "val.txt").write_text("\n".join(names) + "\n")
    return root
