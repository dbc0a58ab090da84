"""Reading a store: rows by index, in any order, from any number of processes and threads.

The file's own layout says where each column lies (see `schema`), and columns are contiguous: a value is one read at its
place (`os.pread`, which moves no position that processes or threads could share). So a reader can be forked, pickled to
a spawned process, or used by threads, with no HDF5 handle to carry across.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from risctl.data import splits
from risctl.data.records import Sample, SampleIds
from risctl.data.store import schema
from risctl.data.store.rows import TEXT_FIELDS, AnnotationRow, ImageRow, RefRow, SentenceRow, TextField
from risctl.errors import DataError, UsageError, unknown_name
from risctl.vision import rle
from risctl.vision.images import decode_stored
from risctl.vision.rle import RLE


class Store:
    """A store opened for reading. Indices are rows; `IndexError` beyond the table, `DataError` for a damaged file.

    Opening reads the header and the layout only; tables come into memory when first used, texts, masks and images
    never stay there. Pickling carries the path and the fingerprint: the copy opens the file for itself and refuses
    another one that has taken its place.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._open()

    def _open(self) -> None:
        try:
            self._file = open(self.path, "rb", buffering=0)  # noqa: SIM115, PTH123 - kept open until close()
        except OSError as error:
            hint = "; make a store with `risctl prepare`" if isinstance(error, FileNotFoundError) else ""
            raise DataError(f"cannot open the store {self.path}: {error.strerror or error}{hint}") from error
        try:
            self.size = os.fstat(self._file.fileno()).st_size
            self._read_layout()
        except BaseException:
            self._file.close()
            raise

    def _read_layout(self) -> None:
        head = self._file.read(schema.HEADER_BYTES)
        offset, length, digest = schema.check_header(head, length=self.size, path=self.path)
        data = self._read(offset, length)
        try:
            if hashlib.sha256(data).hexdigest() != digest:
                raise ValueError("its layout is not what was written")
            layout = schema.Layout.from_bytes(data, length=self.size)
        except ValueError as error:
            raise DataError(f"{self.path} is damaged ({error}); prepare or copy the store again") from error
        self.name, self.split_by, self.fingerprint = layout.name, layout.split_by, layout.fingerprint
        self.linked, self.notes = layout.linked, layout.notes
        self._columns, self._parts = layout.columns, layout.parts

    def close(self) -> None:
        """Close the file; the store can be used no more."""
        self._file.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path.absolute(), "fingerprint": self.fingerprint}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path = state["path"]
        self._open()
        if self.fingerprint != state["fingerprint"]:
            raise DataError(f"{self.path} was replaced by another store while in use; start again")

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}, name={self.name!r}, split_by={self.split_by!r})"

    # Reading at a place in the file.

    def _read(self, offset: int, length: int) -> bytes:
        if length == 0:
            return b""
        if self._file.closed:
            raise DataError(f"the store {self.path} is closed")
        data = _read_at(self._file, offset, length)
        if len(data) != length:
            raise DataError(f"{self.path} was cut short while in use; prepare or copy the store again")
        return data

    def numbers(self, name: str) -> np.ndarray:
        """Return a whole column of `schema.columns()`, read-only, kept in memory once read."""
        if name not in self._cache:
            column = self._columns[name]
            data = self._read(column.offset, column.length)
            if zlib.crc32(data) != column.crc32:
                raise DataError(f"{self.path} is damaged (in {name}); prepare or copy the store again")
            self._cache[name] = np.frombuffer(data, dtype=column.kind).reshape(column.shape)
        return self._cache[name]

    @cached_property
    def _cache(self) -> dict[str, np.ndarray]:
        return {}

    def _text(self, name: str, row: int) -> str:
        offsets = self.numbers(f"{name}/offsets")
        start, stop = int(offsets[row]), int(offsets[row + 1])
        return schema.unpack_text(self._read(self._columns[f"{name}/blob"].offset + start, stop - start))

    def _texts(self, name: str) -> list[str]:
        """Return a whole text column, in one read."""
        column = self._columns[f"{name}/blob"]
        blob = self._read(column.offset, column.shape[0])
        offsets = self.numbers(f"{name}/offsets").tolist()
        return [schema.unpack_text(blob[start:stop]) for start, stop in pairwise(offsets)]

    def _ragged(self, name: str, row: int) -> np.ndarray:
        offsets = self.numbers(f"{name}/offsets")
        return self.numbers(f"{name}/values")[offsets[row] : offsets[row + 1]]

    def _checked(self, row: int, table: str) -> int:
        count = len(self.numbers(f"{table}/id"))
        if not 0 <= row < count:
            raise IndexError(f"{table} have rows 0 to {count - 1}; asked for {row}")
        return int(row)

    # What the store holds.

    @cached_property
    def categories(self) -> dict[int, str]:
        """Category names by id."""
        return dict(zip(self.numbers("categories/id").tolist(), self._texts("categories/name")))

    @cached_property
    def splits(self) -> list[str]:
        """The splits its refs name, in order of appearance."""
        return self._texts("splits")

    @cached_property
    def _abilities(self) -> list[str]:
        return self._texts("abilities")

    def counts(self) -> dict[str, dict[str, int]]:
        """Return `{split: {"images", "refs", "sentences"}}`, splits in order of appearance."""
        return {split: self.count(split) for split in self.splits}

    def count(self, split: str) -> dict[str, int]:
        """Return how many images, refs and sentences `split` has. `UsageError` for an unknown split."""
        tables = {"images": self.images(split), "refs": self.refs(split), "sentences": self.sentences(split)}
        return {name: len(rows) for name, rows in tables.items()}

    def refs(self, split: str) -> np.ndarray:
        """Return the rows (int64) of the refs of `split`; "all" takes every one. `UsageError` for an unknown split."""
        asked = [self.splits.index(own) for own in splits.matching(split, self.splits)]
        return np.flatnonzero(np.isin(self.numbers("refs/split"), asked))

    def sentences(self, split: str) -> np.ndarray:
        """Return the rows (int64) of the sentences of `split`, by ref. `UsageError` for an unknown split."""
        taken = np.zeros(len(self.numbers("refs/id")), dtype=bool)
        taken[self.refs(split)] = True
        return np.flatnonzero(taken[self.numbers("sentences/ref")])

    def images(self, split: str) -> np.ndarray:
        """Return the rows (int64) of the images that refs of `split` are about. `UsageError` for an unknown split."""
        return np.unique(self.numbers("refs/image")[self.refs(split)]).astype(np.int64)

    def texts(self, split: str, text_field: TextField = "sent") -> list[str]:
        """Return the texts of the sentences of `split`, in the order of `sentences`."""
        if text_field not in TEXT_FIELDS:
            raise UsageError(unknown_name("text field", text_field, TEXT_FIELDS))
        texts = self._texts("sentences/sent" if text_field == "sent" else "sentences/raw")
        chosen = [texts[row] for row in self.sentences(split)]
        return [text.lower() for text in chosen] if text_field == "raw_lower" else chosen

    # Rows.

    def image(self, row: int) -> ImageRow:
        """Return the image of `row`."""
        row = self._checked(row, "images")
        return ImageRow(
            row=row,
            image_id=int(self.numbers("images/id")[row]),
            file_name=self._text("images/file_name", row),
            height=int(self.numbers("images/height")[row]),
            width=int(self.numbers("images/width")[row]),
        )

    def image_bytes(self, row: int) -> bytes:
        """Return the image's file as it came. Raises `DataError` if it is not what was stored or linked."""
        row = self._checked(row, "images")
        length = int(self.numbers("images/length")[row])
        if self.linked:
            path = Path(self._text("images/path", row))
            try:
                data = path.read_bytes()
            except OSError as error:
                raise DataError(
                    f"{self.path} links to {path}, which cannot be read ({error.strerror or error}); "
                    f"prepare the store again, or without --link"
                ) from error
            where = f"{path}, to which {self.path} links, has changed"
        else:
            part = self._parts[self.numbers("images/part")[row]]
            data = self._read(part.offset + int(self.numbers("images/start")[row]), length)
            where = f"image row {row} of {self.path} is damaged"
        if len(data) != length or zlib.crc32(data) != self.numbers("images/crc32")[row]:
            raise DataError(f"{where}; prepare the store again")
        return data

    def pixels(self, row: int) -> np.ndarray:
        """Return the image of `row` as uint8 (H, W, 3) RGB, in the orientation its annotations have."""
        image = self.image(row)
        pixels = decode_stored(self.image_bytes(row))
        if pixels.shape[:2] != (image.height, image.width):
            raise DataError(
                f"image {image.image_id} of {self.path} has {pixels.shape[0]}x{pixels.shape[1]} pixels; "
                f"its annotations are for {image.height}x{image.width} (height x width)"
            )
        return pixels

    def annotation(self, row: int) -> AnnotationRow:
        """Return the annotation of `row`, with its mask."""
        row = self._checked(row, "annotations")
        x, y, width, height = self.numbers("annotations/box")[row].tolist()
        return AnnotationRow(
            row=row,
            annotation_id=int(self.numbers("annotations/id")[row]),
            image=int(self.numbers("annotations/image")[row]),
            category_id=int(self.numbers("annotations/category")[row]),
            box=(x, y, width, height),
            crowd=bool(self.numbers("annotations/crowd")[row]),
            mask=self._mask(row),
        )

    def annotations_of(self, image_row: int) -> np.ndarray:
        """Return the rows of all annotations of an image, referred to or not."""
        offsets = self.numbers("images/annotations")
        row = self._checked(image_row, "images")
        return np.arange(offsets[row], offsets[row + 1])

    def ref(self, row: int) -> RefRow:
        """Return the ref of `row`."""
        row = self._checked(row, "refs")
        image = int(self.numbers("refs/image")[row])
        annotations = tuple(self._ragged("refs/annotations", row).tolist())
        categories = self.numbers("annotations/category")
        offsets = self.numbers("refs/sentences")
        return RefRow(
            row=row,
            ref_id=int(self.numbers("refs/id")[row]),
            image=image,
            image_id=int(self.numbers("images/id")[image]),
            split=self.splits[self.numbers("refs/split")[row]],
            annotations=annotations,
            category_ids=tuple(int(categories[one]) for one in annotations),
            sentences=np.arange(offsets[row], offsets[row + 1]),
        )

    def mask(self, ref_row: int) -> RLE:
        """Return the union of a ref's annotations; all-False if it has no target."""
        row = self._checked(ref_row, "refs")
        masks = [self._mask(one) for one in self._ragged("refs/annotations", row)]
        if len(masks) == 1:
            return masks[0]
        if masks:
            return rle.union(masks)
        image = self.numbers("refs/image")[row]
        return rle.empty(int(self.numbers("images/height")[image]), int(self.numbers("images/width")[image]))

    def _mask(self, row: int) -> RLE:
        image = self.numbers("annotations/image")[row]
        size = [int(self.numbers("images/height")[image]), int(self.numbers("images/width")[image])]
        return {"size": size, "counts": self._text("annotations/counts", row)}

    def sentence(self, row: int) -> SentenceRow:
        """Return the sentence of `row`."""
        row = self._checked(row, "sentences")
        ref = int(self.numbers("sentences/ref")[row])
        start, stop = self.numbers("sentences/tokens/offsets")[row : row + 2].tolist()
        return SentenceRow(
            row=row,
            ref=ref,
            image=int(self.numbers("refs/image")[ref]),
            sentence_id=int(self.numbers("sentences/id")[row]),
            raw=self._text("sentences/raw", row),
            sent=self._text("sentences/sent", row),
            tokens=tuple(self._text("tokens", token) for token in range(start, stop)),
            abilities=tuple(self._abilities[one] for one in self._ragged("sentences/abilities", row)),
        )

    def sample(self, sentence_row: int, *, text_field: TextField = "sent", pixels: bool = True) -> Sample:
        """Return the sentence with its mask decoded and, unless `pixels` is false, its image."""
        sentence = self.sentence(sentence_row)
        ref = self.ref(sentence.ref)
        mask = rle.decode(self.mask(sentence.ref))
        return Sample(
            image=self.pixels(sentence.image) if pixels else np.zeros((*mask.shape, 0), dtype=np.uint8),
            text=sentence.text(text_field),
            mask=mask,
            ids=SampleIds(
                image_id=ref.image_id,
                ref_id=ref.ref_id,
                sentence_id=sentence.sentence_id,
                category_id=next(iter(ref.category_ids), None),
            ),
            category_ids=ref.category_ids,
            abilities=sentence.abilities,
        )


if hasattr(os, "pread"):

    def _read_at(file: Any, offset: int, length: int) -> bytes:
        data = os.pread(file.fileno(), length, offset)
        # One call returns at most some 2 GB on Linux.
        while data and len(data) < length:
            more = os.pread(file.fileno(), length - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

else:

    def _read_at(file: Any, offset: int, length: int) -> bytes:
        # Windows cannot read at a place without moving the position, which threads share: each read opens its own.
        with open(file.name, "rb", buffering=0) as own:  # noqa: PTH123
            own.seek(offset)
            return own.read(length)
