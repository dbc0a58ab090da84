"""Turns texts into the inputs of exported graphs, as vocabularies do in torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from risctl.errors import CheckpointError, UsageError
from risctl.language.byte_level import ByteLevelTokens
from risctl.language.tokens import bare, words_of
from risctl.language.word_grams import GRAMS, split_words, word_ids

_UNKNOWN = 1


class Tokens(Protocol):
    """Turns texts into token ids."""

    def __init__(self, words: Sequence[str], settings: Mapping[str, Any]) -> None:
        """Takes the vocabulary and `text` of `model.json`."""

    def __call__(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns ids (L,) int64 and their mask, bool (L,). Raises `UsageError` if the text has no word."""

    def warnings(self, text: str) -> list[str]:
        """Returns what to know about how `text` is read."""


class HashedWordTokens:
    """Turns texts into ids of words and their n-grams."""

    def __init__(self, words: Sequence[str], settings: Mapping[str, Any]) -> None:
        """Takes the vocabulary, its two special entries included, and `text` of `model.json`."""
        self._known = frozenset(words)
        self._rows = {word: row for row, word in enumerate(words[2:], start=2)}
        self._buckets, self._most = int(settings["buckets"]), int(settings["max_words"])

    def __call__(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns ids (L,) int64 and their mask, bool (L,).

        Raises:
            UsageError: The text has no word.
        """
        found = word_ids(text, rows=self._rows, buckets=self._buckets, max_words=self._most)
        if not found:
            raise UsageError(f"expected a text with at least one word, got {text!r:.60}")
        ids = np.zeros((self._most, 1 + GRAMS), dtype=np.int64)
        for index, row in enumerate(found):
            ids[index, : len(row)] = row
        return ids.ravel(), np.repeat(ids[:, 0] > 0, 1 + GRAMS)

    def warnings(self, text: str) -> list[str]:
        """Returns what to know about how `text` is read: unknown words, and words beyond the limit."""
        warnings = []
        unknown = [word for word in dict.fromkeys(words_of(text)) if not self._is_known(word)]
        if unknown:
            warnings.append(f"not among the words of its training: {', '.join(map(repr, unknown))}")
        words, read = words_of(text), len(split_words(text, max_words=self._most))
        if read < len(words) and read == self._most:
            warnings.append(f"only the first {read} of {len(words)} words are read")
        return warnings

    def _is_known(self, word: str) -> bool:
        return word in self._known or bare(word) in self._known


class WordTokens:
    """Turns texts into ids of words."""

    def __init__(self, words: Sequence[str], settings: Mapping[str, Any]) -> None:
        """Takes the vocabulary, its two special entries included, and `text` of `model.json`."""
        self._rows = {word: row for row, word in enumerate(words)}
        self._most, self._lowercase = int(settings["max_words"]), bool(settings.get("lowercase"))

    def __call__(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns ids (L,) int64 and their mask, bool (L,).

        Raises:
            UsageError: The text has no word.
        """
        words = self._words(text)[: self._most]
        if not words:
            raise UsageError("expected a text of at least one word, got an empty one; say what to look for")
        ids = np.zeros(self._most, dtype=np.int64)
        ids[: len(words)] = [self._id(word) for word in words]
        return ids, np.arange(self._most) < len(words)

    def warnings(self, text: str) -> list[str]:
        """Returns what to know about how `text` is read: unknown words, and words beyond the limit."""
        words = self._words(text)
        unknown = [word for word in dict.fromkeys(words) if self._id(word) == _UNKNOWN]
        warnings = [f"not among the words of its training: {', '.join(map(repr, unknown))}"] if unknown else []
        if len(words) > self._most:
            warnings.append(f"only the first {self._most} of {len(words)} words are read")
        return warnings

    def _words(self, text: str) -> list[str]:
        return list(words_of(text.lower() if self._lowercase else text))

    def _id(self, word: str) -> int:
        known = self._rows.get(word, _UNKNOWN)
        return known if known > _UNKNOWN else max(self._rows.get(bare(word), _UNKNOWN), _UNKNOWN)


class BytePairTokens:
    """Turns texts into RoBERTa's byte pairs."""

    def __init__(self, words: Sequence[str], settings: Mapping[str, Any]) -> None:
        """Takes the list of a `BytePairs` vocabulary and `text` of `model.json`.

        Raises:
            CheckpointError: The list is damaged.
        """
        try:
            middle = words.index(words[0], 1)
            self._pairs = ByteLevelTokens(words[1:middle], words[middle + 1 :])
        except (ValueError, KeyError, IndexError) as error:
            raise CheckpointError("the vocabulary of byte pairs is damaged; export the model again") from error
        self._most, self._lowercase = int(settings["max_words"]), bool(settings.get("lowercase"))

    def __call__(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns ids (L,) int64 of at most `max_words` tokens, the last one kept, and their mask, all True.

        Raises:
            UsageError: The text has no word.
        """
        if not text.strip():
            raise UsageError("expected a text of at least one word, got an empty one; say what to look for")
        ids = self._pairs.ids(text.lower() if self._lowercase else text)
        if len(ids) > self._most:
            ids = [*ids[: self._most - 1], ids[-1]]
        return np.array(ids, dtype=np.int64), np.ones(len(ids), dtype=bool)

    def warnings(self, text: str) -> list[str]:
        """Returns what to know about how `text` is read: whether its end is not."""
        words, read = words_of(text), len(self(text)[0])
        return [f"only the first {read} of {len(words)} words are read"] if read < len(words) else []


TEXTS: Mapping[str, type[Tokens]] = {
    "hashed_words": HashedWordTokens,
    "Vocabulary": WordTokens,
    "BytePairs": BytePairTokens,
}
"""How texts become tokens, by `text_kind`."""


def text_kind(settings: Mapping[str, Any]) -> str:
    """Returns the kind of tokens that `text` of `model.json` states: that of the vocabulary, or one of its own."""
    return str(settings.get("vocabulary") if settings.get("kind") == "vocabulary" else settings.get("kind"))
