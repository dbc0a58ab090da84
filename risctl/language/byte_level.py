"""Splits texts into byte pairs as GPT-2 and RoBERTa do, without torch and without the `tokenizers` library."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

_ENDINGS = ("'re", "'ve", "'ll", "'s", "'t", "'m", "'d")
_START, _END = "<s>", "</s>"


class ByteLevelTokens:
    """The tokens of `BytePairs`.

    Source: Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units" (ACL 2016), with bytes as
    symbols as in GPT-2.
    """

    def __init__(self, tokens: Sequence[str], merges: Sequence[str]) -> None:
        """Takes the tokens, numbered from 0, and the merges "left right", most important first.

        Raises:
            KeyError: The tokens lack those of start and end.
        """
        self._ids = {token: number for number, token in enumerate(tokens)}
        pairs = (one.partition(" ") for one in merges)
        self._ranks = {(left, right): rank for rank, (left, _, right) in enumerate(pairs)}
        self._start, self._end = self._ids[_START], self._ids[_END]

    def ids(self, text: str) -> list[int]:
        """Returns the ids of a text between those of start and end."""
        found = [self._start]
        for piece in pieces(" ".join(text.split())):
            found += [self._ids[part] for part in self._merged(piece) if part in self._ids]
        return [*found, self._end]

    def _merged(self, piece: str) -> list[str]:
        """Joins the symbols of a piece, pair by pair."""
        symbols = _symbols()
        parts = [symbols[byte] for byte in piece.encode()]
        last = len(self._ranks)
        while len(parts) > 1:
            ranks = [self._ranks.get(pair, last) for pair in pairwise(parts)]
            best = min(ranks)
            if best == last:
                break
            first = ranks.index(best)
            parts[first : first + 2] = [parts[first] + parts[first + 1]]
        return parts


def pieces(text: str) -> Iterator[str]:
    """Yields the parts of a text, whose words one space separates, that no pair crosses.

    An ending such as "'s"; else letters, digits or signs, with the space before them.
    """
    place = 0
    while place < len(text):
        ending = next((one for one in _ENDINGS if text.startswith(one, place)), None)
        if ending is not None:
            yield ending
            place += len(ending)
            continue
        first = place + (text[place] == " ")
        kind, end = _kind(text[first]), first + 1
        while end < len(text) and _kind(text[end]) == kind:
            end += 1
        yield text[place:end]
        place = end


def _kind(character: str) -> str:
    if character == " ":
        return " "
    category = unicodedata.category(character)[0]
    return category if category in "LN" else "sign"


@lru_cache(maxsize=1)
def _symbols() -> tuple[str, ...]:
    """Returns a printable character for each byte: itself, or for others one from the 256th on."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    symbols, beyond = [], 256
    for byte in range(256):
        symbols.append(chr(byte) if byte in printable else chr(beyond))
        beyond += byte not in printable
    return tuple(symbols)
