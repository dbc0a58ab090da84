"""Turns images and texts into the inputs of exported graphs, as the systems' preprocessing does in torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from risctl.errors import UsageError
from risctl.language.tokens import words_of
from risctl.language.word_grams import GRAMS, split_words, word_ids
from risctl.runtime.resize import antialiased, bilinear
from risctl.vision.letterbox_numbers import letterbox_numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Letterboxed:
    """An image in a square.

    Attributes:
        images: (1, 3, size, size) float32 in [0, 1].
        padding: (1, size, size) bool, True outside the image.
        height: Rows of the image.
        width: Columns of the image.
        rows: The rows of the square that it covers.
        columns: The columns that it covers.
    """

    images: np.ndarray
    padding: np.ndarray
    height: int
    width: int
    rows: slice
    columns: slice

    def restore(self, maps: np.ndarray) -> np.ndarray:
        """Returns a map (h, w) of the square as one of the image, (height, width)."""
        size = self.padding.shape[1]
        inner = bilinear(maps, height=size, width=size)[self.rows, self.columns]
        return bilinear(inner, height=self.height, width=self.width)


def mini_image(pixels: np.ndarray, settings: Mapping[str, Any]) -> Letterboxed:
    """Returns mini's input: resized bilinearly with antialiasing, in a square of one grey."""
    height, width = pixels.shape[:2]
    size, numbers = settings["size"], letterbox_numbers(height=height, width=width, size=settings["size"])
    rows = slice(numbers["top"], numbers["top"] + numbers["inner_height"])
    columns = slice(numbers["left"], numbers["left"] + numbers["inner_width"])
    inner = antialiased(pixels, height=numbers["inner_height"], width=numbers["inner_width"])
    images = np.full((1, 3, size, size), settings["fill"], dtype=np.float32)
    np.divide(inner.transpose(2, 0, 1), 255, out=images[0, :, rows, columns], dtype=np.float32)
    padding = np.ones((1, size, size), dtype=bool)
    padding[0, rows, columns] = False
    return Letterboxed(images=images, padding=padding, height=height, width=width, rows=rows, columns=columns)


IMAGES: Mapping[str, Callable[[np.ndarray, Mapping[str, Any]], Letterboxed]] = {"MiniPreprocess": mini_image}
"""How images become inputs, by the name in `model.json`."""


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
        from risctl.language.tokens import bare

        return word in self._known or bare(word) in self._known


TEXTS: Mapping[str, type[HashedWordTokens]] = {"hashed_words": HashedWordTokens}
"""How texts become tokens, by the kind in `model.json`."""
