"""Sets text on images: a font that is always there, line wrapping, and characters that the font lacks."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from PIL import ImageFont

Font = ImageFont.FreeTypeFont

# Pillow's own font has Latin letters only. These are searched for among the system's fonts.
_WIDER_FONTS = ("DejaVuSans.ttf", "NotoSansCJK-Regular.ttc", "Arial Unicode.ttf", "msyh.ttc")
_REPLACEMENT = "?"
# A character that no font has: its glyph is what the font draws for any missing character.
_NOWHERE = "\U0010fffe"


@lru_cache(maxsize=64)
def builtin_font(size: int) -> Font:
    """Returns Pillow's own font at `size` pixels."""
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):  # a Pillow built without FreeType; its wheels have it
        raise RuntimeError("Pillow was built without FreeType, which text on pictures needs; reinstall pillow")
    return font


def readable(text: str, *, size: int) -> tuple[str, Font]:
    """Returns `text` as it can be drawn, and the font to draw it in.

    Pillow's own font is used if it has all characters, else a font of the system. If neither has them, a character
    loses its accents, or becomes `?`, so that a label is never a row of empty boxes. Control characters and line ends
    become spaces.

    Args:
        text: Any text.
        size: Height of the letters in pixels.
    """
    clean = " ".join("".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text).split())
    font = builtin_font(size)
    if not _missing(clean, font):
        return clean, font
    for name in _WIDER_FONTS:
        wider = _system_font(name, size)
        if wider is not None and not _missing(clean, wider):
            return clean, wider
    missing = _missing(clean, font)
    known = "".join(_plain(char) if char in missing else char for char in clean)
    lost = _missing(known, font)
    return "".join(_REPLACEMENT if char in lost else char for char in known), font


def wrap(text: str, *, font: Font, width: int) -> list[str]:
    """Breaks `text` into lines of at most `width` pixels, between words where possible; there is at least one line."""
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


def truncated(text: str, *, size: int, width: int) -> tuple[str, Font]:
    """Returns `text` as `readable` does, truncated with an ellipsis to `width` pixels."""
    shown, font = readable(text, size=size)
    while font.getlength(shown) > width and len(shown) > 2:
        shown = shown[:-2] + "…"
    return shown, font


def _fitting(line: str, *, font: Font, width: int) -> int:
    """Returns how many characters of `line` fit into `width` pixels, at least one."""
    few, many = 1, len(line)
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (middle, many) if font.getlength(line[:middle]) <= width else (few, middle)
    return few


def line_height(font: Font) -> int:
    """Returns the distance between the tops of two lines, in pixels."""
    ascent, descent = font.getmetrics()
    return ascent + descent


@lru_cache(maxsize=64)
def _system_font(name: str, size: int) -> Font | None:
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None


def _plain(char: str) -> str:
    return "".join(part for part in unicodedata.normalize("NFKD", char) if not unicodedata.combining(part))


def _missing(text: str, font: Font) -> set[str]:
    nothing = _drawn(_NOWHERE, font)
    return {char for char in set(text) if not char.isspace() and _drawn(char, font) == nothing}


def _drawn(char: str, font: Font) -> tuple[tuple[int, ...], bytes]:
    mask = font.getmask(char)
    return tuple(mask.size), bytes(mask)
