"""What expressions are said to call for."""

from __future__ import annotations

import pytest

from risctl.data.datasets.scenes.generate import make_scenes
from risctl.language.ability_words import ABILITIES, abilities_in


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("man on the left", "place"),
        ("Top Right guy", "place"),
        ("closest zebra", "place"),
        ("the chair closest to the camera", "place"),
        ("woman standing on the right side", "place"),
        ("dark blue shirt", "colour"),
        ("the reddish one", "colour"),
        ("bigger bed", "size"),
        ("second banana from the left", "order"),
        ("leftmost star", "order"),
        ("3 from right", "order"),
        ("player number 7", "order"),
        ("man left of the tree", "relation"),
        ("cup next to the small plate", "size relation"),
        ("bed closest to the door", "relation"),
        ("left man in black holding an umbrella", "place colour relation"),
        ("boat at the pier", "relation"),
        ("boat at the far left", "order"),
        ("bottom of the picture", "place"),
        ("middle of the table", "relation"),
        ("zebra", ""),
        ("bottomless brightness topping redo", ""),
        ("", ""),
        ("猫", ""),
    ],
)
def test_words_call_for_abilities(text: str, expected: str) -> None:
    assert " ".join(abilities_in(text)) == expected


def test_every_ability_that_a_scene_needs_is_heard_in_its_words() -> None:
    needed = 0
    for record in make_scenes(count=60, seed=3).records:
        for expression in record.expressions:
            tags = set(expression.abilities) & set(ABILITIES)
            assert tags <= set(abilities_in(expression.sent)), expression.sent
            needed += len(tags)
    assert needed > 300


def test_a_long_text_is_read_in_time() -> None:
    assert abilities_in("on the " * 20_000 + "left of " * 20_000 + "1 from " * 20_000)
