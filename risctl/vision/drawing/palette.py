"""Provides colours that colour-blind readers can tell apart: Okabe and Ito's set (2008) without black."""

from __future__ import annotations

Colour = tuple[int, int, int]

# Their order here: the first ones differ in lightness too, and are rare as the colour of a whole photographed object.
COLOURS: tuple[Colour, ...] = (
    (86, 180, 233),  # sky blue
    (230, 159, 0),  # orange
    (0, 158, 115),  # bluish green
    (240, 228, 66),  # yellow
    (204, 121, 167),  # reddish purple
    (213, 94, 0),  # vermillion
    (0, 114, 178),  # blue
)


def colour(index: int) -> Colour:
    """Returns the colour (red, green, blue, 0-255) of object `index`; colours repeat after the last."""
    return COLOURS[index % len(COLOURS)]


def text_colour(ground: Colour) -> Colour:
    """Returns black or white, whichever has more contrast with `ground` (WCAG)."""
    light = luminance(ground)
    return (0, 0, 0) if (light + 0.05) / 0.05 >= 1.05 / (light + 0.05) else (255, 255, 255)


def luminance(rgb: Colour) -> float:
    """Returns the relative luminance of an sRGB colour, in [0, 1] (WCAG 2)."""
    red, green, blue = (
        value / 255 / 12.92 if value / 255 <= 0.04045 else ((value / 255 + 0.055) / 1.055) ** 2.4 for value in rgb
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
