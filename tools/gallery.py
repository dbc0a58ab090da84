"""Draw the README's gallery: what mini answers about free pictures, its failures as well.

    risctl prepare scenes -n 12 --seed 21 --out scenes.h5 --pictures scenes
    python tools/gallery.py docs/pictures scenes docs/gallery.jpg

The phrases were written down before the answers were seen (a fourth one of the coffee, "the plate", had no room); those
of the scenes are the scenes' own.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from risctl.checkpoints.loaded_model import SHIPPED
from risctl.inference.predictor import Predictor
from risctl.vision.drawing.contact_sheet import contact_sheet

PHRASES = {
    "coffee": ["the spoon", "the cup", "the elephant"],
    "astronaut": ["the woman", "person in orange", "the rocket"],
    "cat": ["the cat", "a dog", "car"],
    "admiral": ["the tie", "old woman in a hat", "glasses"],
}
SCENES = 3
EACH = 3


def main() -> None:
    """Ask, draw, write."""
    pictures, scenes, out = (Path(one) for one in sys.argv[1:4])
    asked = [(pictures / f"{name}.jpg", texts) for name, texts in PHRASES.items()]
    for file in sorted(scenes.glob("*.json"))[:SCENES]:
        told = json.loads(file.read_text(encoding="utf-8"))
        texts = [one["text"] for one in told["expressions"]]
        asked.append((file.with_suffix(".png"), texts[:: max(1, len(texts) // EACH)][:EACH]))
    predictor = Predictor.load(SHIPPED, device="cpu")
    drawn: list[np.ndarray] = []
    captions = []
    for path, texts in asked:
        for one in predictor.predict(path, texts):
            drawn.append(one.overlay())
            answer = f"score {one.score:.2f}" if one.matched else f"no match ({one.score:.2f})"
            captions.append(f"{one.text}: {answer}")
    Image.fromarray(contact_sheet(drawn, captions, columns=EACH * 2, cell=230)).save(out, quality=85)


if __name__ == "__main__":
    main()
