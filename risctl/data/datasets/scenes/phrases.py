"""The meaning of an expression: a small program of filters, run on a scene under every reasonable reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from risctl.data.datasets.scenes import spatial_relations
from risctl.data.datasets.scenes.catalogue import KINDS
from risctl.data.datasets.scenes.spatial_relations import Thing, Verdict

ABILITIES = ("category", "colour", "size", "place", "order", "relation", "absent")
"""What an expression may need: to tell kinds, colours and sizes apart; to know where in the picture; to count from a
side; to relate to another object; to see that nothing fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """The meaning of an expression; None where it says nothing.

    `noun` is a category, "animal" or "thing"; `order` is (number from 1, "left" | "right"); `relation` is one of
    `facts.RELATIONS` and the phrase of the object it relates to.
    """

    noun: str
    colour: str | None = None
    size: str | None = None
    place: str | None = None
    order: tuple[int, str] | None = None
    relation: tuple[str, Phrase] | None = None


class Scene:
    """The things of a scene, asked what a phrase denotes; what it has once worked out it keeps."""

    def __init__(self, things: Sequence[Thing]) -> None:
        self.things = list(things)
        self._named: dict[tuple[str, str | None], int] = {}
        self._places: dict[str, Verdict] = {}
        self._relations: dict[tuple[str, int], Verdict] = {}

    @property
    def everything(self) -> int:
        """The set of all things."""
        return (1 << len(self.things)) - 1

    def named(self, noun: str, colour: str | None) -> int:
        """Return the things that `noun` names and that have the `colour`."""
        if (noun, colour) not in self._named:
            self._named[noun, colour] = spatial_relations.bits(
                k
                for k, one in enumerate(self.things)
                if (noun in ("thing", one.category) or (noun == "animal" and KINDS[one.category].animal))
                and colour in (None, one.colour)
            )
        return self._named[noun, colour]

    def denote(self, phrase: Phrase) -> Verdict:
        """Return what `phrase` denotes: surely (under every reading), and possibly (under any)."""
        base = self.named(phrase.noun, phrase.colour)
        sure, possible = base, base
        if phrase.place is not None:
            sure, possible = self._placed(phrase.place, base)
        if phrase.relation is not None:
            related = self._related(*phrase.relation)
            sure, possible = sure & related[0], possible & related[1]
        if phrase.order is not None:
            ordered = spatial_relations.in_order(self.things, *phrase.order, base)
            sure, possible = sure & ordered[0], possible & ordered[1]
        if phrase.size is not None:
            classes = {base, possible}
            if phrase.size in ("small", "large"):
                classes.add(self.named(phrase.noun, None))
            sized = self._sized(phrase.size, classes)
            sure, possible = sure & sized[0], possible & sized[1]
        return sure, possible

    def the_one(self, phrase: Phrase) -> int | None:
        """Return the one thing that `phrase` denotes under every reading, None if there is no such."""
        sure, possible = self.denote(phrase)
        return sure.bit_length() - 1 if sure and sure == possible and not sure & (sure - 1) else None

    def is_absent(self, phrase: Phrase) -> bool:
        """Return whether `phrase` denotes nothing under any reading."""
        return self.denote(phrase)[1] == 0

    def _placed(self, place: str, base: int) -> Verdict:
        """In that part of the picture; and, as people also mean it, furthest to that side of the likes of it."""
        if place not in self._places:
            self._places[place] = spatial_relations.at_place(self.things, place)
        sure, possible = self._places[place]
        sure, possible = sure & base, possible & base
        chosen = spatial_relations.members(base)
        if len(chosen) < 2:
            return sure, possible
        likes = base
        for side in place.split():
            if side == "middle":
                inner = sorted(chosen, key=lambda k: self.things[k].centre[0])[
                    (len(chosen) - 1) // 2 : len(chosen) // 2 + 1
                ]
                likes &= spatial_relations.bits(inner)
            else:
                axis, sign = (0 if side in ("left", "right") else 1), (1 if side in ("left", "top") else -1)
                likes &= 1 << min(chosen, key=lambda k: sign * self.things[k].centre[axis])
        return sure & likes, possible | likes

    def _related(self, relation: str, anchor: Phrase) -> Verdict:
        position = self.the_one(anchor)
        if position is None:
            # Nobody can say which object is meant, so anything might be in relation to it.
            return 0, self.everything
        if (relation, position) not in self._relations:
            self._relations[relation, position] = spatial_relations.in_relation(self.things, relation, position)
        return self._relations[relation, position]

    def _sized(self, word: str, classes: set[int]) -> Verdict:
        """A "small red ball" is small among red balls, or among balls; "on the left" before or after "small"."""
        sure, possible = self.everything, 0
        for among in classes:
            found = spatial_relations.of_size(self.things, word, among)
            sure, possible = sure & found[0], possible | found[1]
        return sure, possible


def weaker(phrase: Phrase) -> dict[str, list[Phrase]]:
    """Return, by ability, `phrase` without the words that need it; two where head and anchor both have such words."""
    found: dict[str, list[Phrase]] = {}
    if phrase.noun != "thing":
        found["category"] = [replace(phrase, noun="thing")]
    if phrase.colour is not None:
        found["colour"] = [replace(phrase, colour=None)]
    if phrase.size is not None:
        found["size"] = [replace(phrase, size=None)]
    if phrase.place is not None:
        found["place"] = [replace(phrase, place=None)]
    if phrase.order is not None:
        found["order"] = [replace(phrase, order=None)]
    if phrase.relation is not None:
        relation, anchor = phrase.relation
        found["relation"] = [replace(phrase, relation=None)]
        for ability, others in weaker(anchor).items():
            found.setdefault(ability, []).extend(replace(phrase, relation=(relation, other)) for other in others)
    return found


def needed(scene: Scene, phrase: Phrase) -> tuple[tuple[str, ...], bool]:
    """Return the abilities without which `phrase` no longer singles out its thing (or no longer fails to), and whether
    no word but the noun could be left out.
    """
    absent = scene.is_absent(phrase)
    target = None if absent else scene.the_one(phrase)

    def still(other: Phrase) -> bool:
        return scene.is_absent(other) if absent else scene.the_one(other) == target

    abilities, tight = set(), True
    for ability, others in weaker(phrase).items():
        holds = [still(other) for other in others]
        if not all(holds):
            abilities.add(ability)
        if ability != "category" and any(holds):
            tight = False
    if absent:
        abilities.add("absent")
    return tuple(ability for ability in ABILITIES if ability in abilities), tight
