"""Lists the images of a source: a folder, a pattern, a list, a table or a store, here or in cloud storage."""

from __future__ import annotations

import glob
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from risctl.data.download.addresses import AddressedFiles, file_system, is_address
from risctl.errors import DataError, UsageError, nearest
from risctl.json_text import parse_json
from risctl.labelling.tasks import lines_of, unusable
from risctl.vision.image_files import is_pattern
from risctl.vision.images import is_image_name

Found = tuple[str, tuple[str, ...] | None]
"""An image's address, and the phrases that stand beside it, None where none do."""

_TABLES = (".csv", ".tsv", ".parquet", ".jsonl")
_LISTS = (".txt", ".list")
_STORES = (".h5", ".hdf5")
_MAX_TABLE_BYTES = 50_000_000_000


def images_of(source: str, *, split: str = "all") -> Iterator[Found]:
    """Yields the images of a source, always in the same order.

    Args:
        source: A folder with all its subfolders, a pattern, an image, a list of paths (.txt), a table with the columns
            image and phrase (.csv, .tsv, .parquet, .jsonl), or a store (.h5); a path, or an address of fsspec. Paths
            within a list or table are relative to it.
        split: The split of a store.

    Raises:
        DataError: It is not there, holds no image, or a line of it cannot be used; the message has the line's number.
        MachineError: The package that reads the address is not installed.
    """
    count = 0
    for found in _all(source, split):
        count += 1
        yield found
    if not count:
        raise DataError(f"{source} holds no pictures (files named .jpg, .png, .webp and so on)")


def _all(source: str, split: str) -> Iterator[Found]:
    suffix = Path(source).suffix.lower()
    if is_address(source):
        if suffix in (*_TABLES, *_LISTS):
            with _fetched(source) as copy:
                yield from _listed(copy, base=source.rpartition("/")[0], suffix=suffix)
        elif is_image_name(source) and not is_pattern(source):
            yield source, None
        else:
            yield from ((one, None) for one in _remote(source))
        return
    path = Path(source)
    if path.is_dir():
        yield from ((one, None) for one in _walked(path))
    elif not path.exists() and is_pattern(source):
        matches = sorted(glob.glob(source, recursive=True))  # noqa: PTH207  takes absolute patterns
        yield from ((one, None) for one in matches if is_image_name(one) and Path(one).is_file())
    elif not path.exists():
        near = nearest(path.name, (one.name for one in path.parent.iterdir())) if path.parent.is_dir() else None
        raise DataError(f"nothing at {source}" + (f"; did you mean {path.with_name(near)}?" if near else ""))
    elif suffix in _STORES:
        yield from _stored(path, split)
    elif suffix in (*_TABLES, *_LISTS):
        yield from _listed(path, base=str(path.parent), suffix=suffix)
    elif is_image_name(path.name):
        yield source, None
    else:
        raise UsageError(
            f"{source} is no source of pictures: expected a folder, a pattern, a picture, a list (.txt), a table "
            f"({', '.join(_TABLES)}) or a store (.h5)"
        )


def _walked(folder: Path) -> Iterator[str]:
    """Yields the images of a folder and of those in it, without collecting more than one folder's names."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"cannot list {folder}: {error.strerror or error}") from error
    for entry in found:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walked(Path(entry.path))
        elif is_image_name(entry.name):
            yield entry.path


def _remote(address: str) -> Iterator[str]:
    pattern = is_pattern(address)
    system, path = file_system(address)
    try:
        names = system.glob(path) if pattern else system.find(path)
    except Exception as error:  # the systems of clouds raise errors of their own
        raise DataError(f"cannot list {address}: {type(error).__name__}: {error}") from error
    for name in sorted(names):
        base = name.rpartition("/")[2]
        if is_image_name(name) and not base.startswith("."):
            yield system.unstrip_protocol(name)


def _stored(path: Path, split: str) -> Iterator[Found]:
    from risctl.data.store.clips import is_video_store
    from risctl.data.store.reader import Store

    with Store(path) as store:
        if is_video_store(store):
            raise UsageError(f"{path} holds videos; risctl label takes images")
        texts: dict[int, dict[str, None]] = {int(row): {} for row in store.images(split)}
        for row in store.sentences(split):
            sentence = store.sentence(int(row))
            texts[sentence.image][sentence.sent] = None
        for image, own in texts.items():
            yield f"{path.resolve()}#{image}", tuple(text for text in own if not unusable(text)) or None


@contextmanager
def _fetched(address: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield AddressedFiles(Path(folder)).local(address, max_bytes=_MAX_TABLE_BYTES)


def _listed(path: Path, *, base: str, suffix: str) -> Iterator[Found]:
    """Yields the images of a list or table; rows of one image that follow each other are one."""
    if suffix in _LISTS:
        yield from ((_placed(name, base), None) for _, name in lines_of(path, what="paths"))
        return
    last: str | None = None
    texts: list[str] = []
    for line, row in _rows(path, suffix):
        where = f"{path.name}, line {line}"
        image, own = _entry(row, where)
        if image == last and own:
            texts.extend(own)
            continue
        if last is not None:
            yield _placed(last, base), tuple(dict.fromkeys(texts)) or None
        last, texts = image, list(own)
    if last is not None:
        yield _placed(last, base), tuple(dict.fromkeys(texts)) or None


def _rows(path: Path, suffix: str) -> Iterator[tuple[int, Any]]:
    from risctl.data.datasets.custom.table import plain_rows

    if suffix != ".jsonl":
        yield from plain_rows(path)
        return
    for line, text in lines_of(path, what="entries"):
        try:
            yield line, parse_json(text, max_depth=8)
        except ValueError as error:
            raise DataError(f"{path.name}, line {line}: not valid JSON: {error}") from error


def _entry(row: Any, where: str) -> tuple[str, list[str]]:
    if not isinstance(row, dict) or None in row:
        raise DataError(f"{where}: expected the columns image and phrase, got {row!r:.80}")
    image = next((row[key] for key in ("image", "file_name", "path") if row.get(key)), None)
    if not isinstance(image, str) or not image.strip():
        raise DataError(f"{where}: expected an image, got {image!r:.60}")
    given: Any = next((row[key] for key in ("phrase", "phrases", "text", "texts") if row.get(key)), [])
    own = [given] if isinstance(given, str) else given
    if not isinstance(own, list) or not all(isinstance(one, str) for one in own):
        raise DataError(f"{where}: expected a phrase, or a list of phrases, got {given!r:.60}")
    own = [" ".join(one.split()) for one in own]
    for one in own:
        reason = unusable(one)
        if reason:
            raise DataError(f"{where}: the phrase {one!r:.60} {reason}")
    return image.strip(), own


def _placed(name: str, base: str) -> str:
    if is_address(name) or name.startswith("/") or Path(name).is_absolute() or base in ("", "."):
        return name
    return f"{base}/{name}" if is_address(base) else str(Path(base) / name)
