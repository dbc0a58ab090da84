"""Tokenizes texts for CLIP, with a vocabulary in Hugging Face's files or in OpenAI's list of merges."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from risctl.errors import CheckpointError, UsageError

START, END = "<|startoftext|>", "<|endoftext|>"
MERGES_FILE = "bpe_simple_vocab_16e6.txt.gz"
# OpenAI's file lists more merges than were used: with 256 bytes, each also at a word's end, and two marks, 49,408.
_MERGES_BYTES = 2**25
_MERGES = 49_408 - 2 * 256 - 2


class ClipTokens:
    """Tokenizes texts for CLIP.

    Args:
        tokenizer: A transformers tokenizer that ends a text with its `eos_token_id`.
        context: At most so many tokens are read; longer texts are truncated.
    """

    def __init__(self, tokenizer: Any, *, context: int) -> None:
        """Wraps a tokenizer."""
        self._tokenizer = tokenizer
        self.context = context

    @property
    def definition(self) -> str:
        """The tokenizer, its merges included, as JSON of the `tokenizers` library; it takes texts in lower case."""
        definition: str = self._tokenizer.backend_tokenizer.to_str()
        return definition

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Tokenizes N texts in lower case.

        Returns:
            Ids (N, L), zeros after the end, and the index of each text's end token (N,).

        Raises:
            UsageError: A text is empty.
        """
        if not all(text.strip() for text in texts):
            raise UsageError("a text is empty; say what to look for")
        rows = [self._ids(text) for text in texts]
        ids = torch.zeros((len(rows), max(map(len, rows), default=1)), dtype=torch.int64)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = torch.tensor(row)
        return ids, torch.tensor([len(row) - 1 for row in rows], dtype=torch.int64)

    def is_cut(self, text: str) -> bool:
        """Returns whether `text` has more tokens than CLIP reads."""
        return len(self._tokenizer(text.lower())["input_ids"]) > self.context

    def _ids(self, text: str) -> list[int]:
        ids = list(self._tokenizer(text.lower())["input_ids"])
        # The end stays when the text is cut: its place is where the feature is read.
        return ids if len(ids) <= self.context else [*ids[: self.context - 1], ids[-1]]


def load_tokens(path: Path, *, context: int) -> ClipTokens:
    """Loads a tokenizer.

    Args:
        path: A folder with `tokenizer.json`, or `vocab.json` and `merges.txt`; or OpenAI's file of merges.
        context: See `ClipTokens`.

    Raises:
        CheckpointError: None of these is there, or it cannot be read.
    """
    return ClipTokens(_read_tokenizer(path), context=context)


def tokenizer_definition(path: Path) -> str:
    """Returns a tokenizer as JSON of the `tokenizers` library; arguments and errors as in `load_tokens`."""
    definition: str = _read_tokenizer(path).backend_tokenizer.to_str()
    return definition


def _read_tokenizer(path: Path) -> Any:
    from transformers import CLIPTokenizer

    if path.is_dir() and (path / MERGES_FILE).is_file() and not is_tokenizer_folder(path):
        path = path / MERGES_FILE
    try:
        if path.is_dir():
            if not is_tokenizer_folder(path):
                raise CheckpointError(
                    f"expected tokenizer.json, or vocab.json and merges.txt, in {path}; found neither"
                )
            return CLIPTokenizer.from_pretrained(str(path), local_files_only=True)
        vocabulary, merges = _published(path)
        # The hint says list[str]; the tokenizer hands the merges on to tokenizers' BPE, which takes pairs only.
        return CLIPTokenizer(vocab=vocabulary, merges=merges)  # type: ignore[arg-type]
    except CheckpointError:
        raise
    except Exception as error:  # the tokenizers library raises plain Exception
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(f"{path} cannot be read as CLIP's vocabulary: {first}") from error


def is_tokenizer_folder(path: Path) -> bool:
    """Returns whether a folder holds a tokenizer's files in Hugging Face's layout."""
    return (path / "tokenizer.json").is_file() or all((path / one).is_file() for one in ("vocab.json", "merges.txt"))


def _published(path: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Returns the vocabulary and merges of OpenAI's file, gzipped or not."""
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        with gzip.open(path) as file:
            data = file.read(_MERGES_BYTES + 1)
    if len(data) > _MERGES_BYTES:
        raise ValueError(f"it has more than {_MERGES_BYTES:,} bytes of merges")
    text = data.decode("utf-8")
    lines = [tuple(line.split()) for line in text.split("\n")[1 : _MERGES + 1]]
    merges = [(line[0], line[1]) for line in lines if len(line) == 2]
    if len(merges) != _MERGES:
        raise ValueError(f"expected {_MERGES:,} merges, got {len(merges):,}")
    letters = _byte_letters()
    words = [*letters, *(letter + "</w>" for letter in letters), *("".join(merge) for merge in merges), START, END]
    return {word: number for number, word in enumerate(words)}, merges


def _byte_letters() -> list[str]:
    """Returns the printable character that stands for each byte, in the vocabulary's order: printable bytes first."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + number) for number in range(len(others))]
