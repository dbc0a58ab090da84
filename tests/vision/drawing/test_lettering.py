"""Text on images."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from risctl.vision.drawing.lettering import builtin_font, line_height, readable, wrap
from risctl.vision.drawing.palette import COLOURS, luminance, text_colour


@given(st.text(max_size=60), st.integers(20, 400))
def test_lines_fit_their_width_and_lose_nothing(text: str, width: int) -> None:
    plain, font = readable(text, size=14)
    lines = wrap(plain, font=font, width=width)
    assert "".join("".join(lines).split()) == "".join(plain.split())
    assert all(font.getlength(line) <= width or len(line) == 1 for line in lines)


def test_text_is_broken_between_words() -> None:
    font = builtin_font(14)
    width = int(font.getlength("the red cup on")) + 1
    assert wrap("the red cup on the left", font=font, width=width) == ["the red cup on", "the left"]
    assert wrap("", font=font, width=width) == [""]


def test_latin_text_is_kept_and_control_signs_become_spaces() -> None:
    assert readable("the red cup", size=14)[0] == "the red cup"
    assert readable("Kätzchen à gauche", size=14)[0] == "Kätzchen à gauche"
    assert readable("a\tb\n c\x00\u202e", size=14)[0] == "a b c"


def test_signs_that_no_font_has_do_not_become_boxes() -> None:
    private = "\U000f1234"
    assert readable(f"cup {private}", size=14)[0] in ("cup", "cup ?")
    assert readable("cup \U000130b8", size=14)[0] in ("cup ?", "cup \U000130b8")


def test_lines_have_a_height() -> None:
    assert line_height(builtin_font(40)) > line_height(builtin_font(14)) >= 14


def test_ink_reads_on_every_colour() -> None:
    for ground in COLOURS:
        light, dark = sorted((luminance(ground), luminance(text_colour(ground))), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2, level AA


def test_colours_stay_apart_for_colour_blind_eyes() -> None:
    # Viénot, Brettel and Mollon's (1999) projections of linear RGB for protanopes and deuteranopes.
    projections = {
        "protanope": ((0.11238, 0.88762, 0.0), (0.11238, 0.88762, 0.0), (0.00401, -0.00401, 1.0)),
        "deuteranope": ((0.29275, 0.70725, 0.0), (0.29275, 0.70725, 0.0), (-0.02234, 0.02234, 1.0)),
    }
    for name, rows in projections.items():
        seen = []
        for rgb in COLOURS:
            linear = [(value / 255) ** 2.2 for value in rgb]
            seen.append([sum(a * b for a, b in zip(row, linear, strict=True)) for row in rows])
        for index, first in enumerate(seen):
            for second in seen[index + 1 :]:
                apart = sum((a - b) ** 2 for a, b in zip(first, second, strict=True)) ** 0.5
                assert apart > 0.04, name
