"""Maps words to ids. A vocabulary is stored in the checkpoint, so that a checkpoint needs no other file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from risctl.errors import CheckpointError, UsageError
from risctl.language.tokens import bare, words_of

PAD, UNK = "<pad>", "<unk>"
PAD_ID, UNK_ID = 0, 1


class Vocabulary:
    """Words and their ids; id 0 is padding, id 1 stands for every unknown word.

    Args:
        words: The words, numbered from 2 in their order; repeated ones keep their first place.
    """

    def __init__(self, words: Iterable[str] = ()) -> None:
        """Numbers the words."""
        self.words: tuple[str, ...] = tuple(dict.fromkeys((PAD, UNK, *words)))
        self._ids = {word: index for index, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self._ids

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.words == other.words

    def __hash__(self) -> int:
        return hash(self.words)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} words)"

    @classmethod
    def from_texts(cls, texts: Iterable[str], *, min_count: int = 1, extra: Iterable[str] = ()) -> Vocabulary:
        """Returns the words that `texts` use at least `min_count` times, most frequent first, then those of `extra`."""
        counts = Counter(word for text in texts for word in words_of(text))
        frequent = sorted((word for word, count in counts.items() if count >= min_count), key=lambda w: (-counts[w], w))
        return cls((*frequent, *extra))

    def encode(self, text: str, *, max_words: int) -> tuple[Tensor, Tensor]:
        """Tokenizes a text.

        Args:
            text: The text.
            max_words: At most so many words are kept.

        Returns:
            Ids (max_words,) int64, padded with 0, and their mask, bool (max_words,).

        Raises:
            UsageError: The text has no word.
        """
        words = words_of(text)[:max_words]
        if not words:
            raise UsageError("expected a text of at least one word, got an empty one; say what to look for")
        ids = torch.zeros(max_words, dtype=torch.int64)
        ids[: len(words)] = torch.tensor([self._id(word) for word in words])
        return ids, torch.arange(max_words) < len(words)

    def unknown(self, text: str) -> list[str]:
        """Returns the words of `text` that the vocabulary lacks, each once, in order."""
        return list(dict.fromkeys(word for word in words_of(text) if self._id(word) == UNK_ID))

    def to_list(self) -> list[str]:
        """Returns all words in the order of their ids, the two special ones first."""
        return list(self.words)

    @classmethod
    def from_list(cls, words: Sequence[str]) -> Vocabulary:
        """Returns the vocabulary whose `to_list` gave `words`.

        Raises:
            CheckpointError: No vocabulary has such a list.
        """
        if list(words[:2]) != [PAD, UNK] or not all(isinstance(word, str) for word in words):
            raise CheckpointError(f"expected a vocabulary that begins with {PAD!r}, {UNK!r}; got {list(words[:2])!r}")
        if len(set(words)) != len(words):
            raise CheckpointError(f"expected a vocabulary of different words; {len(words) - len(set(words))} repeat")
        return cls(words[2:])

    def _id(self, word: str) -> int:
        # A typed "man," should not be unknown where "man" is known; a word that is known as written stays as written.
        known = self._ids.get(word, UNK_ID)
        return known if known > UNK_ID else max(self._ids.get(bare(word), UNK_ID), UNK_ID)
