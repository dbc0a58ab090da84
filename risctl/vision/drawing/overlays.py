"""Draws masks on an image: a tint inside, a crisp outline, and a label beside.

Line widths and letters scale with the image, so that it reads the same on a thumbnail and on a 40-megapixel photograph.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from risctl.vision.drawing.captions import Caption, with_captions
from risctl.vision.drawing.lettering import Font, line_height, readable, wrap
from risctl.vision.drawing.palette import Colour, colour, text_colour

_TINT = 0.45
_PAPER: Colour = (255, 255, 255)
# Letters of a label; longer ones are cut.
_LONGEST = 240

Box = tuple[int, int, int, int]  # left, top, right, bottom; the last two exclusive


def overlay(
    image: np.ndarray,
    masks: Sequence[np.ndarray],
    labels: Sequence[str] | None = None,
    *,
    colours: Sequence[Colour] | None = None,
    tint: float = _TINT,
    beneath: bool = False,
) -> np.ndarray:
    """Draws masks on an image, each tinted, outlined and labelled.

    A label stands in a strip of its mask's colour right above, below or beside the object, where it covers no pixel of
    any mask. Where there is no room (the object fills the image, the label is long), or where the mask is empty, it
    stands in a caption bar under the image instead.

    Args:
        image: RGB, uint8 (H, W, 3).
        masks: Each bool (H, W).
        labels: One per mask; None for no labels.
        colours: One per mask; by default those of the palette in order.
        tint: Opacity of the colour inside a mask, 0 to 1.
        beneath: Put all labels in the caption bar, so that images of one size with the same labels give overlays of one
            size, as the frames of a video need.

    Returns:
        Uint8 (H', W', 3), whose `[:H, :W]` is the image; (H, W, 3) without a caption bar.

    Raises:
        ValueError: Masks, labels or colours do not fit the image.
    """
    names = _checked(image, masks, labels)
    paints = [colour(index) for index in range(len(masks))] if colours is None else list(colours)
    if len(paints) != len(masks):
        raise ValueError(f"there is one colour a mask; got {len(paints)} colours for {len(masks)} masks")
    height, width = image.shape[:2]
    line = max(2 if min(height, width) >= 64 else 1, round(0.0035 * math.sqrt(height * width)))
    canvas = image.copy()
    for mask, paint in zip(masks, paints, strict=True):
        _paint(canvas, mask.astype(bool), colour=paint, line=line, tint=tint)
    drawn = Image.fromarray(canvas)
    if not names:
        return np.asarray(drawn)
    size = max(13, min(round(0.034 * math.sqrt(height * width)), round(0.1 * min(height, width))))
    taken = np.zeros((height, width), dtype=bool)
    for mask in masks:
        taken |= mask.astype(bool)
    below: list[Caption] = []
    for mask, name, paint in zip(masks, names, paints, strict=True):
        text, font = readable(name if len(name) <= _LONGEST else name[:_LONGEST] + "…", size=size)
        strip = None if beneath else _place(text, font, mask=mask, taken=taken, gap=2 * line + 2)
        if strip is None:
            suffix = "" if mask.any() or beneath else " (nothing found)"
            below.append(Caption(text=text + suffix, colour=paint, filled=bool(mask.any())))
            continue
        left, top, right, bottom = strip.box
        taken[top:bottom, left:right] = True
        _draw_strip(drawn, strip, colour=paint)
    return with_captions(np.asarray(drawn), below, size=size) if below else np.asarray(drawn)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Strip:
    """A label within the image."""

    box: Box
    lines: list[str]
    font: Font
    pad: int


def _checked(image: np.ndarray, masks: Sequence[np.ndarray], labels: Sequence[str] | None) -> list[str]:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"an image to draw on is uint8 (H, W, 3); got {image.dtype} {image.shape}")
    for mask in masks:
        if mask.shape != image.shape[:2]:
            raise ValueError(f"a mask is of the image's size {image.shape[:2]}; got {mask.shape}")
    if labels is None:
        return []
    if len(labels) != len(masks):
        raise ValueError(f"there is one label a mask; got {len(labels)} labels for {len(masks)} masks")
    return list(labels)


def _paint(canvas: np.ndarray, mask: np.ndarray, *, colour: Colour, line: int, tint: float) -> None:
    """Tints the mask and draws its outline on `canvas` (H, W, 3) uint8, in place."""
    if not mask.any():
        return
    # Only the object's surroundings are touched: on a large photograph that is most of the time saved.
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    reach = 3 * line + 3
    window = (
        slice(max(0, rows[0] - reach), rows[-1] + 1 + reach),
        slice(max(0, columns[0] - reach), columns[-1] + 1 + reach),
    )
    part, inside = canvas[window], mask[window]
    for channel, paint in enumerate(colour):
        tinted = np.rint(np.arange(256) + tint * (paint - np.arange(256.0))).astype(np.uint8)
        layer = part[..., channel]
        layer[inside] = tinted[layer[inside]]
    # The line lies outside the object, so that a thin object stays visible; a light seam sets it off from a dark
    # ground.
    edge = _grown(inside, line)
    seam = _grown(edge, max(1, line // 2))
    _blend(part, seam & ~edge, _PAPER, strength=0.85)
    _blend(part, edge & ~inside, colour, strength=1.0)


def _grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    """Returns `mask` dilated by about `pixels` in every direction (an octagon: cross and square steps in turn)."""
    grown = mask.copy()
    for step in range(pixels):
        before = grown.copy()
        grown[1:] |= before[:-1]
        grown[:-1] |= before[1:]
        if step % 2:
            before = grown.copy()
        grown[:, 1:] |= before[:, :-1]
        grown[:, :-1] |= before[:, 1:]
    return grown


def _blend(part: np.ndarray, where: np.ndarray, colour: Colour, *, strength: float) -> None:
    """Blends `colour` into `part` where `where` is set, its edge softened by half a pixel, in place."""
    soft = Image.fromarray(where.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(0.5))
    alpha = np.asarray(soft)
    touched = np.nonzero(alpha)
    weight = alpha[touched][:, None] * np.float32(strength / 255)
    before = part[touched].astype(np.float32)
    part[touched] = np.rint(before + weight * (np.asarray(colour, dtype=np.float32) - before)).astype(np.uint8)


def _place(text: str, font: Font, *, mask: np.ndarray, taken: np.ndarray, gap: int) -> _Strip | None:
    """Returns the strip of `text` beside the object, clear of all that is `taken`; None if there is no room."""
    height, width = taken.shape
    if not mask.any() or not text:
        return None
    pad = max(2, line_height(font) // 5)
    lines = wrap(text, font=font, width=max(1, int(0.62 * width) - 2 * pad))
    if len(lines) > 2:
        return None
    strip_width = math.ceil(max(font.getlength(line) for line in lines)) + 2 * pad
    strip_height = len(lines) * line_height(font) + 2 * (pad // 2)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    # Centred first, then flush with either end; above, below, right, left.
    across = [
        min(max(0, x), max(0, width - strip_width))
        for x in ((left + right - strip_width) // 2, left, right - strip_width)
    ]
    along = [
        min(max(0, y), max(0, height - strip_height))
        for y in ((top + bottom - strip_height) // 2, top, bottom - strip_height)
    ]
    corners = [
        *((x, top - gap - strip_height) for x in across),
        *((x, bottom + gap) for x in across),
        *((right + gap, y) for y in along),
        *((left - gap - strip_width, y) for y in along),
    ]
    for x, y in corners:
        if x < 0 or y < 0 or x + strip_width > width or y + strip_height > height:
            continue
        if not taken[max(0, y - gap) : y + strip_height + gap, max(0, x - gap) : x + strip_width + gap].any():
            return _Strip(box=(x, y, x + strip_width, y + strip_height), lines=lines, font=font, pad=pad)
    return None


def _draw_strip(picture: Image.Image, strip: _Strip, *, colour: Colour) -> None:
    left, top, right, bottom = strip.box
    pen = ImageDraw.Draw(picture)
    pen.rounded_rectangle((left, top, right - 1, bottom - 1), radius=strip.pad, fill=colour)
    for row, line in enumerate(strip.lines):
        y = top + strip.pad // 2 + row * line_height(strip.font)
        pen.text((left + strip.pad, y), line, font=strip.font, fill=text_colour(colour))
