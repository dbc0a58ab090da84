"""Draws captions under an image, each beside a patch of the colour that it explains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from risctl.vision.drawing.lettering import line_height, readable, wrap
from risctl.vision.drawing.palette import Colour

_PAPER: Colour = (255, 255, 255)
_PEN: Colour = (24, 24, 24)
# The least width of captions; a narrower image gets a white margin.
_NARROWEST = 240


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """A line under an image.

    Attributes:
        text: The line.
        colour: Colour of the patch before it; None for no patch.
        filled: Whether the patch is filled; an outline stands for something that is not in the image.
    """

    text: str
    colour: Colour | None = None
    filled: bool = True


def with_captions(image: np.ndarray, captions: Sequence[Caption], *, size: int, width: int = _NARROWEST) -> np.ndarray:
    """Draws captions under an image.

    Args:
        image: Uint8 (H, W, 3).
        captions: The captions, wrapped where they are too long.
        size: Height of the letters in pixels.
        width: The least width of the result.

    Returns:
        Uint8 (H', W', 3), whose `[:H, :W]` is the image.
    """
    height, image_width = image.shape[:2]
    block = caption_block(captions, width=max(image_width, width), size=size)
    margin = np.full((height, block.shape[1] - image_width, 3), _PAPER, dtype=np.uint8)
    return np.concatenate([np.concatenate([image, margin], axis=1), block])


def caption_block(captions: Sequence[Caption], *, width: int, size: int) -> np.ndarray:
    """Returns `captions` alone, on white, uint8 (H, width, 3), in letters of `size` pixels, wrapped."""
    pad = max(4, size // 2)
    rows = []
    for caption in captions:
        text, font = readable(caption.text, size=size)
        indent = 2 * pad + size if caption.colour is not None else pad
        rows.append((caption, wrap(text, font=font, width=max(1, width - indent - pad)), font, indent))
    height = sum(len(lines) * line_height(font) for _, lines, font, _ in rows) + pad * (len(rows) + 1)
    block = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(block)
    y = pad
    for caption, lines, font, indent in rows:
        if caption.colour is not None:
            top = y + (line_height(font) - size) // 2
            pen.rounded_rectangle(
                (pad, top, pad + size - 1, top + size - 1),
                radius=size // 5,
                fill=caption.colour if caption.filled else None,
                outline=caption.colour,
                width=max(1, size // 8),
            )
        for line in lines:
            pen.text((indent, y), line, font=font, fill=_PEN)
            y += line_height(font)
        y += pad
    return np.asarray(block)
