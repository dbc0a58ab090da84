"""Finds the noun phrase that a referring expression is about: "the man" of "the man in the red shirt on the left".

The rule is Global-Local CLIP's (Zero-shot-RIS, `extract_noun_phrase`). The parse comes from an installed English spaCy
model, or from the small parser that this package ships, which has UD relations: noun chunks are then found here, and a
preposition is made the head of its noun, as in spaCy's own English models, for which the rule was written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from risctl.errors import MachineError, UsageError
from risctl.language.parse_repairs import repaired

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc, Token

SHIPPED = Path(__file__).with_name("english_parser")
INSTALLED = ("en_core_web_lg", "en_core_web_md", "en_core_web_sm")

_NOUNS = frozenset({"NOUN", "PROPN", "PRON"})
# Pronouns of speaker and pointing name nothing: "i need a bat", "there's a cup".
_SPEAKING = "i you u ya he she it we they me him her us them this that what who which there"
_SPEAKERS = frozenset(_SPEAKING.split())
# "on the right" names a place, and no object.
_PLACES = frozenset({"left", "right", "front", "back", "middle", "center"})
# What, before a noun, belongs to its chunk, and what is part of another one's name.
_MODIFIERS = frozenset({"det", "amod", "nummod", "compound", "nmod:poss", "advmod", "flat", "nmod", "goeswith"})
_INSIDE = frozenset({"compound", "flat", "fixed", "goeswith", "det", "amod", "nummod", "nmod:poss", "case", "mark"})


@dataclass(frozen=True, slots=True, kw_only=True)
class NounPhrase:
    """The noun phrase that an expression is about, in its own words.

    Attributes:
        phrase: The chunk's tokens joined by spaces, or the whole text.
        head: The word that decided it, or the whole text.
        noun: The chunk's own noun; None if the phrase is the whole text.
        outside: Indices of the tokens outside the chunk; none if the phrase is the whole text.
    """

    phrase: str
    head: str
    noun: str | None
    outside: tuple[int, ...]


def noun_phrase_of(tokens: Sequence[str], *, heads: Sequence[int], chunks: Sequence[Sequence[int]]) -> NounPhrase:
    """Returns the noun phrase by a given parse.

    The head is the last token that is its own head, and its chunk is the phrase; else the chunk of its first child;
    else the whole text.

    Args:
        tokens: The tokens.
        heads: The index of each token's head; its own index for a root.
        chunks: Noun chunks as [start, end).
    """
    root = max(number for number, head in enumerate(heads) if number == head)
    children = [number for number, head in enumerate(heads) if head == root and number != root]
    for word in (root, *children[:1]):
        for start, end in chunks:
            if start <= word < end:
                outside = tuple(number for number in range(len(tokens)) if not start <= number < end)
                phrase = " ".join(tokens[start:end])
                return NounPhrase(phrase=phrase, head=tokens[word], noun=tokens[end - 1], outside=outside)
    text = " ".join(tokens)
    return NounPhrase(phrase=text, head=text, noun=None, outside=())


class Phraser:
    """Finds noun phrases with one parser; each text is parsed once and cached.

    Args:
        nlp: The spaCy pipeline.
        name: What messages call the parser.
        universal: Whether it has UD relations and, in `tag_`, UD tags, as the shipped one; else spaCy's own.
    """

    def __init__(self, nlp: Language, *, name: str, universal: bool) -> None:
        """Wraps a parser."""
        self.name = name
        self._nlp = nlp
        self.universal = universal
        self._known: dict[str, NounPhrase] = {}
        # Before any text is read: reading adds its words.
        self._seen = frozenset(nlp.vocab.strings) if universal else frozenset()

    def __call__(self, text: str) -> NounPhrase:
        """Returns the noun phrase of a text, which is read in lower case.

        Raises:
            UsageError: The text is empty.
        """
        return self.many([text])[0]

    def many(self, texts: Sequence[str]) -> list[NounPhrase]:
        """Returns the noun phrase of each text, in order.

        Raises:
            UsageError: A text is empty.
        """
        clean = [" ".join(text.lower().split()) for text in texts]
        if not all(clean):
            raise UsageError("a text is empty; say what to look for")
        new = [text for text in dict.fromkeys(clean) if text not in self._known]
        for text, parsed in zip(new, self._nlp.pipe(new), strict=True):
            self._known[text] = self._found(parsed, text)
        return [self._known[text] for text in clean]

    def parses(self, texts: Sequence[str]) -> Iterator[Doc]:
        """Yields the parse of each text, read in lower case."""
        return self._nlp.pipe(" ".join(text.lower().split()) for text in texts)

    def _found(self, parsed: Doc, text: str) -> NounPhrase:
        if self.universal:
            parsed = repaired(parsed, seen=self._seen)
            chunks, heads = universal_chunks(parsed), function_heads(parsed)
        else:
            chunks = [(chunk.start, chunk.end) for chunk in parsed.noun_chunks]
            heads = [token.head.i for token in parsed]
        found = noun_phrase_of([token.text for token in parsed], heads=heads, chunks=chunks)
        if found.noun is None:
            return NounPhrase(phrase=text, head=text, noun=None, outside=())
        return found


def universal_chunks(parsed: Doc) -> list[tuple[int, int]]:
    """Returns the base noun phrases [start, end) of a parse with UD relations, none within another.

    A chunk is a noun that is no part of another's name, with the modifiers right before it.
    """
    chunks: list[tuple[int, int]] = []
    for token in parsed:
        if token.tag_ not in _NOUNS or (token.dep_ in _INSIDE and token.head.i != token.i):
            continue
        if token.tag_ == "PRON" and token.text in _SPEAKERS:
            continue
        if token.text in _PLACES and _has_preposition(token):
            continue
        start, end = token.i, token.i + 1
        for child in reversed(list(token.lefts)):
            if child.dep_ not in _MODIFIERS or child.right_edge.i != start - 1 or _has_preposition(child):
                break
            start = child.left_edge.i
        for child in token.rights:
            if child.dep_ in ("flat", "goeswith") and child.i == end:
                end = child.i + 1
        # "second from left person": the side is found first, and lies within.
        while chunks and chunks[-1][0] >= start:
            chunks.pop()
        if not chunks or start >= chunks[-1][1]:
            chunks.append((start, end))
    return chunks


def function_heads(parsed: Doc) -> list[int]:
    """Returns each token's head, with prepositions made the heads of their nouns."""
    heads = [token.head.i for token in parsed]
    for token in parsed:
        prepositions = [child for child in token.lefts if child.dep_ == "case"]
        if prepositions:
            first = prepositions[0].i
            heads[first] = first if token.head.i == token.i else token.head.i
            heads[token.i] = first
    return heads


def _has_preposition(token: Token) -> bool:
    return any(child.dep_ == "case" and child.i < token.i for child in token.lefts)


@lru_cache(maxsize=4)
def load_phraser(model: str | None = None) -> Phraser:
    """Loads a parser.

    Args:
        model: A spaCy model by name or folder; None takes the best installed, else the shipped one.

    Raises:
        MachineError: The named model is not installed, or has no parser.
    """
    import spacy

    if model is None:
        model = next((name for name in INSTALLED if spacy.util.is_package(name)), None)
    if model is None:
        return Phraser(spacy.load(SHIPPED), name="the shipped English parser", universal=True)
    try:
        nlp = spacy.load(model)
    except (OSError, ImportError) as error:
        raise MachineError(
            f"the spaCy model {model!r} is not installed ({str(error).splitlines()[0]}); leave --spacy-model out for "
            f"the parser that risctl ships"
        ) from None
    if "parser" not in nlp.pipe_names:
        raise MachineError(f"the spaCy model {model!r} has no parser, which noun phrases need")
    return Phraser(nlp, name=model, universal=Path(model).resolve() == SHIPPED.resolve())
