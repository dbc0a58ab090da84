"""Cleans texts as CLIP's tokenizer does: by ftfy's default repairs, then HTML entities, white space and case.

The repairs are written here from the documentation of ftfy 6 (`ftfy.fix_text`), whose rules for text in the wrong
encoding are statistical; here text counts as such only if all of it is UTF-8 that was read as Windows-1252 or Latin-1.
"""

from __future__ import annotations

import html
import re
import unicodedata

_LIGATURES = str.maketrans(
    {
        "Ĳ": "IJ", "ĳ": "ij", "ŉ": "ʼn", "Ǆ": "DŽ", "ǅ": "Dž", "ǆ": "dž", "Ǉ": "LJ", "ǈ": "Lj", "ǉ": "lj", "Ǌ": "NJ",
        "ǋ": "Nj", "ǌ": "nj", "Ǳ": "DZ", "ǲ": "Dz", "ǳ": "dz", "ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl",
        "ﬅ": "ſt", "ﬆ": "st",
    }
)  # fmt: skip
_WIDE = re.compile("[\u3000\uff01-\uffef]")
_SINGLE_QUOTES = re.compile("[\u02bc\u2018-\u201b]")
_DOUBLE_QUOTES = re.compile("[\u201c-\u201f]")
_C1_CONTROLS = re.compile("[\x80-\x9f]")
_ESCAPES = re.compile("\x1b\\[[0-9;]*[A-Za-z]")
_CONTROLS = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\u206a-\u206f\ufeff\ufff9-\ufffc]")


def clean_text(text: str) -> str:
    """Returns `text` repaired, its HTML entities resolved, in lower case and with single spaces."""
    text = html.unescape(html.unescape(repaired(text)))
    return " ".join(text.split()).lower()


def repaired(text: str) -> str:
    """Returns `text` with straight quotes, plain letters for ligatures and wide forms, and no control characters."""
    if "<" not in text:  # else it may be markup, whose entities mean something
        text = html.unescape(text)
    if text.isascii():
        return _CONTROLS.sub("", _ESCAPES.sub("", text))
    text = _C1_CONTROLS.sub(_as_windows, _decoded(text)).translate(_LIGATURES)
    text = _WIDE.sub(lambda found: unicodedata.normalize("NFKC", found[0]), text)
    text = _DOUBLE_QUOTES.sub('"', _SINGLE_QUOTES.sub("'", text))
    return unicodedata.normalize("NFC", _CONTROLS.sub("", _ESCAPES.sub("", text)))


def _decoded(text: str) -> str:
    for encoding in ("cp1252", "latin-1"):
        try:
            return text.encode(encoding).decode("utf-8")
        except UnicodeError:
            continue
    return text


def _as_windows(found: re.Match[str]) -> str:
    return found[0].encode("latin-1").decode("cp1252", errors="replace").replace("\ufffd", found[0])
