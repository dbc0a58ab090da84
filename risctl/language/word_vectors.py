"""Looks up published word vectors as VLT's reference does: each word is re-tokenized and its pieces are averaged."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from risctl.errors import DataError
from risctl.language.class_vectors import is_class_matrix, read_class_table
from risctl.language.vector_cache import cached_path, read_compact, write_compact
from risctl.language.vector_files import Selection, Table, read_file, read_spacy
from risctl.language.vocabulary import PAD, UNK

FILES = (".txt", ".vec", ".bin", ".gz", ".zip")


class WordVectors:
    """A table of word vectors.

    Args:
        words: The words in the source's order, most frequent first in all public files.
        vectors: Float32 (words, dim).
    """

    def __init__(self, words: Sequence[str], vectors: np.ndarray) -> None:
        """Keeps words with their vectors."""
        self.words = tuple(words)
        self.vectors = vectors
        self._rows = {word: row for row, word in enumerate(self.words)}

    @property
    def dim(self) -> int:
        """Numbers per word."""
        return int(self.vectors.shape[1])

    @classmethod
    def open(
        cls,
        source: str | Path,
        *,
        needed: Iterable[str] | None = None,
        first: int = 0,
        dim: int | None = None,
        cached: bool = True,
    ) -> WordVectors:
        """Reads word vectors.

        Args:
            source: GloVe (`.txt`, `.zip`), word2vec (`.txt`, `.vec`, `.bin`), each also as `.gz`, a compact
                `.safetensors`, a spaCy model by name or folder, or a matrix of class vectors (`class_vectors`).
            needed: Words to keep, with their pieces and the `first` most frequent ones; None keeps all.
            first: How many of the most frequent words to keep.
            dim: The width to take from a zip that holds several.
            cached: Whether large sources are converted once and read from the cache afterwards.

        Raises:
            DataError: The file cannot be read.
            MachineError: The spaCy model is not installed.
        """
        path = Path(source).expanduser()
        if path.suffix == ".safetensors":
            return cls._of(read_compact(path))
        selection = None
        if needed is not None:
            selection = Selection(needed=frozenset(pieces_of(needed)), first=first, pieces=pieces_of)
        if path.suffix not in FILES:
            if path.is_file():
                raise DataError(f"expected word vectors as {', '.join(FILES)} or .safetensors, got {path}")
            return cls._of(read_spacy(str(source), selection=selection))
        if not path.is_file():
            raise DataError(f"expected word vectors at {path}, found no file")
        if is_class_matrix(path):
            return cls._of(read_class_table(path))
        compact = cached_path(path, words=selection.needed if selection else None, first=first, dim=dim)
        if cached and compact.is_file():
            # A damaged conversion is made again.
            with contextlib.suppress(DataError):
                return cls._of(read_compact(compact))
        table = read_file(path, dim=dim, selection=selection)
        if cached:
            # Without a place to keep it, it is converted again the next time.
            with contextlib.suppress(OSError):
                write_compact(compact, table, source=str(path.absolute()))
        return cls._of(table)

    def save(self, path: Path) -> None:
        """Writes the table as a compact `.safetensors` that `open` reads.

        Raises:
            OSError: The disk refuses.
        """
        write_compact(path, Table(words=self.words, vectors=self.vectors), source="saved")

    def lookup(self, words: Sequence[str], *, whole: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Looks up words.

        A word's vector is the mean over its pieces (man and 's for man's), of which unknown ones count as zero; a word
        none of whose pieces is known has zeros and is not found. So it is in the reference (spaCy's `Doc.vector`).

        Args:
            words: N words.
            whole: Whether a word that stands in the table as it is takes its own vector first (wed, not we and d).

        Returns:
            Vectors float32 (N, dim), and whether each word was found, bool (N,).
        """
        vectors = np.zeros((len(words), self.dim), dtype=np.float32)
        found = np.zeros(len(words), dtype=bool)
        tokenizer = _tokenizer()
        for number, word in enumerate(words):
            if word in (PAD, UNK):
                continue
            pieces = [word] if whole and word in self._rows else [token.text for token in tokenizer(word)]
            rows = [self._rows[piece] for piece in pieces if piece in self._rows]
            if rows:
                vectors[number] = self.vectors[rows].sum(axis=0) / len(pieces)
                found[number] = True
        return vectors, found

    @classmethod
    def _of(cls, table: Table) -> WordVectors:
        return cls(table.words, table.vectors)


def pieces_of(words: Iterable[str]) -> set[str]:
    """Returns the pieces that spaCy's English tokenizer makes of `words`, and the words themselves."""
    tokenizer = _tokenizer()
    pieces = set(words)
    for word in tuple(pieces):
        pieces.update(token.text for token in tokenizer(word))
    return pieces


@functools.cache
def _tokenizer() -> Any:
    import spacy

    return spacy.blank("en").tokenizer
