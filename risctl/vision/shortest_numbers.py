"""The size of an image that is resized to a shortest side, as the DETR family does; without torch."""

from __future__ import annotations


def shortest_numbers(*, height: int, width: int, short: int, longest: int | None = None) -> tuple[int, int]:
    """Returns the rows and columns of an image whose shortest side becomes `short`, the other side being truncated.

    Args:
        height: Rows of the image.
        width: Columns of the image.
        short: The shortest side in pixels; it becomes less if the other side would exceed `longest`.
        longest: The most pixels of the other side; None: no bound.
    """
    small, large = min(height, width), max(height, width)
    if longest is not None and large / small * short > longest:
        short = max(1, round(longest * small / large))
    other = max(1, int(short * large / small))
    return (short, other) if height <= width else (other, short)
