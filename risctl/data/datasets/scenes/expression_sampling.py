"""Which things of a scene are referred to, and by which expressions: fit ones only, of all abilities alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from risctl.data.datasets.scenes import language, spatial_relations
from risctl.data.datasets.scenes.catalogue import KINDS
from risctl.data.datasets.scenes.palette import COLOURS
from risctl.data.datasets.scenes.phrases import Phrase, Scene, needed

LEAST_AREA = 0.008
"""The least share of the picture that a thing referred to covers, as it is seen."""
NO_TARGET = 0.23
"""How often a scene has an expression that nothing fits; with about three refs a scene, one ref in twelve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saying:
    """An expression: its meaning, as typed, as normalised, and what it takes to understand it."""

    phrase: Phrase
    raw: str
    sent: str
    abilities: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Referral:
    """A thing referred to (its index, None for no-target) and one to three ways to say it."""

    target: int | None
    sayings: tuple[Saying, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    phrase: Phrase
    abilities: tuple[str, ...]
    tight: bool


def referrals(scene: Scene, *, theme: str, shape: tuple[int, ...], rng: np.random.Generator) -> list[Referral]:
    """Return two to four refs of different things, and at times one that nothing fits."""
    least = LEAST_AREA * shape[0] * shape[1]
    by_target: dict[int, dict[str, list[_Candidate]]] = {}
    for phrase in _phrases(scene, least):
        target = scene.the_one(phrase)
        if target is None or scene.things[target].visible < least:
            continue
        abilities, tight = needed(scene, phrase)
        if abilities and (tight or rng.random() < 0.07):
            candidate = _Candidate(phrase=phrase, abilities=abilities, tight=tight)
            by_target.setdefault(target, {}).setdefault(_form(phrase), []).append(candidate)
    if not by_target:
        return []
    # A thing that can be told in rarer ways comes first.
    order = sorted(by_target, key=lambda k: rng.random() ** (1 / (1 + len(by_target[k]))), reverse=True)
    chosen = order[: int(rng.choice([2, 3, 4], p=[0.35, 0.45, 0.2]))]
    found = [Referral(target=k, sayings=_sayings(by_target[k], rng)) for k in chosen]
    if rng.random() < NO_TARGET:
        ways = [_absent(scene, theme, least, rng) for _ in range(int(rng.integers(1, 3)))]
        sayings = {saying.sent: saying for saying in ways if saying is not None}
        if sayings:
            found.append(Referral(target=None, sayings=tuple(sayings.values())))
    return found


_WEIGHTS = {"plain": 0.4, "colour": 1.0, "size": 4.0, "place": 1.8, "order": 1.0, "relation": 1.3}
"""How often a form of expression is taken before others; the rarer a form is fit, the more."""


def _form(phrase: Phrase) -> str:
    for form in ("relation", "order", "size", "place", "colour"):
        if getattr(phrase, form) is not None:
            return form
    return "plain"


def _sayings(forms: dict[str, list[_Candidate]], rng: np.random.Generator) -> tuple[Saying, ...]:
    """Return one to three expressions of different meanings, of different forms if there are."""
    left = {form: list(found) for form, found in forms.items()}
    sayings: list[Saying] = []
    for _ in range(int(rng.choice([1, 2, 3], p=[0.35, 0.4, 0.25]))):
        names = [form for form, found in left.items() if found]
        if not names:
            break
        weights = np.array([_WEIGHTS[form] * (0.3 if len(left[form]) < len(forms[form]) else 1) for form in names])
        form = names[int(rng.choice(len(names), p=weights / weights.sum()))]
        found = left[form]
        odds = np.array([_likely(one) for one in found])
        one = found.pop(int(rng.choice(len(found), p=odds / odds.sum())))
        saying = _say(one.phrase, one.abilities, rng)
        if all(saying.sent != other.sent for other in sayings):
            sayings.append(saying)
    return tuple(sayings)


def _likely(one: _Candidate) -> float:
    """People name things, and say little: vague nouns and long phrases are rarer."""
    vague = {"thing": 0.15, "animal": 0.5}.get(one.phrase.noun, 1.0)
    counted = 3.0 if one.phrase.order and one.phrase.order[0] > 1 else 1.0
    return counted * vague * (1.0 if one.tight else 0.4) / (1 + len(one.abilities) * 0.3)


def _say(phrase: Phrase, abilities: tuple[str, ...], rng: np.random.Generator) -> Saying:
    text = language.word(phrase, rng)
    return Saying(phrase=phrase, raw=language.typed(text, rng), sent=text, abilities=abilities)


def _phrases(scene: Scene, least: float) -> Iterator[Phrase]:
    """Yield every phrase worth a thought: each noun and colour that is there, alone and with each further word."""
    anchors = list(_anchors(scene, least))
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
    kinds = sorted({one.category for one in scene.things})
    if any(KINDS[kind].animal for kind in kinds):
        kinds.append("animal")
    tints: list[str | None] = [None, *sorted({one.colour for one in scene.things})]
    return [(noun, colour) for noun in [*kinds, "thing"] for colour in tints]


def _anchors(scene: Scene, least: float) -> Iterator[Phrase]:
    """Yield the shortest phrases that name one thing, seen well enough: its kind, else its kind and colour."""

    def names_one(phrase: Phrase) -> bool:
        target = scene.the_one(phrase)
        return target is not None and scene.things[target].visible >= least

    for kind in sorted({one.category for one in scene.things}):
        plain = Phrase(noun=kind)
        if names_one(plain):
            yield plain
            continue
        for colour in sorted({one.colour for one in scene.things}):
            coloured = Phrase(noun=kind, colour=colour)
            if names_one(coloured):
                yield coloured


def _absent(scene: Scene, theme: str, least: float, rng: np.random.Generator) -> Saying | None:
    """Return an expression that nothing fits under any reading, near to what is there."""
    kinds = sorted({one.category for one in scene.things})
    anchors = list(_anchors(scene, least))
    for _ in range(30):
        noun = str(rng.choice(kinds))
        colour = str(rng.choice(KINDS[noun].colours))
        head = Phrase(noun=noun, colour=colour if rng.random() < 0.25 else None)
        style = rng.integers(6)
        if style == 0:
            others = [kind for kind in KINDS if theme in KINDS[kind].themes and kind not in kinds]
            phrase = Phrase(
                noun=str(rng.choice(others)), colour=str(rng.choice(COLOURS)) if rng.random() < 0.3 else None
            )
            if phrase.colour is not None and phrase.colour not in KINDS[phrase.noun].colours:
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
        abilities, tight = needed(scene, phrase) if scene.is_absent(phrase) else ((), False)
        if len(abilities) > 1 and tight:
            return _say(phrase, abilities, rng)
    return None
