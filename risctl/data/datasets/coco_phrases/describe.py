"""Makes unambiguous phrases about the boxes of one image, without reading pixels or files.

Every phrase is checked against the other instances that a listener would consider (the target's peers: same noun, not
far smaller), with a margin, so that "left cup" is said of a cup only if it lies clearly further left than the others.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from risctl.data.datasets.coco_phrases import wording
from risctl.data.datasets.coco_phrases.instances import AXES, PLACE_SCORES, RELATION_SCORES, Instance
from risctl.data.datasets.coco_phrases.lexicon import NOUNS, nouns, plural

_PLACE_SHARES = {name: sum(table.values()) for name, table in wording.PLACES.items()}
_MIN_AREA = 0.004  # share of the image below which an instance is not referred to
_MIN_PEER_RATIO = 0.2  # an instance this much smaller than the target is not taken for it
_COLOUR_KIN = frozenset(
    frozenset(pair.split())
    for pair in (
        *("white gray", "gray black", "orange red", "orange yellow", "orange brown", "red pink", "pink purple"),
        *("purple blue", "brown black", "brown red", "brown yellow", "white yellow", "brown gray", "blue black"),
        *("green yellow",),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """A phrase, the indices of the instances that it refers to (empty: no-target), and the abilities that it needs."""

    text: str
    targets: tuple[int, ...]
    abilities: tuple[str, ...]


@lru_cache(maxsize=512)
def _nouns(category: str) -> tuple[tuple[str, ...], tuple[float, ...]]:
    pairs = nouns(category)
    return tuple(noun for noun, _ in pairs), tuple(weight for _, weight in pairs)


def weighted_choice(rng: random.Random, table: Mapping[str, float]) -> str:
    """Returns a key of `table`, drawn by weight."""
    return rng.choices(list(table), weights=list(table.values()))[0]


class Describer:
    """Makes phrases about the instances of one image; every method returns None where no such phrase fits.

    Args:
        instances: The instances.
        rng: Decides which phrases are made.
    """

    def __init__(self, instances: Sequence[Instance], rng: random.Random) -> None:
        self.instances = instances
        self.rng = rng
        self.salient = [i for i, instance in enumerate(instances) if instance.area >= _MIN_AREA and not instance.crowd]

    def targets(self) -> list[int]:
        """Returns the indices of the instances that are large enough to be referred to."""
        return self.salient

    def noun(self, index: int) -> str:
        """Returns a noun for an instance, drawn by how often people use it."""
        words, weights = _nouns(self.instances[index].category)
        return self.rng.choices(words, weights=weights)[0]

    def single(self, index: int) -> Phrase | None:
        """Returns a phrase that refers to the instance `index` alone."""
        forms = dict(wording.FORMS)
        makers: dict[str, Callable[[int, str], tuple[str, tuple[str, ...]] | None]] = {
            "bare": self._bare,
            "place": self._place,
            "order": self._order,
            "colour": self._colour,
            "size": self._size,
            "relation": self._relation,
            "colour and place": self._colour_and_place,
            "size and place": self._size_and_place,
            "noun-free": self._noun_free,
        }
        noun = self.noun(index)
        while forms:
            form = weighted_choice(self.rng, forms)
            made = makers[form](index, noun)
            if made is not None:
                text, abilities = made
                return Phrase(text=text, targets=(index,), abilities=abilities)
            del forms[form]
        return None

    def group(self) -> Phrase | None:
        """Returns a phrase for several instances of one category: all of them, or all on one side or of one colour."""
        groups: dict[str, list[int]] = {}
        for index in self.salient:
            groups.setdefault(self.instances[index].category, []).append(index)
        crowds = {instance.category for instance in self.instances if instance.crowd}
        groups = {name: members for name, members in groups.items() if len(members) > 1 and name not in crowds}
        if not groups:
            return None
        category = self.rng.choice(sorted(groups))
        # Whoever says "all the cups" means the small ones too.
        members = [i for i, instance in enumerate(self.instances) if instance.category == category]
        chosen, place = members, None
        abilities: tuple[str, ...] = ("category", "plural")
        if len(members) > 2 and self.rng.random() < 0.4:
            side = self._side(members)
            if side is not None:
                chosen, place = side
                abilities = ("category", "place", "plural")
        colours = {self.instances[i].colour for i in members}
        colour = None
        if place is None and len(colours) > 1 and None not in colours and self.rng.random() < 0.7:
            colour = self.rng.choice(sorted(name for name in colours if name is not None))
            alike = [i for i in members if not self._clearly_different(self.instances[i].colour, colour)]
            if len(alike) < 2 or len(alike) == len(members) or any(self.instances[i].colour != colour for i in alike):
                colour = None
            else:
                chosen, abilities = alike, ("category", "colour", "plural")
        if len(chosen) < 2:
            return None
        singular = self._shared_noun(category)
        many = "people" if singular == "person" else plural(singular)
        if colour is not None:
            many, singular = f"{colour} {many}", f"{colour} {singular}"
        table: dict[str, float] = dict(wording.BOTH if len(chosen) == 2 else wording.ALL)
        if many.endswith(singular) and singular != "people":
            # "the sheep" may be one: only a word that says so makes it several.
            table = {form: weight for form, weight in table.items() if form not in ("the {n}", "{n}", "every {s}")}
        if len(chosen) in wording.COUNTS and (len(chosen) > 2 or place is not None):
            table.update(wording.COUNTED)
        form = weighted_choice(self.rng, table)
        inner = weighted_choice(self.rng, wording.GROUP_PLACES[place]) if place is not None else "{n}"
        if inner.endswith("{n}") or place is None:
            text = form.format(n=inner.format(n=many), s=singular, k=wording.COUNTS.get(len(chosen), ""))
        else:
            text = inner.format(n=form.format(n=many, s=singular, k=wording.COUNTS.get(len(chosen), "")))
        return Phrase(text=text, targets=tuple(chosen), abilities=abilities)

    def absent(self, categories: Iterable[str] = NOUNS) -> Phrase | None:
        """Returns a no-target phrase: of a category or a colour that is not there."""
        there = {instance.category for instance in self.instances}
        taken = {word for category in there for word in _nouns(category)[0]}
        coloured = [i for i in self.salient if self.instances[i].colour is not None]
        if coloured and self.rng.random() < 0.25:
            index = self.rng.choice(coloured)
            peers = [t.colour for t in self.instances if t.category == self.instances[index].category]
            wrong = [
                c
                for c in ("red", "blue", "green", "yellow", "pink")
                if all(self._clearly_different(c, p) for p in peers)
            ]
            if wrong and None not in peers:
                colour = self.rng.choice(wrong)
                return Phrase(text=f"{colour} {self.noun(index)}", targets=(), abilities=("absent", "colour"))
        missing = [name for name in categories if name not in there and not taken & set(_nouns(name)[0])]
        if not missing:
            return None
        words, weights = _nouns(self.rng.choice(sorted(missing)))
        noun = self.rng.choices(words, weights=weights)[0]
        if self.rng.random() < 0.5:
            return Phrase(text=self.rng.choice(("{n}", "the {n}")).format(n=noun), targets=(), abilities=("absent",))
        place = self.rng.choice(sorted(wording.PLACES))
        text = weighted_choice(self.rng, wording.PLACES[place]).format(n=noun)
        return Phrase(text=text, targets=(), abilities=("absent", "place"))

    def _peers(self, index: int, *, any_category: bool = False) -> list[int]:
        own = self.instances[index]
        names = set(_nouns(own.category)[0])
        return [
            other
            for other, instance in enumerate(self.instances)
            if other != index
            and instance.area >= min(_MIN_PEER_RATIO * own.area, 0.05)
            and (
                any_category or instance.category == own.category or not names.isdisjoint(_nouns(instance.category)[0])
            )
        ]

    def _shared_noun(self, category: str) -> str:
        # Of people together only "people" is sure to be true.
        return "person" if category == "person" else _nouns(category)[0][0]

    def _bare(self, index: int, noun: str) -> tuple[str, tuple[str, ...]] | None:
        if self._peers(index):
            return None
        return self.rng.choices((noun, f"the {noun}"), weights=(679, 49))[0], ("category",)

    def _fits(self, index: int, place: str, rivals: Sequence[int]) -> bool:
        """Returns whether the instance `index` lies at `place` clearly more than every rival does."""
        own = self.instances[index]
        if place == "middle":
            left = [i for i in rivals if self.instances[i].x < own.x - 0.04]
            right = [i for i in rivals if self.instances[i].x > own.x + 0.04]
            if len(left) + len(right) < len(rivals) or not left or not right:
                return False
            nearest = min(abs(self.instances[i].x - 0.5) for i in rivals)
            return len(left) == len(right) or abs(own.x - 0.5) + 0.08 < nearest
        score = PLACE_SCORES[place]
        if ("left" in place and own.x > 0.62) or ("right" in place and own.x < 0.38):
            return False
        words = place.split()
        if ("top" in words and own.y > 0.62) or ("bottom" in words and own.y < 0.38):
            return False
        # A corner names two directions. The sum of both alone would let a lead in one make up for a tie in the other.
        ahead = all(AXES[word](own) > AXES[word](self.instances[i]) for word in words for i in rivals)
        return ahead and all(score(own) > score(self.instances[i]) + 0.06 * len(words) for i in rivals)

    def _fitting_place(self, index: int, rivals: Sequence[int]) -> str | None:
        fitting = {name: _PLACE_SHARES[name] for name in wording.PLACES if self._fits(index, name, rivals)}
        return weighted_choice(self.rng, fitting) if fitting else None

    def _place(self, index: int, noun: str) -> tuple[str, tuple[str, ...]] | None:
        peers = self._peers(index)
        # Without rivals a place is idle talk; people do it, but rarely.
        if not peers and self.rng.random() > 0.15:
            return None
        place = self._fitting_place(index, peers)
        if place is None:
            return None
        return weighted_choice(self.rng, wording.PLACES[place]).format(n=noun), ("category", "place")

    def _noun_free(self, index: int, noun: str) -> tuple[str, tuple[str, ...]] | None:
        rivals = self._peers(index, any_category=True)
        fitting = [name for name in wording.NOUN_FREE if self._fits(index, name, rivals)]
        if not fitting or self.instances[index].area < 0.04:
            return None
        return weighted_choice(self.rng, wording.NOUN_FREE[self.rng.choice(fitting)]), ("place",)

    def _order(self, index: int, noun: str) -> tuple[str, tuple[str, ...]] | None:
        peers = self._peers(index)
        if len(peers) < 2:
            return None
        sides: dict[str, Callable[[Instance], float]] = {"left": lambda t: t.x, "right": lambda t: -t.x}
        sides |= {"bottom": lambda t: -t.y, "top": lambda t: t.y, "front": lambda t: -t.foot}
        side = self.rng.choices(list(sides), weights=(131, 94, 20, 11, 6))[0]
        line = sorted([*peers, index], key=lambda i: sides[side](self.instances[i]))
        rank = line.index(index) + 1
        around = line[max(0, rank - 2) : rank + 1]
        gaps = [sides[side](self.instances[b]) - sides[side](self.instances[a]) for a, b in pairwise(around)]
        if rank not in wording.RANKS or min(gaps) < 0.03 or rank * 2 > len(line) + 2:
            return None
        form = weighted_choice(self.rng, wording.ORDER)
        if "{n}" not in form and len(peers) < len(self._peers(index, any_category=True)):
            form = "{r} {n} from {s}"
        return form.format(n=noun, r=weighted_choice(self.rng, wording.RANKS[rank]), s=side), ("category", "order")

    def _clearly_different(self, first: str | None, second: str | None) -> bool:
        """Returns whether nobody would call two colours the same."""
        return (
            first is not None
            and second is not None
            and first != second
            and frozenset((first, second)) not in _COLOUR_KIN
        )

    def _like_coloured(self, index: int) -> list[int]:
        return [
            i
            for i in self._peers(index)
            if not self._clearly_different(self.instances[index].colour, self.instances[i].colour)
        ]

    def _coloured(self, index: int, noun: str) -> str:
        table = wording.DRESSED if self.instances[index].category == "person" else wording.COLOURED
        return weighted_choice(self.rng, table).format(n=noun, c=self.instances[index].colour)

    def _colour(self, index: int, noun: str) -> tuple[str, tuple[str, ...]] | None:
        if self.instances[index].colour is None or self._like_coloured(index):
            return None
        return self._coloured(index, noun), ("category", "colour")

    def _colour_and_place(self, index: int, noun: str) -> tuple[str, tuple[str, ...]] | None:
        if self.instances[index].colour is None:
            return None
        place = self._fitting_place(index, self._like_coloured(index))
        if place is None:
            return None
        text = weighted_choice(self.rng, wording.PLACES[place]).format(n=self._coloured(index, noun))
        return text, ("category", "colour", "place")

    def _fitting_size(self, index: int, rivals: Sequence[int]) -> str | None:
        own = self.instances[index]
        areas, heights = [self.instances[i].area for i in rivals], [self.instances[i].height for i in rivals]
        fitting: dict[str, float] = {}
        if all(own.area > 1.6 * area for area in areas):
            fitting["big"] = 52
        if all(own.area * 1.6 < area for area in areas):
            fitting["small"] = 36
        if own.category in ("person", "giraffe", "bottle", "vase"):
            if all(own.height > 1.25 * height for height in heights):
                fitting["tall"] = 15
            if all(own.height * 1.25 < height for height in heights):
                fitting["short"] = 5
        return weighted_choice(self.rng, fitting) if fitting else None

    def _size(self, index: int, noun: str) -> tuple[str, tuple[str, ...]] | None:
        own = self.instances[index]
        # For a size, far smaller instances count too.
        peers = [
            i for i, t in enumerate(self.instances) if i != index and t.category == own.category and t.area >= _MIN_AREA
        ]
        size = self._fitting_size(index, peers) if peers else None
        if size is None:
            return None
        return weighted_choice(self.rng, wording.SIZES[size]).format(n=noun), ("category", "size")

    def _size_and_place(self, index: int, noun: str) -> tuple[str, tuple[str, ...]] | None:
        own, peers = self.instances[index], self._peers(index)
        place = self.rng.choice(("left", "right"))
        beside = [i for i in peers if (self.instances[i].x < 0.5) == (own.x < 0.5)]
        if (own.x < 0.5) != (place == "left") or abs(own.x - 0.5) < 0.1 or not beside or len(beside) == len(peers):
            return None
        size = self._fitting_size(index, beside)
        if size is None:
            return None
        text = weighted_choice(self.rng, wording.SIZES[size]).format(n=noun)
        return f"{text} on {self.rng.choice(('', 'the '))}{place}", ("category", "size", "place")

    def _relation(self, index: int, noun: str) -> tuple[str, tuple[str, ...]] | None:
        own, peers = self.instances[index], self._peers(index)
        counts: dict[str, int] = {}
        for instance in self.instances:
            counts[instance.category] = counts.get(instance.category, 0) + 1
        others = [
            i
            for i in self.salient
            if counts[self.instances[i].category] == 1 and self.instances[i].category != own.category
        ]
        self.rng.shuffle(others)
        for other in others[:4]:
            held: list[str] = []
            for relation, holds in RELATION_SCORES.items():
                score = holds(own, self.instances[other])
                if score is not None and all(
                    (theirs := holds(self.instances[i], self.instances[other])) is None or theirs < score - 0.1
                    for i in peers
                ):
                    held.append(relation)
            if held:
                relation = weighted_choice(self.rng, {name: sum(wording.RELATIONS[name].values()) for name in held})
                text = weighted_choice(self.rng, wording.RELATIONS[relation]).format(n=noun, o=self.noun(other))
                return text, ("category", "relation")
        for first, second in pairwise(others):
            if self._between(index, first, second) and not any(self._between(i, first, second) for i in peers):
                form = weighted_choice(self.rng, wording.RELATIONS["between"])
                return form.format(n=noun, o=self.noun(first), p=self.noun(second)), ("category", "relation")
        return None

    def _between(self, index: int, first: int, second: int) -> bool:
        own, low, high = (
            self.instances[index],
            *sorted((self.instances[first], self.instances[second]), key=lambda t: t.x),
        )
        return low.x + 0.05 < own.x < high.x - 0.05 and own.corners[1] < max(low.foot, high.foot)

    def _side(self, members: Sequence[int]) -> tuple[list[int], str] | None:
        """Returns those of `members` that lie together on one side, apart from the rest, and the side."""
        place = self.rng.choice(("left", "right", "left", "right", "top", "bottom"))
        sign = -1.0 if place in ("left", "top") else 1.0

        def along(index: int) -> float:
            return sign * ((self.instances[index].x if place in ("left", "right") else self.instances[index].y) - 0.5)

        inside = [i for i in members if along(i) > 0]
        outside = [i for i in members if along(i) <= 0]
        if len(inside) < 2 or not outside or min(map(along, inside)) - max(map(along, outside)) < 0.1:
            return None
        return inside, place
