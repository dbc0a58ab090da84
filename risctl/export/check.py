"""Compares a written graph with the model in torch, on images of several sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from risctl.core.encoders.base import VisualFeatures
from risctl.data.batch import Item, collate
from risctl.errors import MachineError
from risctl.export.formats import Run
from risctl.export.trace import Example
from risctl.systems.base import System

SIZES = ((480, 640), (640, 427), (300, 500))
"""Height and width of the images of the check."""

PHRASES = ("the red square on the left", "a man", "the second cup from the right, behind the plate")
TOLERANCE = 1e-2
"""Of logits: more than rounding changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far a graph is from the model at one size.

    Attributes:
        height: Height of the images in pixels.
        width: Their width.
        images: How many images were encoded together.
        expressions: How many expressions were asked together.
        logits: The largest difference of a logit.
        scores: The largest difference of a score; None without scores.
    """

    height: int
    width: int
    images: int
    expressions: int
    logits: float
    scores: float | None

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON values."""
        return {
            "image": [self.height, self.width],
            "images": self.images,
            "expressions": self.expressions,
            "logits": self.logits,
            "scores": self.scores,
        }


def made_image(height: int, width: int, *, seed: int) -> np.ndarray:
    """Returns an image, uint8 (height, width, 3): soft colours with a few sharp rectangles, so that there are edges."""
    generator = np.random.default_rng(seed)
    soft = Image.fromarray(generator.integers(0, 256, (5, 7, 3), dtype=np.uint8))
    pixels = np.array(soft.resize((width, height), Image.Resampling.BICUBIC))
    for _ in range(6):
        top, left = int(generator.integers(0, height * 3 // 4)), int(generator.integers(0, width * 3 // 4))
        tall, wide = int(generator.integers(height // 8, height // 3)), int(generator.integers(width // 8, width // 3))
        pixels[top : top + tall, left : left + wide] = generator.integers(0, 256, 3)
    return pixels


def example_of(system: System, images: Sequence[np.ndarray], *, phrases: Sequence[str] = PHRASES) -> Example:
    """Returns the inputs of `system` for images and phrases, which take turns among the images.

    Args:
        system: The system.
        images: Uint8 RGB (H, W, 3).
        phrases: The expressions.
    """
    items = []
    for number in range(max(len(images), len(phrases))):
        tensor, geometry = system.preprocess.image(images[number % len(images)])
        text = phrases[number % len(phrases)]
        words, mask = system.preprocess.text(text)
        items.append(Item(image=tensor, words=words, word_mask=mask, target=None, geometry=geometry, text=text))
    batch = collate(items).to("cpu")
    count = len(images)
    return Example(
        images=batch.images[:count],
        padding=batch.padding[:count],
        image_of=torch.arange(len(phrases)) % count,
        words=batch.words[: len(phrases)],
        word_mask=batch.word_mask[: len(phrases)],
    )


def compare(
    system: System, encode: Run, answer: Run, images: Sequence[np.ndarray], phrases: Sequence[str]
) -> Agreement:
    """Returns how far the graphs are from `system` on images of one size and phrases about them."""
    example = example_of(system, images, phrases=phrases)
    with torch.no_grad():
        visual: VisualFeatures = system.encode_image(example.images, example.padding)
        text = system.encode_text(example.words, example.word_mask)
        expected = system.decode(visual.select(example.image_of), text)
        features = encode([example.images, example.padding])
        found = answer([*features, example.padding, example.image_of, example.words, example.word_mask])
    height, width = images[0].shape[:2]
    return Agreement(
        height=height,
        width=width,
        images=len(images),
        expressions=len(phrases),
        logits=largest(found[0], expected.logits),
        scores=None if expected.scores is None else largest(found[1], expected.scores),
    )


def check(system: System, encode: Run, answer: Run, *, images: Sequence[np.ndarray] = ()) -> list[Agreement]:
    """Compares the graphs with `system` at three sizes, with one to three images and expressions at once.

    Args:
        system: The system.
        encode: Runs the first graph.
        answer: Runs the second.
        images: Images to take; made ones if there are fewer than three.

    Returns:
        The agreement at each size.
    """
    found = []
    for number, (height, width) in enumerate(SIZES):
        if len(images) > number:
            pictures = [images[number]] * (number + 1)
        else:
            pictures = [made_image(height, width, seed=10 * number + one) for one in range(number + 1)]
        found.append(compare(system, encode, answer, pictures, PHRASES[: 3 - number]))
    return found


def raise_if_different(agreements: Sequence[Agreement], *, name: str) -> None:
    """Raises `MachineError` if a graph differs from the model by more than rounding."""
    worst = max(agreements, key=lambda one: one.logits)
    if not worst.logits <= TOLERANCE:
        raise MachineError(
            f"the exported graph of {name} differs from the model by {worst.logits:.3g} in its logits, for images of "
            f"{worst.height}x{worst.width}; nothing was written. Please report it with what `risctl doctor` says"
        )


def largest(one: torch.Tensor, other: torch.Tensor) -> float:
    """Returns the largest difference of two tensors, infinite if their shapes differ."""
    if one.shape != other.shape:
        return float("inf")
    return float((one.float() - other.float()).abs().max())
