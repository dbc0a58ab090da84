"""Finds the head noun of a phrase: "traffic light" of "the second traffic light from the left".

The phrase's parse says which words belong to the head's noun phrase (`noun_phrases`); without spaCy, simple rules over
the words do (`location_phrases`). Among these words the head is chosen by what is known: class names, then other words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from risctl.errors import MachineError
from risctl.language.location_phrases import COLOURS, is_placing, is_plain, parts_of

ANYTHING = "thing"
"""Stands in for an unknown word, so that the others can be parsed."""

_IRREGULAR = {
    "person": "people",
    "man": "men",
    "woman": "women",
    "child": "children",
    "mouse": "mice",
    "knife": "knives",
    "sheep": "sheep",
    "skis": "skis",
    "scissors": "scissors",
}


def plural(name: str) -> str:
    """Returns the plural of a class name, formed on its last word: wine glass, wine glasses."""
    *before, last = name.split()
    if last in _IRREGULAR:
        several = _IRREGULAR[last]
    elif last.endswith(("s", "x", "ch", "sh")):
        several = f"{last}es"
    elif last.endswith("y") and last[-2:-1] not in "aeiou":
        several = f"{last[:-1]}ies"
    else:
        several = f"{last}s"
    return " ".join((*before, several))


def head_name(
    words: Sequence[str], *, names: Sequence[str], is_known: Callable[[str], bool], parsed: bool = True
) -> str | None:
    """Returns the class or known word that a phrase is about.

    In the noun phrase that the parse finds, else in each part that the rules find, the last class wins ("the zebra's
    back" refers to a zebra), else the last other known word; a colour only if there is nothing else ("the orange").

    Args:
        words: The words of the phrase.
        names: Class names.
        is_known: Whether a word is known.
        parsed: Whether to use the parser; without spaCy the rules decide alone.

    Returns:
        A name of `names`, else a known word; None if there is neither.
    """
    forms = _forms(tuple(names))
    words = _joined(words, forms)
    if len(words) == 1 and words[0] in forms:
        return forms[words[0]]
    together = _parsed(" ".join(words)) if parsed and len(words) > 1 else None
    for part in ([] if together is None else [together]) + parts_of(words):
        found = _named(part, forms, is_known)
        if found is not None:
            return found
    return None


def _named(part: Sequence[str], forms: dict[str, str], is_known: Callable[[str], bool]) -> str | None:
    """Returns the head of words that belong together."""
    classes = [word for word in part if word in forms]
    known = [word for word in part if is_known(word) and not is_plain(word) and not is_placing(word)]
    for choice in (
        [word for word in classes if word not in COLOURS],
        [word for word in known if word not in COLOURS],
        classes,
        known,
    ):
        if choice:
            return forms.get(choice[-1], choice[-1])
    return None


def _joined(words: Sequence[str], forms: dict[str, str]) -> list[str]:
    """Returns the words with names of several words as one (trafficlight), so that a parser keeps them together."""
    joined: list[str] = []
    start = 0
    while start < len(words):
        length = next(
            (
                length
                for length in (3, 2)
                if length <= len(words) - start and "".join(words[start : start + length]) in forms
            ),
            1,
        )
        joined.append("".join(words[start : start + length]))
        start += length
    return joined


@lru_cache(maxsize=8)
def _forms(names: tuple[str, ...]) -> dict[str, str]:
    """Returns the names by their forms, singular and plural, as one word each."""
    several = {plural(name).replace(" ", ""): name for name in names}
    return several | {name.replace(" ", ""): name for name in names}


def _parsed(text: str) -> list[str] | None:
    """Returns the words of the phrase's noun phrase; None if there is no parser or it finds none."""
    try:
        # Not at the top: spaCy takes seconds to import, and the rules do without it.
        from risctl.language.noun_phrases import SHIPPED, load_phraser

        found = load_phraser(str(SHIPPED))(text)
    except (ImportError, MachineError):
        return None
    return None if found.noun is None else found.phrase.split()
