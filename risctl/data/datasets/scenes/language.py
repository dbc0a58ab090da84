"""Words phrases with the variety of people who type quickly: articles, synonyms, numerals, word order."""

from __future__ import annotations

import numpy as np

from risctl.data.datasets.scenes.catalogue import CATEGORIES
from risctl.data.datasets.scenes.phrases import Phrase

_COLOURS = {"gray": ("gray", "grey")}
_SIZES = {
    "small": ("small", "small", "little"),
    "large": ("big", "large"),
    "smallest": ("smallest",),
    "largest": ("biggest", "largest"),
}
_RELATIONS = {
    "left of": ("left of", "to the left of"),
    "right of": ("right of", "to the right of"),
    "next to": ("next to", "beside", "right next to"),
    "behind": ("behind", "partly behind"),
    "in front of": ("in front of",),
    "above": ("above", "over"),
    "below": ("below", "under", "beneath"),
}
_COUNTS = {1: ("first", "1st"), 2: ("second", "2nd"), 3: ("third", "3rd"), 4: ("fourth", "4th")}


def _one_of(rng: np.random.Generator, *choices: str) -> str:
    return choices[int(rng.integers(len(choices)))]


def _noun(phrase: Phrase, rng: np.random.Generator) -> str:
    if phrase.noun == "thing":
        return _one_of(rng, "thing", "object", "one")
    if phrase.noun == "animal":
        return "animal"
    names = CATEGORIES[phrase.noun].names
    return names[0] if rng.random() < 0.7 else _one_of(rng, *names)


def _named(phrase: Phrase, rng: np.random.Generator, *, before: str = "") -> str:
    """Returns size, colour and noun, with `before` in front of them."""
    size = _one_of(rng, *_SIZES[phrase.size]) if phrase.size else ""
    colour = _one_of(rng, *_COLOURS.get(phrase.colour, (phrase.colour,))) if phrase.colour else ""
    noun = _noun(phrase, rng)
    if colour and not before and rng.random() < 0.06:
        return " ".join(word for word in (size, noun, "that is", colour) if word)
    return " ".join(word for word in (before, size, colour, noun) if word)


def _placed(phrase: Phrase, place: str, rng: np.random.Generator) -> str:
    article = _one_of(rng, "the ", "the ", "")
    if place == "middle":
        if rng.random() < 0.25:
            return _named(phrase, rng, before="middle")
        return f"{_named(phrase, rng)} in {article}{_one_of(rng, 'middle', 'center')}"
    if " " in place:
        corner = _one_of(rng, " corner", "")
        if rng.random() < 0.25:
            return _named(phrase, rng, before=place)
        return f"{_named(phrase, rng)} {_one_of(rng, 'in', 'at')} {article}{place}{corner}"
    style = rng.integers(4)
    if style == 0 and place in ("left", "right", "bottom", "top"):
        return _named(phrase, rng, before=place)
    if place in ("left", "right"):
        side = _one_of(rng, "", "", " side")
        return f"{_named(phrase, rng)} {_one_of(rng, 'on', 'on', 'at')} {article}{place}{side}"
    return f"{_named(phrase, rng)} {_one_of(rng, 'at', 'near')} {article}{place}"


def _ordered(phrase: Phrase, rank: int, side: str, rng: np.random.Generator) -> str:
    article = _one_of(rng, "the ", "")
    if rank == 1 and rng.random() < 0.85:
        if rng.random() < 0.6:
            return _named(phrase, rng, before=f"{side}most")
        return f"{_named(phrase, rng)} {_one_of(rng, 'farthest', 'furthest')} to the {side}"
    count = _one_of(rng, *_COUNTS[rank])
    if phrase.colour is None and rng.random() < 0.3:
        return f"{_named(phrase, rng)} {count} from {article}{side}"
    return f"{_named(phrase, rng, before=count)} from {article}{side}"


def word_phrase(phrase: Phrase, rng: np.random.Generator) -> str:
    """Returns `phrase` in words, in lower case and without punctuation."""
    text = _bare(phrase, rng)
    return f"the {text}" if rng.random() < 0.45 else text


def _bare(phrase: Phrase, rng: np.random.Generator) -> str:
    if phrase.order is not None:
        text = _ordered(phrase, *phrase.order, rng)
    elif phrase.place is not None:
        text = _placed(phrase, phrase.place, rng)
    else:
        text = _named(phrase, rng)
    if phrase.relation is None:
        return text
    relation, anchor = phrase.relation
    link = _one_of(rng, "", "", "", "that is ") + _one_of(rng, *_RELATIONS[relation])
    return f"{text} {link} {_one_of(rng, 'the ', 'the ', '')}{_bare(anchor, rng)}"


def typed(text: str, rng: np.random.Generator) -> str:
    """Returns `text` as someone may have typed it: with a capital or a full stop, at times."""
    if rng.random() < 0.15:
        text = text[0].upper() + text[1:]
    return text + "." if rng.random() < 0.08 else text
