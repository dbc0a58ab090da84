"""Decides which files a command may write, names them safely, and writes each of them whole or not at all.

Every file that a user asks for (masks, overlays, rows, reports, sheets, submissions) is written through `OutputFiles`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from risctl.errors import UsageError
from risctl.files import replacing

# In bytes. File systems stop at 255, of which the text and the endings need their part.
_LONGEST_NAME = 100
_LONGEST_SLUG = 60


class OutputFiles:
    """The files that one command writes: never one of its inputs, and none twice.

    Args:
        inputs: Files that the command reads; None and folders are ignored.
        overwrite: Whether files that were there before the command began may be replaced.
    """

    def __init__(self, *, inputs: Iterable[Path | None] = (), overwrite: bool = True) -> None:
        self.overwrite = overwrite
        self._inputs: set[Hashable] = set()
        self._claimed: set[Path] = set()
        self._written: dict[Path, Hashable] = {}
        self._sources: dict[Path, str] = {}
        self.add_inputs(inputs)

    def add_inputs(self, paths: Iterable[Path | None]) -> None:
        """Adds files that the command reads. Raises `UsageError` if one of them is to be written."""
        for path in paths:
            if path is None or path.is_dir():
                continue
            self._inputs |= _identities(path)
            for claimed in self._claimed:
                self._check_input(claimed)

    def claim(self, path: Path | None) -> None:
        """Reserves a file that will be written later, so that a wrong path is an error before anything is computed.

        Args:
            path: The file; None is ignored.

        Raises:
            UsageError: The path is an input, was claimed already, or exists and may not be replaced.
        """
        if path is None:
            return
        key = _key(path)
        if key in self._claimed:
            raise UsageError(f"{path} is named twice; each output needs a file of its own")
        self._check_input(path)
        check_replaceable(path, overwrite=self.overwrite)
        self._claimed.add(key)

    @contextlib.contextmanager
    def writing(self, path: Path, *, owner: Hashable = None) -> Iterator[Path]:
        """Yields a temporary path beside `path`; on leaving, it replaces `path`. If the block raises, it is removed.

        Args:
            path: The file to write.
            owner: What the file is of. The same owner may write it again; without one, it is written once.

        Raises:
            UsageError: The path is an input, was written already, or exists and may not be replaced.
            DataError: The folder cannot be written.
            MachineError: The disk is full.
        """
        key = _key(path)
        if key in self._written:
            if owner is None or self._written[key] != owner:
                raise UsageError(f"{path} was already written by this command; name another output")
        elif key not in self._claimed:
            self._check_input(path)
            check_replaceable(path, overwrite=self.overwrite)
        with replacing(path) as part:
            yield part
        self._written[key] = owner

    def write_text(self, path: Path, text: str, *, owner: Hashable = None) -> None:
        """Writes UTF-8 text. See `writing` for the errors."""
        with self.writing(path, owner=owner) as part:
            part.write_text(text, encoding="utf-8", errors="replace", newline="\n")

    def write_json_lines(self, path: Path, rows: Iterable[Mapping[str, Any]], *, allow_nan: bool = False) -> None:
        """Writes one JSON object a line. See `writing` for the errors."""
        with self.writing(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False, allow_nan=allow_nan) + "\n")

    def base_name(self, folder: Path, stem: str, label: str, *, source: str, key: str) -> str:
        """Returns the name, without ending, of the files of one source and label in a folder.

        It is `STEM.LABEL`, and `STEM-DIGEST.LABEL` where another source has files of that name, from this command or
        an earlier one. The earlier one's is read from `STEM.LABEL.json`.

        Args:
            folder: The folder to write into.
            stem: The name of the source without its ending.
            label: What distinguishes files of one source, made by `slug`.
            source: The source itself, for instance the path of the image.
            key: The field of the JSON record that holds the source.
        """
        base = f"{short_stem(stem)}.{label}"
        taken = self._sources.get(_key(folder / base))
        if taken is None:
            taken = _recorded_source(folder / f"{base}.json", key)
        if taken not in (None, source):
            base = f"{short_stem(stem)}-{digest(source)}.{label}"
        self._sources[_key(folder / base)] = source
        return base

    def _check_input(self, path: Path) -> None:
        if self._inputs & _identities(path):
            raise UsageError(f"{path} is an input of this command and would be replaced; name another output")


def check_replaceable(path: Path, *, overwrite: bool, description: str = "", option: str = "--overwrite") -> None:
    """Raises `UsageError` if a file is there and may not be replaced: the one place where this is decided.

    Args:
        path: The file to write.
        overwrite: Whether the user allowed replacing it.
        description: What is there, for the message.
        option: The option that allows replacing it.
    """
    if path.is_file() and not overwrite:
        about = f" ({description})" if description else ""
        raise UsageError(f"{path} is there already{about}; replace it with {option}, or name another file with --out")


def short_stem(name: str) -> str:
    """Returns the name of an image or video as part of a file name: a long one is shortened and gets a digest."""
    return name if len(name.encode()) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME // 4]}-{digest(name)}"


def slug(text: str) -> str:
    """Returns `text` as part of a file name: ASCII letters and digits joined by hyphens.

    Where that loses anything but spaces (other letters, capitals, punctuation, length), a digest of the text is added,
    so that two texts never share a name.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", errors="ignore").decode().lower()
    short = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_LONGEST_SLUG].strip("-")
    if short and short.replace("-", " ") == text:
        return short
    return f"{short}-{digest(text)}" if short else digest(text)


def digest(text: str) -> str:
    """Returns eight letters and digits that tell `text` from others."""
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()[:8]


def _key(path: Path) -> Path:
    return Path(os.path.normcase(path.resolve()))


def _identities(path: Path) -> set[Hashable]:
    """Returns the resolved path, and the file itself, which may have several names."""
    found: set[Hashable] = {_key(path)}
    with contextlib.suppress(OSError):
        status = path.stat()
        if status.st_ino:
            found.add((status.st_dev, status.st_ino))
    return found


def _recorded_source(file: Path, key: str) -> str | None:
    """Returns the source of the record in `file`: None without one, an empty string for a file of another kind."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(record, list):
            record = record[0] if record else {key: None}
        source = record[key]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return None if source is None else str(source)
