"""Reads published word vectors as streams: GloVe's text, word2vec's text and binary, spaCy's models.

Files of several gigabytes are read once, front to back, and only the wanted words are kept. Formats: the GloVe project
(Pennington et al., EMNLP 2014) and the word2vec tool (Mikolov et al., 2013).
"""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from risctl.errors import DataError, MachineError

_MAX_LINE = 1 << 20
_MAX_DIM = 1 << 16
_MAX_WORD = 1 << 12
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Word vectors.

    Attributes:
        words: Lower-case words in the file's order, each once.
        vectors: Float32 (words, dim).
    """

    words: tuple[str, ...]
    vectors: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which words to keep.

    Attributes:
        needed: Words that are kept wherever they stand.
        first: How many words from the start of the file are kept, with the pieces that they are made of.
        pieces: Returns the pieces of words.
    """

    needed: frozenset[str]
    first: int
    pieces: Callable[[Iterable[str]], set[str]]


def read_file(path: Path, *, dim: int | None, selection: Selection | None) -> Table:
    """Reads `.txt`, `.vec` or `.bin`, each also as `.gz`, or a `.zip` of texts.

    Only lower-case words are kept, as only those are looked up.

    Args:
        path: The file.
        dim: Which text to take from a zip that holds several widths.
        selection: Which words to keep; None keeps all.

    Raises:
        DataError: The file is missing, truncated, of uneven width or holds a number that is not finite; the message has
            the line or record.
    """
    if not path.is_file():
        raise DataError(f"expected word vectors at {path}, found no file")
    kept = _Kept(selection)
    try:
        with _stream(path, dim) as (stream, name, binary):
            (_read_binary if binary else _read_text)(stream, name, kept)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read as word vectors: {error}") from error
    return kept.table(str(path))


def read_spacy(name: str, *, selection: Selection | None) -> Table:
    """Reads the vectors of a spaCy model, an installed package or a folder.

    Raises:
        MachineError: The model is not installed.
        DataError: The model has no vectors.
    """
    import spacy

    try:
        vocab = spacy.load(name, exclude=["tagger", "parser", "ner", "lemmatizer", "attribute_ruler", "tok2vec"]).vocab
    except OSError as error:
        raise MachineError(
            f"expected word vectors in a file (.txt, .zip, .vec, .bin, .safetensors) or a spaCy model, got {name!r}, "
            f"which is neither a file nor an installed model; for a model: python -m spacy download {name}"
        ) from error
    if not vocab.vectors.shape[0] or not vocab.vectors.shape[1]:
        raise DataError(f"the spaCy model {name!r} has no word vectors; take one that has, such as en_core_web_md")
    kept = _Kept(selection)
    rows = sorted((row, key) for key, row in vocab.vectors.key2row.items() if row >= 0)
    for number, (row, key) in enumerate(rows, start=1):
        word = vocab.strings[key]
        if kept.wants(word):
            kept.add(word, np.asarray(vocab.vectors.data[row]), f"{name}, row {number}")
    return kept.table(name)


class _Kept:
    """The words kept so far."""

    def __init__(self, selection: Selection | None) -> None:
        self._selection = selection
        self._needed = set(selection.needed) if selection else set()
        self._seen = 0
        self._rows: dict[str, np.ndarray] = {}

    def wants(self, word: str) -> bool:
        """Returns whether to keep `word`, the next one of the file."""
        if not word or word != word.lower() or word in self._rows or word.split() != [word]:
            return False
        if self._selection is None:
            return True
        self._seen += 1
        if self._seen == self._selection.first + 1:
            # "t-shirt" is looked up by its pieces, which may stand further down.
            self._needed |= self._selection.pieces(self._rows)
        return self._seen <= self._selection.first or word in self._needed

    def add(self, word: str, values: np.ndarray, where: str) -> None:
        """Keeps a word's vector.

        Raises:
            DataError: A number is not a finite float32.
        """
        with np.errstate(over="ignore"):
            row = values.astype(np.float32)
        if not np.isfinite(row).all():
            raise DataError(f"{where}: the vector of {word!r} holds what is no finite number; take another copy")
        self._rows[word] = row

    def table(self, name: str) -> Table:
        """Returns what was kept.

        Raises:
            DataError: Nothing was kept.
        """
        if not self._rows:
            raise DataError(f"{name} holds none of the words looked for; is it a file of word vectors?")
        return Table(words=tuple(self._rows), vectors=np.stack(list(self._rows.values())))


@contextmanager
def _stream(path: Path, dim: int | None) -> Iterator[tuple[BinaryIO, str, bool]]:
    """Yields the decompressed stream of `path`, its name for messages, and whether it is word2vec's binary."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            member = _member(archive, path, dim)
            with archive.open(member) as file:
                yield cast(BinaryIO, file), f"{path}:{member}", False
    elif path.suffix == ".gz":
        with gzip.open(path) as file:
            yield cast(BinaryIO, file), str(path), path.stem.endswith(".bin")
    else:
        with path.open("rb", buffering=_CHUNK) as file:
            yield file, str(path), path.suffix == ".bin"


def _member(archive: zipfile.ZipFile, path: Path, dim: int | None) -> str:
    texts = [name for name in archive.namelist() if name.endswith((".txt", ".vec"))]
    if dim is not None and len(texts) > 1:
        texts = [name for name in texts if f".{dim}d." in name] or texts
    if len(texts) != 1:
        held = ", ".join(texts) or "none"
        raise DataError(f"expected one text of word vectors in {path}, found {held}; unpack the one you want")
    return texts[0]


def _read_text(stream: BinaryIO, name: str, kept: _Kept) -> None:
    dim = 0
    number = 0
    while line := stream.readline(_MAX_LINE):
        number += 1
        line = line.rstrip()
        if not line:
            continue
        if number == 1:
            fields = line.split()
            header = len(fields) == 2 and all(field.isdigit() for field in fields)
            dim = _checked_dim(int(fields[1]) if header else len(fields) - 1, f"{name}, line 1")
            if header:
                continue
        # Most lines are not wanted, so that what is done to each decides how long a file takes.
        word, _, numbers = line.partition(b" ")
        if line.count(b" ") != dim and not _is_single(line, dim, f"{name}, line {number}"):
            continue
        if kept.wants(word.decode("utf-8", errors="ignore")):
            where = f"{name}, line {number}"
            kept.add(word.decode("utf-8", errors="ignore"), _numbers(numbers, dim, where), where)


def _is_single(line: bytes, dim: int, where: str) -> bool:
    """Returns whether an oddly spaced line is one word and `dim` numbers; GloVe's 840B has words with spaces."""
    fields = line.split()
    extra = len(fields) - 1 - dim
    if extra < 0 or (extra > 0 and _is_number(fields[1])):
        raise DataError(f"{where}: expected a word and {dim} numbers, got {len(fields) - 1} numbers")
    return extra == 0


def _numbers(text: bytes, dim: int, where: str) -> np.ndarray:
    try:
        values = np.fromstring(text, dtype=np.float64, sep=" ")
    except (ValueError, DeprecationWarning):
        values = np.empty(0)
    if len(values) != dim:
        raise DataError(f"{where}: expected {dim} numbers, got {text[:40]!r}…")
    return values


def _read_binary(stream: BinaryIO, name: str, kept: _Kept) -> None:
    header = stream.readline(100).split()
    if len(header) != 2 or not all(field.isdigit() for field in header):
        raise DataError(f"expected word2vec's header (words, numbers) at the start of {name}; is it word2vec's binary?")
    count, dim = int(header[0]), _checked_dim(int(header[1]), name)
    buffer, at, width = b"", 0, 4 * dim
    for record in range(1, count + 1):
        # A record: the word, a space, dim float32, and in some files a line feed.
        while (end := buffer.find(b" ", at)) < 0 or len(buffer) < end + 1 + width:
            more = stream.read(_CHUNK)
            if not more:
                raise DataError(f"{name} ends early: expected {count} words of {dim} numbers, got {record - 1}")
            buffer, at = buffer[at:] + more, 0
            if end < 0 and len(buffer) > _MAX_WORD and b" " not in buffer[:_MAX_WORD]:
                raise DataError(f"{name}, word {record}: expected a word and a space; is it word2vec's binary?")
        word = buffer[at:end].lstrip(b"\n").decode("utf-8", errors="ignore")
        at = end + 1 + width
        if kept.wants(word):
            kept.add(word, np.frombuffer(buffer, "<f4", dim, end + 1), f"{name}, word {record}")


def _checked_dim(dim: int, where: str) -> int:
    if not 1 <= dim <= _MAX_DIM:
        raise DataError(f"{where}: expected a word and 1 to {_MAX_DIM} numbers, got {dim}; is it a file of vectors?")
    return dim


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
