"""Colours are read with the part that they are said of."""

from __future__ import annotations

import pytest

from risctl.language.clothing import LOWER, TOP, UPPER, coloured_parts


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("man in red shirt", ((UPPER, "red"),)),
        ("Grey striped shirt black pants", ((UPPER, "gray"), (LOWER, "black"))),
        ("girl with brown hair and a blue top", ((TOP, "brown"), (UPPER, "blue"))),
        ("black and white jacket", ((UPPER, "black"), (UPPER, "white"))),
        ("man in red", ()),
        ("red shirt next to the blue car", ()),
        ("man on the left", ()),
    ],
)
def test_parts_of_colours(text: str, parts: tuple[tuple[str, str], ...]) -> None:
    assert coloured_parts(text) == parts
