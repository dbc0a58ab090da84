"""Where an image lies in a square that it is resized to fit, as Darknet does; without torch."""

from __future__ import annotations


def letterbox_numbers(*, height: int, width: int, size: int) -> dict[str, int]:
    """Returns the numbers of a letterbox, in pixels.

    The resized sides are truncated, not rounded.

    Args:
        height: Rows of the image.
        width: Columns of the image.
        size: Side of the square.

    Returns:
        `inner_height`, `inner_width`, `top` and `left` of the resized image in the square.
    """
    scale = min(size / width, size / height)
    # An image of 1 x 5000 would otherwise have no rows left.
    inner_width, inner_height = max(1, int(width * scale)), max(1, int(height * scale))
    return {
        "inner_height": inner_height,
        "inner_width": inner_width,
        "top": (size - inner_height) // 2,
        "left": (size - inner_width) // 2,
    }
