"""Arranges many images on one contact sheet, each with its caption."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from risctl.vision.drawing.captions import Caption, caption_block
from risctl.vision.drawing.lettering import line_height, readable, wrap

_MARGIN = 12
# The least width of a sheet with a heading, and the height of the heading's letters.
_NARROWEST, _HEADING = 480, 18


def contact_sheet(
    images: Sequence[np.ndarray], captions: Sequence[str] | None = None, *, columns: int = 4, cell: int = 320
) -> np.ndarray:
    """Arranges images with captions in a grid on white.

    Args:
        images: Each uint8 (H, W, 3).
        captions: One per image, wrapped to the cell's width; None for no captions.
        columns: Images per row.
        cell: Side of a cell in pixels; larger images are scaled down to it.

    Returns:
        Uint8 (H', W', 3).

    Raises:
        ValueError: There is no image, or captions and images differ in number.
    """
    names = [""] * len(images) if captions is None else list(captions)
    if not images or len(names) != len(images) or columns < 1:
        raise ValueError(
            f"a sheet shows images with one caption each; got {len(images)} and {len(names)}, {columns} columns"
        )
    size = max(13, cell // 22)
    cells = [_Cell(image, name, side=cell, size=size) for image, name in zip(images, names, strict=True)]
    columns = min(columns, len(cells))
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    heights = [max(value.height for value in row) for row in rows]
    sheet = Image.new(
        "RGB", (columns * (cell + _MARGIN) + _MARGIN, sum(heights) + _MARGIN * (len(rows) + 1)), (255, 255, 255)
    )
    y = _MARGIN
    for row, height in zip(rows, heights, strict=True):
        for column, one in enumerate(row):
            one.draw(sheet, x=_MARGIN + column * (cell + _MARGIN), y=y)
        y += height + _MARGIN
    return np.asarray(sheet)


def grid(panels: Sequence[np.ndarray], *, columns: int, heading: Sequence[Caption] = ()) -> np.ndarray:
    """Arranges panels in rows on white under `heading`.

    Args:
        panels: Each uint8 (H, W, 3), drawn as it is.
        columns: Panels per row.
        heading: Captions above all panels.

    Returns:
        Uint8 (H', W', 3).

    Raises:
        ValueError: There is no panel.
    """
    if not panels or columns < 1:
        raise ValueError(f"a sheet shows at least one panel; got {len(panels)} in {columns} columns")
    columns = min(columns, len(panels))
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    wide = max(panel.shape[1] for panel in panels)
    width = max(_NARROWEST if heading else 0, columns * (wide + _MARGIN) + _MARGIN)
    top = caption_block(heading, width=width, size=_HEADING) if heading else np.zeros((0, width, 3), dtype=np.uint8)
    heights = [max(panel.shape[0] for panel in row) for row in rows]
    sheet = np.full((len(top) + sum(heights) + _MARGIN * (len(rows) + 1), width, 3), 255, dtype=np.uint8)
    sheet[: len(top)] = top
    y = len(top) + _MARGIN
    for row, height in zip(rows, heights, strict=True):
        for column, panel in enumerate(row):
            x = _MARGIN + column * (wide + _MARGIN)
            sheet[y : y + panel.shape[0], x : x + panel.shape[1]] = panel
        y += height + _MARGIN
    return sheet


def fit_image(
    image: np.ndarray, masks: Sequence[np.ndarray] = (), *, width: int, height: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Scales an image and its masks to fit `width` x `height`, up to twice the size.

    What is drawn on them afterwards keeps its line width.

    Args:
        image: Uint8 (H, W, 3).
        masks: Each bool (H, W).
        width: Width to fit, in pixels.
        height: Height to fit, in pixels.

    Returns:
        The scaled image, and the masks; a mask that has a pixel keeps at least one.
    """
    scale = min(2.0, width / image.shape[1], height / image.shape[0])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    picture = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
    small = []
    for mask in masks:
        share = np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX))
        kept = share >= 128
        small.append(kept if kept.any() else share == max(1, int(share.max())))
    return picture, small


class _Cell:
    """One image with its caption, `height` pixels in all."""

    def __init__(self, image: np.ndarray, caption: str, *, side: int, size: int) -> None:
        picture = Image.fromarray(image)
        scale = min(1.0, side / picture.width, side / picture.height)
        shape = (max(1, math.floor(picture.width * scale)), max(1, math.floor(picture.height * scale)))
        self._picture = picture if scale == 1 else picture.resize(shape, Image.Resampling.LANCZOS)
        text, self._font = readable(caption, size=size)
        self._lines = wrap(text, font=self._font, width=side) if text else []
        self.height = shape[1] + len(self._lines) * line_height(self._font)

    def draw(self, sheet: Image.Image, *, x: int, y: int) -> None:
        """Draws the image and its caption, the cell's corner at (x, y)."""
        sheet.paste(self._picture, (x, y))
        pen = ImageDraw.Draw(sheet)
        for row, line in enumerate(self._lines):
            pen.text(
                (x, y + self._picture.height + row * line_height(self._font)), line, font=self._font, fill=(24, 24, 24)
            )
