"""Reads a store: rows by index, in any order, from any number of processes and threads.

The file's own layout says where each column lies (see `schema`), and columns are contiguous: a value is one read at an
offset. A reader can therefore be forked, pickled to a spawned process, or used by several threads, without an HDF5
handle to carry across.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from risctl.data import splits
from risctl.data.random_access import RandomAccessFile
from risctl.data.records import Sample, SampleIds
from risctl.data.store import linked_images, schema
from risctl.data.store.columns import Columns
from risctl.data.store.layout import Layout
from risctl.data.store.rows import TEXT_FIELDS, AnnotationRow, ImageRow, RefRow, SentenceRow, TextField
from risctl.data.store.shards import ShardReader
from risctl.errors import DataError, UnreadableImageError, UsageError, unknown_name
from risctl.vision import rle
from risctl.vision.images import WrongSizeError, decode_stored
from risctl.vision.rle import RLE


class Store:
    """A store opened for reading.

    Opening reads only the header and the layout; tables are read into memory when first used, texts, masks and images
    are read each time. Pickling carries the path and the fingerprint: the copy opens the file itself and refuses
    another one that has taken its place. Methods that take a row raise `IndexError` beyond the table, and all raise
    `DataError` for a damaged file.

    Attributes:
        path: The store's file.
        name: Name of the dataset.
        split_by: The publisher's division into splits, such as "unc"; "videos" for a store of videos.
        fingerprint: Identifies the contents.
        linked: Whether images are kept outside the store.
        notes: Irregularities of the dataset that were repaired when the store was written, with their counts.
        size: Size of the file in bytes, its shards included.
        image_roots: Folders whose images the store may read if it is a linked one.

    Example:
        >>> with risctl.Store("data.h5") as store:
        ...     sentence = store.sentence(store.sentences("val")[0])
        ...     store.name, sentence.sent
        ('tiny', 'green box')
    """

    def __init__(self, path: Path | str, *, image_roots: Iterable[Path | str] = ()) -> None:
        """Opens a store.

        Args:
            path: The file.
            image_roots: Folders whose images the store may read if it is a linked one, besides its own folder and
                those that `linked_images.roots_of` names.

        Raises:
            DataError: It is missing, no store, or damaged.
        """
        self.path = Path(path)
        self.image_roots = linked_images.roots_of(self.path, named=image_roots)
        self._open()

    def _open(self) -> None:
        try:
            self._file = RandomAccessFile(self.path)
        except OSError as error:
            hint = "; make a store with `risctl prepare`" if isinstance(error, FileNotFoundError) else ""
            raise DataError(f"cannot open the store {self.path}: {error.strerror or error}{hint}") from error
        try:
            self.size = self._file.size
            self._read_layout()
        except BaseException:
            self._file.close()
            raise

    def _read_layout(self) -> None:
        head = self._file.read(0, schema.HEADER_BYTES)
        offset, length, digest = schema.check_header(head, length=self.size, path=self.path)
        self._columns = Columns(self._file, self.path)
        data = self._columns.read(offset, length)
        try:
            if hashlib.sha256(data).hexdigest() != digest:
                raise ValueError("its layout is not what was written")
            layout = Layout.from_bytes(data, length=self.size)
        except ValueError as error:
            raise self._columns.damaged(str(error)) from error
        self.name, self.split_by, self.fingerprint = layout.name, layout.split_by, layout.fingerprint
        self.linked, self.notes = layout.linked, layout.notes
        self._columns.layout = layout
        self._shards = ShardReader(self.path, layout) if layout.shards else None
        if self._shards is not None:
            self.size += self._shards.size

    def close(self) -> None:
        """Closes its files; the store cannot be used afterwards."""
        self._file.close()
        if self._shards is not None:
            self._shards.close()

    @property
    def shards(self) -> list[Path]:
        """The files in which its images lie, if these are apart."""
        return list(self._shards.paths) if self._shards is not None else []

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path.absolute(), "fingerprint": self.fingerprint, "image_roots": self.image_roots}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path, self.image_roots = state["path"], state["image_roots"]
        self._open()
        if self.fingerprint != state["fingerprint"]:
            raise DataError(f"{self.path} was replaced by another store while in use; start again")

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}, name={self.name!r}, split_by={self.split_by!r})"

    def numbers(self, name: str) -> np.ndarray:
        """Returns the column `name` of `schema.columns()`, such as "refs/image", read-only; it stays in memory."""
        return self._columns.numbers(name)

    def _checked(self, row: int, table: str) -> int:
        count = self._columns.layout.rows(table)
        if not 0 <= row < count:
            raise IndexError(f"{table} have rows 0 to {count - 1}; got {row}")
        return int(row)

    # What the store holds.

    @cached_property
    def categories(self) -> dict[int, str]:
        """Category names by id; `category` takes ids that have no name, too."""
        return dict(zip(self.numbers("categories/id").tolist(), self._columns.texts("categories/name")))

    def category(self, category_id: int) -> str:
        """Returns the name of the category `category_id`, "category N" if it has none."""
        return self.categories.get(category_id, f"category {category_id}")

    @cached_property
    def splits(self) -> list[str]:
        """Names of the splits, in order of appearance."""
        return self._columns.texts("splits")

    @cached_property
    def _abilities(self) -> list[str]:
        return self._columns.texts("abilities")

    def counts(self) -> dict[str, dict[str, int]]:
        """Returns `{split: {"images", "refs", "sentences"}}`, splits in order of appearance."""
        return {split: self.count(split) for split in self.splits}

    def count(self, split: str) -> dict[str, int]:
        """Returns the numbers of images, refs and sentences of `split`. Raises `UsageError` for an unknown split."""
        tables = {"images": self.images(split), "refs": self.refs(split), "sentences": self.sentences(split)}
        return {name: len(rows) for name, rows in tables.items()}

    def refs(self, split: str) -> np.ndarray:
        """Returns the rows of the refs of `split`, int64 (N,); "all" takes every split.

        Raises:
            UsageError: The split is unknown; the message names the nearest one.
        """
        numbers = [self.splits.index(name) for name in splits.matching(split, self.splits)]
        return np.flatnonzero(np.isin(self.numbers("refs/split"), numbers))

    def sentences(self, split: str) -> np.ndarray:
        """Returns the rows of the sentences of `split`, int64 (N,). Raises `UsageError` for an unknown split."""
        in_split = np.zeros(self._columns.layout.rows("refs"), dtype=bool)
        in_split[self.refs(split)] = True
        return np.flatnonzero(in_split[self.numbers("sentences/ref")])

    def images(self, split: str) -> np.ndarray:
        """Returns the rows of the images of `split`, int64 (N,). Raises `UsageError` for an unknown split."""
        return np.unique(self.numbers("refs/image")[self.refs(split)]).astype(np.int64)

    def texts(self, split: str, text_field: TextField = "sent") -> list[str]:
        """Returns the texts of the sentences of `split`, in the order of `sentences`.

        Args:
            split: Name of the split.
            text_field: "sent" as the publisher normalized it, "raw" as typed, "raw_lower" in lowercase. Others, and
                unknown splits, raise `UsageError`.
        """
        if text_field not in TEXT_FIELDS:
            raise UsageError(unknown_name("text field", text_field, TEXT_FIELDS))
        texts = self._columns.texts("sentences/sent" if text_field == "sent" else "sentences/raw")
        selected = [texts[row] for row in self.sentences(split)]
        return [text.lower() for text in selected] if text_field == "raw_lower" else selected

    def file_names(self) -> list[str]:
        """Returns the file names of all images, in the order of their rows."""
        return self._columns.texts("images/file_name")

    # Rows.

    def image(self, row: int) -> ImageRow:
        """Returns what is known of the image of `row`, without its pixels."""
        row = self._checked(row, "images")
        return ImageRow(
            row=row,
            image_id=self._columns.number("images/id", row),
            file_name=self._columns.text("images/file_name", row),
            height=self._columns.number("images/height", row),
            width=self._columns.number("images/width", row),
        )

    def image_bytes(self, row: int) -> bytes:
        """Returns the encoded image of `row` as published. Raises `DataError` if it has changed or is damaged."""
        row = self._checked(row, "images")
        number = self._columns.number
        length = number("images/length", row)
        if self.linked:
            link = self._columns.text("images/path", row)
            data = linked_images.read(link, length=length, roots=self.image_roots, store=self.path)
            where = f"{link}, to which {self.path} links, has changed"
        else:
            data = self._read_part(number("images/part", row), number("images/start", row), length)
            where = f"image row {row} of {self.path} is damaged"
        if zlib.crc32(data) != number("images/crc32", row):
            raise DataError(f"{where}; prepare the store again")
        return data

    def _read_part(self, part: int, start: int, length: int) -> bytes:
        if self._shards is not None:
            return self._shards.read(part, start, length)
        return self._columns.read(self._columns.layout.parts[part].offset + start, length)

    def pixels(self, row: int) -> np.ndarray:
        """Returns the image of `row`, RGB uint8 (H, W, 3), in the orientation of its annotations.

        Raises:
            UnreadableImageError: It is missing, damaged or of another size.
        """
        image = self.image(row)
        named = f"image {image.image_id} ({image.file_name}) of {self.path.name}"
        try:
            return decode_stored(self.image_bytes(row), size=(image.height, image.width))
        except WrongSizeError as error:
            height, width = error.size
            raise UnreadableImageError(
                f"image {image.image_id} of {self.path} has {height}x{width} pixels; its annotations are for "
                f"{image.height}x{image.width} (height x width)",
                image=named,
            ) from error
        except DataError as error:
            raise UnreadableImageError(str(error), image=named) from error

    def annotation(self, row: int) -> AnnotationRow:
        """Returns the annotation of `row`, with its mask."""
        row = self._checked(row, "annotations")
        number = self._columns.number
        x, y, width, height = self._columns.part("annotations/box", row, row + 1)[0].tolist()
        return AnnotationRow(
            row=row,
            annotation_id=number("annotations/id", row),
            image=number("annotations/image", row),
            category_id=number("annotations/category", row),
            box=(x, y, width, height),
            crowd=bool(number("annotations/crowd", row)),
            mask=self._mask(row),
        )

    def annotations_of(self, image_row: int) -> np.ndarray:
        """Returns the rows of all annotations of the image of `image_row`, referred to or not."""
        row = self._checked(image_row, "images")
        return np.arange(*self._columns.part("images/annotations", row, row + 2).tolist())

    def ref(self, row: int) -> RefRow:
        """Returns the ref, one referred target with its sentences, of `row`."""
        row = self._checked(row, "refs")
        number = self._columns.number
        image = number("refs/image", row)
        annotations = self._annotations_of_ref(row)
        return RefRow(
            row=row,
            ref_id=number("refs/id", row),
            image=image,
            image_id=number("images/id", image),
            split=self.splits[number("refs/split", row)],
            annotations=annotations,
            category_ids=tuple(number("annotations/category", annotation) for annotation in annotations),
            sentences=np.arange(*self._columns.part("refs/sentences", row, row + 2).tolist()),
        )

    def _annotations_of_ref(self, row: int) -> tuple[int, ...]:
        found = tuple(self._columns.ragged("refs/annotations", row).tolist())
        # In a store of videos a ref's image is the first frame, and its annotations are in any frame.
        if self.split_by != schema.VIDEOS:
            number = self._columns.number
            image = number("refs/image", row)
            if any(number("annotations/image", annotation) != image for annotation in found):
                raise self._columns.damaged(f"ref row {row} has an annotation of another image")
        return found

    def mask(self, ref_row: int) -> RLE:
        """Returns the union of the masks of the ref of `ref_row`; it is empty for a no-target ref."""
        row = self._checked(ref_row, "refs")
        masks = [self._mask(annotation) for annotation in self._annotations_of_ref(row)]
        if len(masks) == 1:
            return masks[0]
        if masks:
            if any(mask["size"] != masks[0]["size"] for mask in masks):  # frames of a video
                raise self._columns.damaged(f"the masks of ref row {row} have several sizes")
            return rle.union(masks)
        return rle.empty(*self._size_of(self._columns.number("refs/image", row)))

    def _size_of(self, image: int) -> tuple[int, int]:
        return self._columns.number("images/height", image), self._columns.number("images/width", image)

    def _decoded_mask(self, ref_row: int) -> np.ndarray:
        """Returns the mask of a ref, bool (H, W); most are of one annotation, which is checked while it is decoded."""
        annotations = self._annotations_of_ref(ref_row)
        if len(annotations) != 1 or self._sound_masks[annotations[0]]:
            return rle.decode(self.mask(ref_row))
        mask = self._unchecked_mask(annotations[0])
        decoded = rle.decode_checked(mask)
        if decoded is None:
            raise self._unsound(annotations[0], mask)
        self._sound_masks[annotations[0]] = True
        return decoded

    def _mask(self, row: int) -> RLE:
        mask = self._unchecked_mask(row)
        # Once for each mask: then its bytes are known to be the same.
        if not self._sound_masks[row]:
            if not rle.is_sound(mask):
                raise self._unsound(row, mask)
            self._sound_masks[row] = True
        return mask

    def _unchecked_mask(self, row: int) -> RLE:
        size = list(self._size_of(self._columns.number("annotations/image", row)))
        return {"size": size, "counts": self._columns.text("annotations/counts", row)}

    def _unsound(self, row: int, mask: RLE) -> DataError:
        height, width = mask["size"]
        return self._columns.damaged(f"the mask of annotation row {row} does not fill {height}x{width}")

    @cached_property
    def _sound_masks(self) -> np.ndarray:
        return np.zeros(self._columns.layout.rows("annotations"), dtype=bool)

    def sentence(self, row: int) -> SentenceRow:
        """Returns the sentence of `row`."""
        row = self._checked(row, "sentences")
        ref = self._columns.number("sentences/ref", row)
        return SentenceRow(
            row=row,
            ref=ref,
            image=self._columns.number("refs/image", ref),
            sentence_id=self._columns.number("sentences/id", row),
            raw=self._columns.text("sentences/raw", row),
            sent=self._columns.text("sentences/sent", row),
            tokens=self._columns.tokens(row),
            abilities=tuple(self._abilities[index] for index in self._columns.ragged("sentences/abilities", row)),
        )

    def sample(self, sentence_row: int, *, text_field: TextField = "sent", pixels: bool = True) -> Sample:
        """Returns a sentence with its mask and its image, decoded.

        Args:
            sentence_row: Row of the sentence.
            text_field: Which form of the sentence is taken, as in `texts`.
            pixels: False leaves the image out: it is then (H, W, 0).
        """
        sentence = self.sentence(sentence_row)
        ref = self.ref(sentence.ref)
        mask = self._decoded_mask(sentence.ref)
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
            annotation_ids=tuple(self._columns.number("annotations/id", one) for one in ref.annotations),
            abilities=sentence.abilities,
        )
