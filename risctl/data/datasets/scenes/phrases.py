"""Defines the meaning of an expression: filters that are run on a scene under every reasonable reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from risctl.data.datasets.scenes import spatial_relations
from risctl.data.datasets.scenes.catalogue import CATEGORIES
from risctl.data.datasets.scenes.spatial_relations import SceneObject, Verdict

ABILITIES = ("category", "colour", "size", "place", "order", "relation", "absent")
"""What an expression may need: to tell kinds, colours and sizes apart; to know where in the image; to count from a
side; to relate to another object; to see that nothing fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """The meaning of an expression; None where it says nothing.

    `noun` is a category, "animal" or "thing"; `order` is (number from 1, "left" | "right"); `relation` is one of
    `spatial_relations.RELATIONS` and the phrase of the object it relates to.
    """

    noun: str
    colour: str | None = None
    size: str | None = None
    place: str | None = None
    order: tuple[int, str] | None = None
    relation: tuple[str, Phrase] | None = None


class Scene:
    """The objects of a scene and what phrases denote among them, memoised."""

    def __init__(self, objects: Sequence[SceneObject]) -> None:
        self.objects = list(objects)
        self._named: dict[tuple[str, str | None], int] = {}
        self._places: dict[str, Verdict] = {}
        self._relations: dict[tuple[str, int], Verdict] = {}

    @property
    def everything(self) -> int:
        """The set of all objects."""
        return (1 << len(self.objects)) - 1

    def named(self, noun: str, colour: str | None) -> int:
        """Returns the objects that `noun` names and that have the `colour`."""
        if (noun, colour) not in self._named:
            self._named[noun, colour] = spatial_relations.bits(
                k
                for k, one in enumerate(self.objects)
                if (noun in ("thing", one.category) or (noun == "animal" and CATEGORIES[one.category].animal))
                and colour in (None, one.colour)
            )
        return self._named[noun, colour]

    def denotation(self, phrase: Phrase) -> Verdict:
        """Returns what `phrase` denotes: surely (under every reading), and possibly (under any)."""
        base = self.named(phrase.noun, phrase.colour)
        sure, possible = base, base
        if phrase.place is not None:
            sure, possible = self._placed(phrase.place, base)
        if phrase.relation is not None:
            related = self._related(*phrase.relation)
            sure, possible = sure & related[0], possible & related[1]
        if phrase.order is not None:
            ordered = spatial_relations.in_order(self.objects, *phrase.order, base)
            sure, possible = sure & ordered[0], possible & ordered[1]
        if phrase.size is not None:
            classes = {base, possible}
            if phrase.size in ("small", "large"):
                classes.add(self.named(phrase.noun, None))
            sized = self._sized(phrase.size, classes)
            sure, possible = sure & sized[0], possible & sized[1]
        return sure, possible

    def referent(self, phrase: Phrase) -> int | None:
        """Returns the single object that `phrase` denotes under every reading, None if there is none."""
        sure, possible = self.denotation(phrase)
        return sure.bit_length() - 1 if sure and sure == possible and not sure & (sure - 1) else None

    def is_absent(self, phrase: Phrase) -> bool:
        """Returns whether `phrase` denotes nothing under any reading."""
        return self.denotation(phrase)[1] == 0

    def _placed(self, place: str, base: int) -> Verdict:
        """Returns what is in that part of the image, or, as people also mean it, furthest to that side of its group."""
        if place not in self._places:
            self._places[place] = spatial_relations.at_place(self.objects, place)
        sure, possible = self._places[place]
        sure, possible = sure & base, possible & base
        chosen = spatial_relations.members(base)
        if len(chosen) < 2:
            return sure, possible
        alike = base
        for side in place.split():
            if side == "middle":
                inner = sorted(chosen, key=lambda k: self.objects[k].centre[0])[
                    (len(chosen) - 1) // 2 : len(chosen) // 2 + 1
                ]
                alike &= spatial_relations.bits(inner)
            else:
                axis, sign = (0 if side in ("left", "right") else 1), (1 if side in ("left", "top") else -1)
                alike &= 1 << min(chosen, key=lambda k: sign * self.objects[k].centre[axis])
        return sure & alike, possible | alike

    def _related(self, relation: str, anchor: Phrase) -> Verdict:
        position = self.referent(anchor)
        if position is None:
            # The anchor is ambiguous, so anything might be in relation to it.
            return 0, self.everything
        if (relation, position) not in self._relations:
            self._relations[relation, position] = spatial_relations.in_relation(self.objects, relation, position)
        return self._relations[relation, position]

    def _sized(self, word: str, classes: set[int]) -> Verdict:
        """A "small red ball" is small among red balls, or among balls; "on the left" before or after "small"."""
        sure, possible = self.everything, 0
        for among in classes:
            found = spatial_relations.of_size(self.objects, word, among)
            sure, possible = sure & found[0], possible | found[1]
        return sure, possible


def without_words(phrase: Phrase) -> dict[str, list[Phrase]]:
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
        for ability, others in without_words(anchor).items():
            found.setdefault(ability, []).extend(replace(phrase, relation=(relation, other)) for other in others)
    return found


def needed_abilities(scene: Scene, phrase: Phrase) -> tuple[tuple[str, ...], bool]:
    """Returns the abilities that a phrase needs, and whether no word but the noun could be left out.

    An ability is needed if the phrase without its words no longer singles out the same object, or, of a no-target
    phrase, would fit something.
    """
    absent = scene.is_absent(phrase)
    target = None if absent else scene.referent(phrase)

    def still(other: Phrase) -> bool:
        return scene.is_absent(other) if absent else scene.referent(other) == target

    abilities, tight = set(), True
    for ability, others in without_words(phrase).items():
        holds = [still(other) for other in others]
        if not all(holds):
            abilities.add(ability)
        if ability != "category" and any(holds):
            tight = False
    if absent:
        abilities.add("absent")
    return tuple(ability for ability in ABILITIES if ability in abilities), tight
