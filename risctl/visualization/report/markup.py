"""Builds HTML that is safe by default: whatever is not `Markup` is text, and text is escaped."""

from __future__ import annotations

import html
import json
from typing import Any

_VOID = frozenset({"meta", "img", "input", "br"})
# Not allowed in HTML; replaced so that a reader sees that something was there.
_CONTROLS = dict.fromkeys((*range(9), 11, 12, *range(14, 32), *range(127, 160)), "\ufffd")


class Markup(str):
    """A piece of HTML, as opposed to text."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Returns `value` as escaped text; `Markup` stays as it is."""
    if isinstance(value, Markup):
        return value
    clean = str(value).translate(_CONTROLS).encode("utf-8", "replace").decode("utf-8")
    return Markup(html.escape(clean, quote=True))


def element(tag: str, /, *children: object, **attributes: object) -> Markup:
    """Returns an element.

    Args:
        tag: The name of the element.
        *children: Its content, escaped unless it is `Markup`.
        **attributes: `class_` and `for_` lose their underscore, others get "-" for "_"; True stands alone, False and
            None are left out. None may hold a script or a style, which the page's policy would not run.
    """
    parts = [tag]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        written = key.rstrip("_").replace("_", "-")
        parts.append(written if value is True else f'{written}="{text(value)}"')
    opening = f"<{' '.join(parts)}>"
    if tag in _VOID:
        return Markup(opening)
    return Markup(f"{opening}{''.join(text(child) for child in children)}</{tag}>")


def joined(*pieces: object) -> Markup:
    """Returns the pieces one after another, escaped unless they are `Markup`."""
    return Markup("".join(text(piece) for piece in pieces))


def data_block(identifier: str, data: Any) -> Markup:
    """Returns `data` as JSON for scripts of the page; whatever it holds, it cannot end its element."""
    written = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for char in "<>&":
        written = written.replace(char, f"\\u{ord(char):04x}")
    return Markup(f'<script type="application/json" id="{text(identifier)}">{written}</script>')
