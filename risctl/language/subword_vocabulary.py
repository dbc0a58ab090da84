"""Defines what vocabularies of subword tokens share: no text is unknown, and a long one keeps its end token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from risctl.errors import UsageError
from risctl.language.vocabulary import Vocabulary

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class SubwordVocabulary(Vocabulary):
    """A vocabulary read by a tokenizer of the `tokenizers` library; a subclass sets `_tokenizer` in its constructor."""

    _tokenizer: Tokenizer

    def encode(self, text: str, *, max_words: int) -> tuple[Tensor, Tensor]:
        """Returns ids (L,) int64 of at most `max_words` tokens, the last one kept, and their mask, all True.

        Raises:
            UsageError: The text has no word.
        """
        if not text.strip():
            raise UsageError("expected a text of at least one word, got an empty one; say what to look for")
        ids = self._tokenizer.encode(" ".join(text.split())).ids
        if len(ids) > max_words:
            ids = [*ids[: max_words - 1], ids[-1]]
        return torch.tensor(ids, dtype=torch.int64), torch.ones(len(ids), dtype=torch.bool)

    def unknown(self, text: str) -> list[str]:
        """Returns nothing: a subword tokenizer reads every text."""
        del text
        return []
