"""Text on pictures: a font that is always there, lines that fit a width, and signs that the font lacks."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from PIL import ImageFont

Font = ImageFont.FreeTypeFont

# Pillow's own font has Latin letters only. These are looked for, by name, where the system keeps its fonts.
_WIDER_FONTS = ("DejaVuSans.ttf", "NotoSansCJK-Regular.ttc", "Arial Unicode.ttf", "msyh.ttc")
_REPLACEMENT = "?"
# A sign that no font has: what is drawn for it is what the font draws for anything that it lacks.
_NOWHERE = "\U0010fffe"


@lru_cache(maxsize=64)
def builtin_font(size: int) -> Font:
    """Return Pillow's own font at `size` pixels."""
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):  # a Pillow built without FreeType; its wheels have it
        raise RuntimeError("Pillow was built without FreeType, which text on pictures needs; reinstall pillow")
    return font


def readable(text: str, *, size: int) -> tuple[str, Font]:
    """Return `text` as it can be drawn and the font to draw it in.

    Pillow's own font is taken if it has all the letters; else a wider font of the system; else a letter that is
    missing loses its accents, or becomes `?`, so that a label is never a row of empty boxes. Control characters and
    line ends become spaces.
    """
    clean = " ".join("".join(" " if unicodedata.category(sign)[0] in "CZ" else sign for sign in text).split())
    font = builtin_font(size)
    if not _missing(clean, font):
        return clean, font
    for name in _WIDER_FONTS:
        wider = _system_font(name, size)
        if wider is not None and not _missing(clean, wider):
            return clean, wider
    missing = _missing(clean, font)
    known = "".join(_plain(sign) if sign in missing else sign for sign in clean)
    lost = _missing(known, font)
    return "".join(_REPLACEMENT if sign in lost else sign for sign in known), font


def wrap(text: str, *, font: Font, width: int) -> list[str]:
    """Break `text` into lines no wider than `width` pixels, between words where possible; at least one line."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        joined = f"{line} {word}" if line else word
        if font.getlength(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        line = word
        while font.getlength(line) > width and len(line) > 1:
            fitting = _fitting(line, font=font, width=width)
            lines.append(line[:fitting])
            line = line[fitting:]
    return [*lines, line] if line or not lines else lines


def shortened(text: str, *, size: int, width: int) -> tuple[str, Font]:
    """Return `text` as `readable` does, cut with an ellipsis to `width` pixels."""
    shown, font = readable(text, size=size)
    while font.getlength(shown) > width and len(shown) > 2:
        shown = shown[:-2] + "…"
    return shown, font


def _fitting(line: str, *, font: Font, width: int) -> int:
    """Return how many letters of `line` fit `width`, at least one."""
    few, many = 1, len(line)
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (middle, many) if font.getlength(line[:middle]) <= width else (few, middle)
    return few


def line_height(font: Font) -> int:
    """Return the pixels from one line's top to the next one's."""
    ascent, descent = font.getmetrics()
    return ascent + descent


@lru_cache(maxsize=64)
def _system_font(name: str, size: int) -> Font | None:
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None


def _plain(sign: str) -> str:
    return "".join(part for part in unicodedata.normalize("NFKD", sign) if not unicodedata.combining(part))


def _missing(text: str, font: Font) -> set[str]:
    nothing = _drawn(_NOWHERE, font)
    return {sign for sign in set(text) if not sign.isspace() and _drawn(sign, font) == nothing}


def _drawn(sign: str, font: Font) -> tuple[tuple[int, ...], bytes]:
    mask = font.getmask(sign)
    return tuple(mask.size), bytes(mask)
