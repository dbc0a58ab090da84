"""Reads images whose values are labels: masks, palettes of objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from risctl.errors import DataError


def read_labels(path: Path, *, size: tuple[int, int], grey: bool = False) -> np.ndarray:
    """Reads the values of a PNG as they are stored, those of a palette as its indices.

    Args:
        path: The file.
        size: The (height, width) that it must have; another is refused before anything is decoded.
        grey: Whether colours are converted to grey.

    Returns:
        The values, (H, W) or (H, W, channels), of the PNG's own type.

    Raises:
        DataError: It is missing, no PNG, damaged or of another size.
    """
    height, width = size
    try:
        with path.open("rb") as file, Image.open(file, formats=("PNG",)) as image:
            if image.size != (width, height):
                raise DataError(f"{path} has {image.width}x{image.height} pixels, its image {width}x{height}")
            return np.array(image if not grey or image.mode in ("P", "L") else image.convert("L"))
    except DataError:
        raise
    except Exception as error:  # decoders raise almost anything on damaged data
        raise DataError(f"{path} cannot be read as a PNG of masks: {error}") from error
