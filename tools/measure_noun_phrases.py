"""Measures how often the head noun that we extract is the one that people named.

    python tools/measure_noun_phrases.py SAMPLE_FOLDER

Compares with the hand-checked heads (field r1) of a folder of RefCOCO expressions, along with the baseline "last noun
before the first preposition" by the same tagger. Heads are compared as lemmas; "none" is correct where no noun is found
("one" is a pronoun). Prints a line per set and per half of the images: the rules of `language/parse_repairs.py` were
found by looking at errors in the first half.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

from risctl.language.noun_phrases import NounPhrase, Phraser, load_phraser

IRREGULAR = {
    "men": "man", "women": "woman", "children": "child", "feet": "foot", "teeth": "tooth", "people": "person",
    "mice": "mouse", "geese": "goose", "knives": "knife", "leaves": "leaf", "halves": "half", "shelves": "shelf",
}  # fmt: skip


def lemmas(word: str) -> set[str]:
    """Returns the possible lemmas of a word. The sample's own lemmatiser also turned "umbrella" into "umbrellum"."""
    found = {word, IRREGULAR.get(word, word)}
    for ending, base in (("s", ""), ("es", ""), ("ies", "y"), ("ves", "f"), ("a", "um"), ("i", "us"), ("'s", "")):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            found.add(word.removesuffix(ending) + base)
    return found


def is_right(noun: str | None, named: Sequence[str]) -> bool:
    """Returns whether the extracted noun is one that people named."""
    if noun is None or noun in ("one", "ones"):
        return list(named) == ["none"]
    return bool(lemmas(noun) & set(named))


def baseline(phraser: Phraser, texts: Sequence[str]) -> list[str | None]:
    """Returns the last noun before the first preposition of each text."""
    found = []
    for parsed in phraser.parses(texts):
        tags = [token.tag_ if phraser.universal else token.pos_ for token in parsed]
        end = tags.index("ADP") if "ADP" in tags else len(tags)
        nouns = [token.text for token, tag in zip(parsed[:end], tags, strict=False) if tag in ("NOUN", "PROPN")]
        found.append(nouns[-1] if nouns else None)
    return found


def main() -> int:
    """Runs the measurement and prints it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sample", type=Path, metavar="SAMPLE_FOLDER")
    parser.add_argument("--model", help="a spaCy model or folder; default: the best installed, else the shipped")
    parser.add_argument("--wrong", type=int, default=0, help="print this many wrong ones")
    asked = parser.parse_args()
    phraser = load_phraser(asked.model)
    print(phraser.name)
    every: list[tuple[bool, bool, bool]] = []
    halves: tuple[list[tuple[bool, bool, bool]], ...] = ([], [])
    for file in sorted(asked.sample.glob("*split.json")):
        rows = json.loads(file.read_text(encoding="utf-8"))
        texts, named = [row["phrase"] for row in rows], [row["atts"]["r1"] for row in rows]
        found: list[NounPhrase] = phraser.many(texts)
        plain = baseline(phraser, texts)
        marks = [
            (one != ["none"], is_right(ours.noun, one), is_right(theirs, one))
            for ours, theirs, one in zip(found, plain, named, strict=True)
        ]
        _print(file.stem, marks)
        every += marks
        for row, mark in zip(rows, marks, strict=True):
            halves[zlib.crc32(row["image"].encode()) % 2].append(mark)
        wrong = [(text, ours.noun, one) for text, ours, one, mark in zip(texts, found, named, marks) if not mark[1]]
        for text, noun, one in wrong[: asked.wrong]:
            print(f"  {text!r}: {noun}, not {one[0]}")
    _print("first half", halves[0])
    _print("second half", halves[1])
    _print("all", every)
    return 0


def _print(name: str, marks: list[tuple[bool, bool, bool]]) -> None:
    with_head = [mark for mark in marks if mark[0]]
    for what, some in (("all expressions", marks), ("those with a head noun", with_head)):
        ours = 100 * sum(mark[1] for mark in some) / len(some)
        plain = 100 * sum(mark[2] for mark in some) / len(some)
        print(f"{name}: {len(some)} {what}: {ours:.2f} % right, baseline {plain:.2f} %")


if __name__ == "__main__":
    sys.exit(main())
