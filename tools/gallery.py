"""Draws the README's gallery: mini's predictions on free images, failures included.

    risctl prepare scenes -n 12 --seed 21 --out scenes.h5 --pictures scenes
    python tools/gallery.py docs/pictures scenes docs/gallery.jpg

The expressions were written down before the predictions were seen (a fourth one for the coffee, "the plate", had no
room); those of the scenes are the scenes' own.
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
    """Predicts, draws and writes the gallery."""
    pictures, scenes, out = (Path(argument) for argument in sys.argv[1:4])
    inputs = [(pictures / f"{name}.jpg", texts) for name, texts in PHRASES.items()]
    for file in sorted(scenes.glob("*.json"))[:SCENES]:
        description = json.loads(file.read_text(encoding="utf-8"))
        texts = [expression["text"] for expression in description["expressions"]]
        inputs.append((file.with_suffix(".png"), texts[:: max(1, len(texts) // EACH)][:EACH]))
    predictor = Predictor.load(SHIPPED, device="cpu")
    overlays: list[np.ndarray] = []
    captions = []
    for path, texts in inputs:
        for prediction in predictor.predict(path, texts):
            overlays.append(prediction.overlay())
            answer = f"score {prediction.score:.2f}" if prediction.matched else f"no match ({prediction.score:.2f})"
            captions.append(f"{prediction.text}: {answer}")
    Image.fromarray(contact_sheet(overlays, captions, columns=EACH * 2, cell=230)).save(out, quality=85)


if __name__ == "__main__":
    main()
