"""Repairs errors of a small parser in short phrases, by rules on the parse tree that hold for any phrase.

The parser was trained on sentences, in which a verb or an adjective that comes first is what the sentence is about. In
a phrase that names an object it is not: "standing up black shirt", "second from left glass", "orange".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from risctl.language.coco_classes import CLASSES

if TYPE_CHECKING:
    from spacy.tokens import Doc

NOUNS = frozenset({"NOUN", "PROPN"})
_PARTS = frozenset({"compound", "flat", "fixed", "goeswith", "amod", "nmod:poss", "det"})
# "orange" is a colour for the parser, and the name of an object if nothing else is named.
_OBJECTS = frozenset(name for name in CLASSES.values() if " " not in name)
_ORDERS = frozenset({"click", "look", "find", "select", "choose", "pick"})
_SIDES = frozenset({"left", "right", "top", "bottom", "front", "back", "end", "middle", "center", "us", "me", "camera"})
# No object by itself: "front of the bus" is about the bus.
_FACES = frozenset({"front", "back"})


def repaired(parsed: Doc, *, seen: frozenset[str]) -> Doc:
    """Returns a parse with UD relations whose root is the noun that a phrase is about.

    Args:
        parsed: The parse.
        seen: The words of the parser's training.

    Returns:
        `parsed` itself if there is nothing to repair.
    """
    draft = _Draft(parsed)
    draft.join_roots()
    draft.name_the_root(seen)
    if draft.tags[draft.root] in NOUNS:
        draft.look_behind_the_face()
    elif not draft.take_subject() and draft.tags[draft.root] == "VERB":
        draft.take_object()
    elif draft.tags[draft.root] == "ADJ":
        draft.take_counted()
    return draft.as_doc()


class _Draft:
    """A parse under repair."""

    def __init__(self, parsed: Doc) -> None:
        self._parsed = parsed
        self.words = [token.text for token in parsed]
        self.tags = [token.tag_ for token in parsed]
        self.heads = [token.head.i for token in parsed]
        self.relations = [token.dep_ for token in parsed]
        self._changed = False

    @property
    def root(self) -> int:
        """The last token that is its own head."""
        return max(number for number, head in enumerate(self.heads) if number == head)

    def as_doc(self) -> Doc:
        """Returns the repaired parse."""
        if not self._changed:
            return self._parsed
        return type(self._parsed)(
            self._parsed.vocab, words=self.words, tags=self.tags, heads=self.heads, deps=self.relations
        )

    def join_roots(self) -> None:
        """Makes a phrase one tree: what was taken for a further sentence is attached to the first one's noun."""
        roots = [number for number, head in enumerate(self.heads) if number == head]
        if len(roots) > 1 and self.tags[roots[0]] in NOUNS:
            for number in roots[1:]:
                self._hang(number, roots[0], "nmod")

    def name_the_root(self, seen: frozenset[str]) -> None:
        """Takes the root for a noun if it names an object, or if it is a new word and nothing else is named."""
        root = self.root
        word = self.words[root]
        if self.tags[root] in NOUNS or self.tags[root] == "PRON":
            return
        known = word in _OBJECTS
        new = word not in seen and word.isalpha() and self._subject() is None and self._bare("VERB") is None
        if known or new:
            self.tags[root] = "NOUN"
            self._changed = True

    def look_behind_the_face(self) -> None:
        """Makes the bus the root in: front of the bus."""
        root = self.root
        if self.words[root] not in _FACES or self._case(root) is not None:
            return
        for child in self._rights(root):
            case = self._case(child)
            if case is not None and self.words[case] == "of" and self.tags[child] in NOUNS:
                self._make_root(child, "nmod")
                self._hang(case, root, "fixed")
                return

    def take_subject(self) -> bool:
        """Makes the woman the root in: the only woman not hugging someone."""
        subject = self._subject()
        if subject is None:
            return False
        self._make_root(subject, "acl")
        return True

    def take_object(self) -> None:
        """Makes the shirt the root in: standing up black shirt; and the arm in: click on the arm."""
        root = self.root
        order = self.words[root] in _ORDERS
        found = self._bare("VERB")
        if found is None and order:
            found = next((right for right in self._rights(root) if self.tags[right] in NOUNS), None)
        if found is not None:
            # An order ("click") or what someone says ("i need") is no part of the noun's phrase, a participle is.
            said = order or any(self.heads[index] == root and self.relations[index] == "nsubj" for index in range(root))
            self._make_root(found, "advcl" if said else "amod")

    def take_counted(self) -> None:
        """Makes the glass the root in: second from left glass, whichever word it was attached to."""
        root = self.root
        found = self._bare("ADJ")
        if found is not None:
            self._make_root(found, "amod")
            return
        for child in self._rights(root):
            case = self._case(child)
            if case is None or self.words[case] not in ("from", "to") or self.tags[child] not in NOUNS:
                continue
            sides = [index for index in range(case + 1, child) if self.words[index] in _SIDES]
            if sides and self.words[child] not in _SIDES:
                self._make_root(child, "amod")
                self._hang(sides[-1], root, "obl")
                for index in range(case, sides[-1]):
                    if self.heads[index] == child:
                        self._hang(index, sides[-1], self.relations[index])
                return

    def _bare(self, tag: str) -> int | None:
        """Returns the noun that follows a root of this tag without a preposition."""
        root = self.root
        if self.tags[root] != tag:
            return None
        relations = ("obl", "nmod", "obj") if tag == "VERB" else ("obl", "nmod")
        bare = (
            right for right in self._rights(root) if self.relations[right] in relations and self._case(right) is None
        )
        return next((one for one in bare if self.tags[one] in NOUNS), None)

    def _subject(self) -> int | None:
        """Returns the first noun before the root that is no part of its name (bench the guy is sitting on)."""
        root = self.root
        every = (index for index in range(root) if self.heads[index] == root and self.relations[index] not in _PARTS)
        return next((run for run in every if self.tags[run] in NOUNS and self._case(run) is None), None)

    def _rights(self, head: int) -> list[int]:
        return [index for index in range(head + 1, len(self.heads)) if self.heads[index] == head]

    def _case(self, noun: int) -> int | None:
        every = (index for index in range(noun) if self.heads[index] == noun and self.relations[index] == "case")
        return next(every, None)

    def _make_root(self, noun: int, relation: str) -> None:
        """Attaches the root, and what depends on it behind `noun`, to `noun`."""
        root = self.root
        self.heads[noun], self.relations[noun] = noun, "ROOT"
        for number, head in enumerate(self.heads):
            if number not in (noun, root) and head == root and number > max(noun, root):
                self.heads[number] = noun
        self._hang(root, noun, relation)

    def _hang(self, number: int, head: int, relation: str) -> None:
        self.heads[number], self.relations[number] = head, relation
        self._changed = True
