"""Holds CLIP's byte-pair tokenizer as a vocabulary that is stored in the checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from risctl.errors import CheckpointError, UsageError
from risctl.language.clip_tokens import MERGES_FILE, tokenizer_definition
from risctl.language.pretrained_tokens import PretrainedTokens
from risctl.language.subword_vocabulary import tokenizer_file
from risctl.language.text_repair import clean_text

MARK = "<clip-tokenizer>"
"""First entry of the list of such a vocabulary; the second is the tokenizer as JSON of the `tokenizers` library."""

PAD_ID = 0


class ClipVocabulary(PretrainedTokens):
    """CLIP's tokens: a start token, the byte pairs of the cleaned text and an end token.

    Id 0 fills up texts, and is that of "!" within a word as well; the published systems that pad so mask both.
    """

    mark: ClassVar[str] = MARK

    def encode(self, text: str, *, max_words: int) -> tuple[Tensor, Tensor]:
        """Returns ids (L,) int64 of at most `max_words` tokens, the last one kept, and their mask, False at id 0.

        Raises:
            UsageError: The text has no word.
        """
        if not text.strip():
            raise UsageError("expected a text of at least one word, got an empty one; say what to look for")
        ids = torch.tensor(self.ids(text, max_words=max_words), dtype=torch.int64)
        return ids, ids != PAD_ID

    def ids(self, text: str, *, max_words: int) -> list[int]:
        """Returns the ids of at most `max_words` tokens, the last one kept; a text without a word has start and end."""
        ids = self._tokenizer.encode(clean_text(text)).ids
        return ids if len(ids) <= max_words else [*ids[: max_words - 1], ids[-1]]

    @classmethod
    def load(cls, source: str) -> ClipVocabulary:
        """Loads the tokenizer.

        Args:
            source: OpenAI's `bpe_simple_vocab_16e6.txt.gz`, or a folder with it, with `tokenizer.json`, or with
                `vocab.json` and `merges.txt`; or a hub id such as `openai/clip-vit-base-patch32`.

        Raises:
            CheckpointError: The files are missing or damaged.
            MachineError: The hub's files are neither cached nor reachable.
        """
        path = Path(source).expanduser()
        if not path.exists() and (path.suffix in (".gz", ".txt") or path.is_absolute()):
            raise CheckpointError(
                f"expected CLIP's tokenizer at {path}: OpenAI's {MERGES_FILE}, a folder with it or with "
                "tokenizer.json, or a hub id; found nothing there"
            )
        if not path.exists():
            tokenizer_file(source, "merges.txt")
            path = tokenizer_file(source, "vocab.json").parent
        return cls(tokenizer_definition(path))
