"""Defines what vocabularies of subword tokens share: no text is unknown, and a long one keeps its end token."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from risctl.errors import MachineError, RisctlError, UsageError
from risctl.language.vocabulary import Vocabulary
from risctl.network.hub import hub_file

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


def tokenizer_file(source: str, name: str) -> Path:
    """Returns a file of a tokenizer on the hub, from its cache or the net.

    Args:
        source: The hub id.
        name: The file's name.

    Raises:
        MachineError: It is neither cached nor reachable.
    """
    try:
        return hub_file(source, name)
    except RisctlError:
        raise
    except Exception as error:  # anything the network and the hub can raise
        raise MachineError(
            f"expected {name} of {source!r} in a folder of that name, in the hub's cache or on the net, got: "
            f"{str(error).splitlines()[0]}"
        ) from error
