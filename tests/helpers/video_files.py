"""Small videos in the published layouts: made of boxes that move, or of the DAVIS sequences at hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from risctl.vision import rle

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


def box_mask(frame: int, *, side: int, height: int = 24, width: int = 32) -> np.ndarray:
    """Returns the mask of one of two boxes that move, 0 on the left and 1 on the right."""
    mask = np.zeros((height, width), dtype=bool)
    first = 2 + frame if side == 0 else width - 10 - frame
    mask[6:14, first : first + 7] = True
    return mask


MEVIS_TEXTS: dict[str, tuple[str, list[int]]] = {
    "0": ("The box that moves right", [7]),
    "1": ("the two boxes", [7, 8]),
    "2": ("the box that turns around", []),
}


def write_mevis(root: Path, *, meta: str = "meta_expressions.json", frames: int = 4) -> Path:
    """Write MeViS's layout: valid_u with masks, valid without; the right box is absent in the last frame."""
    for split, name in (("valid_u", "aa"), ("valid", "bb")):
        write_plain_frames(root / split / "JPEGImages" / name, frames=frames)
        listed = [f"{frame:05d}" for frame in range(frames)]
        texts: dict[str, dict[str, object]] = {
            number: {"exp": text, "obj_id": list(range(len(ids))), "anno_id": ids}
            for number, (text, ids) in MEVIS_TEXTS.items()
        }
        if split == "valid":
            texts = {number: {"exp": entry["exp"]} for number, entry in texts.items()}
        else:
            (root / split / "mask_dict.json").write_text(json.dumps(mask_table(frames)))
        videos = {name: {"vid_id": 1, "frames": listed, "expressions": texts}}
        (root / split / meta).write_text(json.dumps({"videos": videos}))
    return root


def write_plain_frames(folder: Path, *, frames: int, height: int = 24, width: int = 32) -> None:
    """Write grey frames, numbered from 0."""
    folder.mkdir(parents=True)
    for frame in range(frames):
        Image.new("RGB", (width, height), (90, 90, 20 * frame)).save(folder / f"{frame:05d}.jpg")


def mask_table(frames: int) -> dict[str, list[dict[str, object] | None]]:
    """Returns MeViS's table of masks: by anno_id one RLE or null a frame."""
    return {
        "7": [dict(rle.encode(box_mask(frame, side=0))) for frame in range(frames)],
        "8": [dict(rle.encode(box_mask(frame, side=1))) if frame + 1 < frames else None for frame in range(frames)],
    }


def write_masks(root: Path, masks: dict[tuple[str, int], list[np.ndarray]]) -> Path:
    """Write `VIDEO/EXPRESSION/FRAME.png` of masks by video and expression."""
    for (video, expression), own in masks.items():
        folder = root / video / str(expression)
        folder.mkdir(parents=True)
        for frame, mask in enumerate(own):
            Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"{frame:05d}.png")
    return root
