"""Chooses which objects of a scene are referred to and by which unambiguous expressions, balanced over abilities."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from risctl.data.datasets.scenes import language, spatial_relations
from risctl.data.datasets.scenes.catalogue import CATEGORIES
from risctl.data.datasets.scenes.palette import COLOURS
from risctl.data.datasets.scenes.phrases import Phrase, Scene, needed_abilities

MIN_AREA = 0.008
"""The smallest share of the image that the visible part of a referred object covers."""
NO_TARGET_RATE = 0.23
"""How often a scene has a no-target expression; with about three refs a scene, one ref in twelve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WordedPhrase:
    """An expression: its meaning, its text as typed and as normalised, and the abilities that it needs."""

    phrase: Phrase
    raw: str
    sent: str
    abilities: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Referral:
    """A referred object (its index, None of a no-target expression) and one to three expressions for it."""

    target: int | None
    expressions: tuple[WordedPhrase, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    phrase: Phrase
    abilities: tuple[str, ...]
    tight: bool


def referrals(scene: Scene, *, theme: str, shape: tuple[int, ...], rng: np.random.Generator) -> list[Referral]:
    """Returns two to four refs of different objects, and at times one without a target.

    Args:
        scene: The objects.
        theme: The background.
        shape: The image's (height, width).
        rng: The source of randomness.
    """
    min_area = MIN_AREA * shape[0] * shape[1]
    by_target: dict[int, dict[str, list[_Candidate]]] = {}
    for phrase in _phrases(scene, min_area):
        target = scene.referent(phrase)
        if target is None or scene.objects[target].visible_area < min_area:
            continue
        abilities, tight = needed_abilities(scene, phrase)
        if abilities and (tight or rng.random() < 0.07):
            candidate = _Candidate(phrase=phrase, abilities=abilities, tight=tight)
            by_target.setdefault(target, {}).setdefault(_form(phrase), []).append(candidate)
    if not by_target:
        return []
    # An object that rarer forms of expression single out comes first.
    order = sorted(by_target, key=lambda k: rng.random() ** (1 / (1 + len(by_target[k]))), reverse=True)
    chosen = order[: int(rng.choice([2, 3, 4], p=[0.35, 0.45, 0.2]))]
    found = [Referral(target=k, expressions=_worded_phrases(by_target[k], rng)) for k in chosen]
    if rng.random() < NO_TARGET_RATE:
        worded_phrases = [_absent(scene, theme, min_area, rng) for _ in range(int(rng.integers(1, 3)))]
        expressions = {worded.sent: worded for worded in worded_phrases if worded is not None}
        if expressions:
            found.append(Referral(target=None, expressions=tuple(expressions.values())))
    return found


_WEIGHTS = {"plain": 0.4, "colour": 1.0, "size": 4.0, "place": 1.8, "order": 1.0, "relation": 1.3}
"""The relative frequency of each form of expression; higher for forms that rarely single out an object."""


def _form(phrase: Phrase) -> str:
    for form in ("relation", "order", "size", "place", "colour"):
        if getattr(phrase, form) is not None:
            return form
    return "plain"


def _worded_phrases(forms: dict[str, list[_Candidate]], rng: np.random.Generator) -> tuple[WordedPhrase, ...]:
    """Returns one to three expressions of different meanings, of different forms where possible."""
    left = {form: list(found) for form, found in forms.items()}
    expressions: list[WordedPhrase] = []
    for _ in range(int(rng.choice([1, 2, 3], p=[0.35, 0.4, 0.25]))):
        names = [form for form, found in left.items() if found]
        if not names:
            break
        weights = np.array([_WEIGHTS[form] * (0.3 if len(left[form]) < len(forms[form]) else 1) for form in names])
        form = names[int(rng.choice(len(names), p=weights / weights.sum()))]
        found = left[form]
        odds = np.array([_likely(one) for one in found])
        one = found.pop(int(rng.choice(len(found), p=odds / odds.sum())))
        worded = _worded(one.phrase, one.abilities, rng)
        if all(worded.sent != other.sent for other in expressions):
            expressions.append(worded)
    return tuple(expressions)


def _likely(one: _Candidate) -> float:
    """Returns the relative frequency of a phrase: vague nouns and long phrases are rarer."""
    vague = {"thing": 0.15, "animal": 0.5}.get(one.phrase.noun, 1.0)
    counted = 3.0 if one.phrase.order and one.phrase.order[0] > 1 else 1.0
    return counted * vague * (1.0 if one.tight else 0.4) / (1 + len(one.abilities) * 0.3)


def _worded(phrase: Phrase, abilities: tuple[str, ...], rng: np.random.Generator) -> WordedPhrase:
    text = language.word_phrase(phrase, rng)
    return WordedPhrase(phrase=phrase, raw=language.typed(text, rng), sent=text, abilities=abilities)


def _phrases(scene: Scene, min_area: float) -> Iterator[Phrase]:
    """Yields the candidate phrases: each noun and colour that is there, alone and with each further word."""
    anchors = list(_anchors(scene, min_area))
    for noun, colour in _heads(scene):
        base = scene.named(noun, colour)
        if not base:
            continue
        head = Phrase(noun=noun, colour=colour)
        yield head
        if noun in ("thing", "animal") and base.bit_count() > 6:
            continue
        yield from (replace(head, place=place) for place in spatial_relations.PLACES)
        yield from (
            replace(head, relation=(relation, anchor)) for relation in spatial_relations.RELATIONS for anchor in anchors
        )
        if base.bit_count() > 1 and noun != "thing":
            for size in spatial_relations.SIZE_WORDS:
                yield replace(head, size=size)
                yield from (replace(head, size=size, place=place) for place in ("left", "right", "middle"))
            last = min(base.bit_count(), 4)
            yield from (
                replace(head, order=(rank, side))
                for side in ("left", "right")
                for rank in range(1, last + 1)
                # Nobody counts past the middle, nor to the last.
                if rank <= (base.bit_count() + 1) // 2 or rank == 2 < base.bit_count()
            )


def _heads(scene: Scene) -> list[tuple[str, str | None]]:
    categories = sorted({scene_object.category for scene_object in scene.objects})
    if any(CATEGORIES[name].animal for name in categories):
        categories.append("animal")
    tints: list[str | None] = [None, *sorted({scene_object.colour for scene_object in scene.objects})]
    return [(noun, colour) for noun in [*categories, "thing"] for colour in tints]


def _anchors(scene: Scene, min_area: float) -> Iterator[Phrase]:
    """Yields the shortest phrases that name one clearly visible object: its category, else category and colour."""

    def names_one(phrase: Phrase) -> bool:
        target = scene.referent(phrase)
        return target is not None and scene.objects[target].visible_area >= min_area

    for name in sorted({scene_object.category for scene_object in scene.objects}):
        plain = Phrase(noun=name)
        if names_one(plain):
            yield plain
            continue
        for colour in sorted({scene_object.colour for scene_object in scene.objects}):
            coloured = Phrase(noun=name, colour=colour)
            if names_one(coloured):
                yield coloured


def _absent(scene: Scene, theme: str, min_area: float, rng: np.random.Generator) -> WordedPhrase | None:
    """Returns an expression that fits nothing under any reading but resembles what is there."""
    categories = sorted({scene_object.category for scene_object in scene.objects})
    anchors = list(_anchors(scene, min_area))
    for _ in range(30):
        noun = str(rng.choice(categories))
        colour = str(rng.choice(CATEGORIES[noun].colours))
        head = Phrase(noun=noun, colour=colour if rng.random() < 0.25 else None)
        style = rng.integers(6)
        if style == 0:
            others = [name for name in CATEGORIES if theme in CATEGORIES[name].themes and name not in categories]
            phrase = Phrase(
                noun=str(rng.choice(others)), colour=str(rng.choice(COLOURS)) if rng.random() < 0.3 else None
            )
            if phrase.colour is not None and phrase.colour not in CATEGORIES[phrase.noun].colours:
                continue
        elif style == 1:
            phrase = Phrase(noun=noun, colour=colour)
        elif style == 2:
            phrase = replace(head, place=str(rng.choice(spatial_relations.PLACES)))
        elif style == 3 and anchors:
            anchor = anchors[int(rng.integers(len(anchors)))]
            if anchor.noun == noun and scene.named(noun, head.colour).bit_count() < 2:
                # Nobody says "the book next to the book" of one book.
                continue
            phrase = replace(head, relation=(str(rng.choice(spatial_relations.RELATIONS)), anchor))
        elif style == 4 and scene.named(head.noun, head.colour).bit_count() > 1:
            phrase = replace(head, order=(int(rng.integers(3, 5)), str(rng.choice(["left", "right"]))))
        else:
            continue
        abilities, tight = needed_abilities(scene, phrase) if scene.is_absent(phrase) else ((), False)
        if len(abilities) > 1 and tight:
            return _worded(phrase, abilities, rng)
    return None
