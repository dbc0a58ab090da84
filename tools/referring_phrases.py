"""Generates parsed referring phrases by rule: "second guy from left in the red shirt", with UD tags and relations.

A treebank of web text has few noun phrases that stand alone, in lower case and without an article; these phrases teach
them to a parser. The patterns and word lists are the project's own and contain no dataset's expressions.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field


def _words(text: str, between: str | None = None) -> list[str]:
    return text.split(between)


PEOPLE = _words(
    "man woman guy girl boy lady kid person child dude player baby batter catcher umpire skier surfer rider gentleman "
    "toddler chef soldier officer groom bride dad mom father mother skateboarder snowboarder pitcher worker waiter "
    "chick fella bro gal grandma people men women guys girls kids"
)
ANIMALS = _words(
    "elephant zebra giraffe horse cow sheep bear dog cat bird goat lamb calf puppy kitten duck animal pony"
)
THINGS = _words(
    "car bus truck train bike motorcycle boat plane chair couch sofa bed table bench pizza donut sandwich cake banana "
    "apple orange broccoli carrot hotdog food plate bowl cup glass bottle fork knife spoon vase umbrella suitcase bag "
    "backpack luggage laptop computer monitor screen tv phone book clock toilet sink oven refrigerator kite board "
    "surfboard skateboard bat racket glove ball toy flower plant pot tree box van cart wheel slice piece half row "
    "thing part food dish meat bread cookie egg salad"
)
CLOTHES = _words(
    "shirt jacket hat cap coat dress tie pants jeans shorts sweater hoodie top vest suit uniform scarf helmet"
)
PARTS = _words("hand arm leg head face hair back foot shoulder finger wheel seat edge")
CARRIED = _words(
    "umbrella phone bat racket bag cup glass plate camera baby ball surfboard glasses sunglasses beard ponytail"
)
COLOURS = _words(
    "red blue green yellow white black brown gray grey pink orange purple tan dark light blond silver gold"
)
LOOKS = _words(
    "big small tall short little young old bald striped plaid blurry large wooden empty full open long fat dirty"
)
SIDES = _words("left right")
PLACES = _words("left right middle center top bottom front back upper lower far closest nearest leftmost rightmost")
ORDINALS = _words("first second third fourth last 2nd 3rd")
COMPOUNDS = _words(
    "baseball player|tennis player|teddy bear|hot dog|wine glass|fire hydrant|stop sign|soup bowl|train car|coffee cup|"
    "street sign|pizza slice|picture frame|tennis racket|coffee table|motor bike|cell phone|police officer|fruit bowl",
    "|",
)
DOING = _words(
    "sitting standing walking running looking kneeling leaning bending smiling riding facing eating sleeping"
)
HOLDING = _words("wearing holding eating riding carrying using with watching throwing pulling")
BESIDE = _words("behind under near by beside above over below on in against")


@dataclass(slots=True)
class Word:
    """A node of a parse: its text, UD tag and relation, and its dependents before and after it."""

    text: str
    tag: str
    relation: str = "root"
    before: list[Word] = field(default_factory=list)
    after: list[Word] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Parsed:
    """A parsed phrase: per token its word, tag, head (its own index for a root) and relation."""

    words: list[str]
    tags: list[str]
    heads: list[int]
    relations: list[str]


class PhraseMaker:
    """Generates phrases."""

    def __init__(self, seed: int, *, nouns: Sequence[str]) -> None:
        """Builds the generator.

        Args:
            seed: Seed of the random generator.
            nouns: Further nouns for objects, so that few words are memorised.
        """
        self._random = random.Random(seed)
        self._nouns = list(nouns)

    def make(self) -> Parsed:
        """Returns a phrase."""
        root = self._root()
        parsed = _linear(root)
        words = [self._misspelt(word) if self._chance(0.02) else word for word in parsed.words]
        return Parsed(words, parsed.tags, parsed.heads, parsed.relations)

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def _one(self, words: Sequence[str]) -> str:
        return self._random.choice(words)

    def _root(self) -> Word:
        dice = self._random.random()
        if dice < 0.07:
            return self._nameless()
        if dice < 0.10:
            # "on left man": the place first.
            noun = self._person_or_thing()
            noun.before.insert(0, self._at_place(before=True))
            return noun
        noun = self._person_or_thing()
        self._describe_after(noun)
        return noun

    def _person_or_thing(self) -> Word:
        dice = self._random.random()
        if dice < 0.42:
            return self._person()
        if dice < 0.50:
            return self._clothes()
        return self._thing()

    def _person(self) -> Word:
        noun = Word(self._one(PEOPLE), "NOUN")
        if self._chance(0.12):
            # "red shirt guy"
            worn = Word(self._one(CLOTHES), "NOUN", "compound")
            if self._chance(0.8):
                worn.before.append(Word(self._one(COLOURS), "ADJ", "amod"))
            noun.before.append(worn)
        return self._before(noun)

    def _thing(self) -> Word:
        dice = self._random.random()
        if dice < 0.10:
            first, second = self._one(COMPOUNDS).split(" ")
            noun = Word(second, "NOUN", before=[Word(first, "NOUN", "compound")])
        elif dice < 0.16:
            # "the man's bike", "mans hand"
            owner = Word(self._one(PEOPLE + ANIMALS), "NOUN", "nmod:poss")
            self._before(owner)
            if self._chance(0.5):
                owner.after.append(Word("'s", "PART", "case"))
            elif self._chance(0.7):
                owner.text += "s"
            return Word(self._one(PARTS + CLOTHES + THINGS), "NOUN", before=[owner])
        elif dice < 0.55:
            noun = Word(self._one(self._nouns), "NOUN")
        else:
            noun = Word(self._one(ANIMALS + THINGS), "NOUN")
        if self._chance(0.06):
            noun.before.append(Word(self._one(("corner", "side", "row")), "NOUN", "compound"))
            noun.before[-1].before.append(Word(self._one(PLACES), "ADJ", "amod"))
        return self._before(noun)

    def _clothes(self) -> Word:
        noun = Word(self._one(CLOTHES), "NOUN")
        if self._chance(0.75):
            noun.before.append(Word(self._one(COLOURS), "ADJ", "amod"))
        return self._before(noun)

    def _before(self, noun: Word) -> Word:
        """Adds article, location and appearance before a noun."""
        mods: list[Word] = []
        if self._chance(0.35):
            place = Word(self._one(PLACES), "ADJ", "amod")
            if self._chance(0.2):
                place.before.append(Word(self._one(("far", "most", "very", "closest")), "ADV", "advmod"))
            mods.append(place)
            if self._chance(0.2):
                mods.append(Word(self._one(PLACES), "ADJ", "amod"))
        if self._chance(0.10):
            mods.append(Word(self._one(ORDINALS), "ADJ", "amod"))
        if self._chance(0.22):
            mods.append(Word(self._one(LOOKS), "ADJ", "amod"))
        if self._chance(0.18):
            colour = Word(self._one(COLOURS), "ADJ", "amod")
            if self._chance(0.15):
                other = Word(self._one(COLOURS), "ADJ", "conj")
                if self._chance(0.7):
                    other.before.append(Word("and", "CCONJ", "cc"))
                colour.after.append(other)
            mods.append(colour)
        if self._chance(0.18):
            mods.insert(0, Word(self._one(("the", "a", "the", "that", "this")), "DET", "det"))
        noun.before[:0] = mods
        return noun

    def _describe_after(self, noun: Word) -> None:
        for _ in range(self._random.choices((0, 1, 2), weights=(0.3, 0.5, 0.2))[0]):
            noun.after.append(self._after())

    def _after(self) -> Word:
        dice = self._random.random()
        if dice < 0.22:
            return self._at_place()
        if dice < 0.38:
            return self._bare_place()
        if dice < 0.44:
            return self._counted()
        if dice < 0.62:
            return self._with_case(self._one((*BESIDE, "with", "in", "with", "of", "next", "left")))
        if dice < 0.80:
            return self._verb()
        if dice < 0.86:
            return self._clause()
        if dice < 0.94:
            # "guy black shirt": worn, without a preposition.
            worn = Word(self._one(CLOTHES + CARRIED), "NOUN", "nmod")
            worn.before.append(Word(self._one(COLOURS + LOOKS), "ADJ", "amod"))
            return worn
        if dice < 0.97:
            return Word(self._one(COLOURS + LOOKS), "ADJ", "amod")
        return Word(str(self._random.randint(1, 40)), "NUM", "nummod")

    def _at_place(self, *, before: bool = False) -> Word:
        word = self._one(
            ("left", "right", "middle", "center", "front", "back", "top", "bottom", "corner", "background")
        )
        case = (
            "in"
            if word in ("middle", "center", "front", "back", "corner", "background")
            else self._one(("on", "at", "to"))
        )
        place = Word(word, "NOUN", "nmod", before=[Word(case, "ADP", "case")])
        if self._chance(0.35):
            place.before.append(Word("the", "DET", "det"))
        if self._chance(0.2):
            place.before.append(
                Word(self._one(("far", "bottom", "top", "upper", "lower", "left", "right")), "ADJ", "amod")
            )
        if not before and self._chance(0.08):
            of = self._person_or_thing()
            of.relation = "nmod"
            of.before.insert(0, Word("of", "ADP", "case"))
            place.after.append(of)
        return place

    def _bare_place(self) -> Word:
        place = Word(
            self._one(("left", "right", "middle", "center", "front", "back", "top", "bottom")), "ADV", "advmod"
        )
        if self._chance(0.45):
            place.before.append(
                Word(self._one(("far", "bottom", "top", "upper", "lower", "way", "back", "front")), "ADV", "advmod")
            )
        return place

    def _counted(self) -> Word:
        """Returns "second from left", "closest to us"."""
        if self._chance(0.5):
            side = Word(self._one(SIDES), "NOUN", "obl", before=[Word("from", "ADP", "case")])
            if self._chance(0.3):
                side.before.append(Word("the", "DET", "det"))
            return Word(self._one(ORDINALS), "ADJ", "amod", after=[side])
        to = self._person_or_thing() if self._chance(0.5) else Word(self._one(("us", "me", "you", "camera")), "PRON")
        to.relation = "obl"
        to.before.insert(0, Word("to", "ADP", "case"))
        return Word(self._one(("closest", "nearest", "close", "closer", "next")), "ADJ", "amod", after=[to])

    def _with_case(self, preposition: str) -> Word:
        noun = self._clothes() if preposition in ("in", "with") else self._person_or_thing()
        if preposition == "with" and self._chance(0.5):
            noun = self._before(Word(self._one(CARRIED), "NOUN"))
        if preposition == "in" and self._chance(0.4):
            noun = Word(self._one(COLOURS), "ADJ")
        noun.relation = "nmod"
        case = Word(preposition, "ADP", "case")
        if preposition == "next":
            case = Word("next", "ADV", "case", after=[Word("to", "ADP", "fixed")])
        if preposition == "left":
            noun.before.insert(0, Word("of", "ADP", "case"))
            side = Word(
                self._one(SIDES), "NOUN", "nmod", before=[Word(self._one(("to", "on")), "ADP", "case")], after=[noun]
            )
            if self._chance(0.4):
                side.before.append(Word("the", "DET", "det"))
            return side
        noun.before.insert(0, case)
        return noun

    def _verb(self) -> Word:
        if self._chance(0.5):
            worn = self._clothes() if self._chance(0.5) else self._before(Word(self._one(CARRIED), "NOUN"))
            worn.relation = "obj"
            return Word(self._one(HOLDING[:5]), "VERB", "acl", after=[worn])
        verb = Word(self._one(DOING), "VERB", "acl")
        if self._chance(0.55):
            place = (
                self._at_place() if self._chance(0.5) else self._with_case(self._one(("on", "next", "behind", "at")))
            )
            place.relation = "obl"
            verb.after.append(place)
        elif self._chance(0.3):
            verb.after.append(Word(self._one(("down", "up", "away")), "ADV", "advmod"))
        return verb

    def _clause(self) -> Word:
        verb = self._verb()
        verb.relation = "acl:relcl"
        subject = self._one(("that", "who", "thats", "whos"))
        if subject.endswith("s"):
            verb.before.append(Word(subject, "PRON", "nsubj"))
        else:
            verb.before += [Word(subject, "PRON", "nsubj"), Word("is", "AUX", "aux")]
        return verb

    def _nameless(self) -> Word:
        """Returns a phrase without a noun: "far right", "the one on the left", "white", "sitting on the right"."""
        dice = self._random.random()
        if dice < 0.30:
            place = Word(self._one(PLACES), "ADJ")
            if self._chance(0.4):
                place.before.append(Word(self._one(("far", "bottom", "top", "very", "upper")), "ADV", "advmod"))
            return place
        if dice < 0.40:
            return self._as_root(self._counted())
        if dice < 0.52:
            colour = Word(self._one(COLOURS + LOOKS), "ADJ")
            if self._chance(0.4):
                colour.after.append(Word(self._one(COLOURS), "ADJ", "conj", before=[Word("and", "CCONJ", "cc")]))
            elif self._chance(0.4):
                colour.after.append(self._at_place())
            return colour
        if dice < 0.62:
            return self._as_root(self._at_place())
        if dice < 0.70:
            return self._as_root(self._verb())
        one = self._before(Word("one", "PRON"))
        self._describe_after(one)
        return one

    @staticmethod
    def _as_root(word: Word) -> Word:
        word.relation = "root"
        return word

    def _misspelt(self, word: str) -> str:
        if len(word) < 4:
            return word
        at = self._random.randrange(1, len(word) - 1)
        if self._chance(0.5):
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        return word[:at] + word[at + 1 :]


def _linear(root: Word) -> Parsed:
    """Returns a tree as rows, in text order."""
    order: list[tuple[Word, Word]] = []

    def visit(word: Word, head: Word) -> None:
        for child in word.before:
            visit(child, word)
        order.append((word, head))
        for child in word.after:
            visit(child, word)

    visit(root, root)
    place = {id(word): number for number, (word, _) in enumerate(order)}
    return Parsed(
        words=[word.text for word, _ in order],
        tags=[word.tag for word, _ in order],
        heads=[place[id(head)] for _, head in order],
        relations=["ROOT" if word is head else word.relation for word, head in order],
    )
