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
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from risctl.errors import UsageError
from risctl.files import replacing
from risctl.json_text import parse_json

DETECTIONS = "classes"
"""What the files of detections by category are named after, in place of a text; no text has this name."""

# In bytes. File systems stop at 255, of which the text and the endings need their part.
_LONGEST_NAME = 100
_LONGEST_SLUG = 60
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff<>:"/\\|?*]')


class OutputFiles:
    """The files that one command writes: never one of its inputs, none twice, and none that was there before.

    Args:
        inputs: Files that the command reads; None and folders are ignored.
        overwrite: Whether files that were there before the command began may be replaced.
        option: What allows that, for messages.
    """

    def __init__(
        self, *, inputs: Iterable[Path | None] = (), overwrite: bool = False, option: str = "--overwrite"
    ) -> None:
        self.overwrite = overwrite
        self._option = option
        self._inputs: set[int] = set()
        self._claimed: set[Path] = set()
        # Digests, as a command may write hundreds of thousands of files, and a path takes nearly a kilobyte.
        self._written: set[int] = set()
        self._sources: dict[int, int] = {}
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
        self.check(path)
        self._claimed.add(key)

    def check(self, path: Path) -> None:
        """Raises `UsageError` if the path is an input, or exists and may not be replaced."""
        self._check_input(path)
        check_replaceable(path, overwrite=self.overwrite, option=self._option)

    def check_folder(self, path: Path) -> None:
        """Raises `UsageError` if a folder of files to write is a symlink, or holds something that must stay."""
        if path.is_symlink():
            raise UsageError(
                f"{path} is a symlink, which is not followed; remove it, or name another folder with --out"
            )
        if not self.overwrite and path.is_dir() and any(path.iterdir()):
            raise UsageError(f"{path} holds files already; replace them with {self._option}, or name another output")

    @contextlib.contextmanager
    def writing(self, path: Path) -> Iterator[Path]:
        """Yields a temporary path beside `path`; on leaving, it replaces `path`. If the block raises, it is removed.

        Args:
            path: The file to write.

        Raises:
            UsageError: The path is an input, was written already, or exists and may not be replaced.
            DataError: The folder cannot be written.
            MachineError: The disk is full.
        """
        key = _key(path)
        short = _short(str(key))
        if short in self._written:
            raise UsageError(f"{path} was already written by this command; name another output")
        if key not in self._claimed:
            self.check(path)
        with replacing(path, keep_existing=not self.overwrite) as part:
            yield part
        self._written.add(short)

    def write_text(self, path: Path, text: str) -> None:
        """Writes UTF-8 text. See `writing` for the errors."""
        with self.writing(path) as part:
            part.write_text(text, encoding="utf-8", errors="replace", newline="\n")

    def write_json_lines(self, path: Path, rows: Iterable[Mapping[str, Any]], *, allow_nan: bool = False) -> None:
        """Writes one JSON object a line. See `writing` for the errors."""
        with self.writing(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False, allow_nan=allow_nan) + "\n")

    def base_name(self, folder: Path, stem: str, label: str, *, source: str, key: str = "image") -> str:
        """Returns the name, without ending, of the files of one source and label in a folder.

        It is `STEM.LABEL`, and `STEM-DIGEST.LABEL` where another source has files of that name, from this command or
        an earlier one. The earlier one's is read from `STEM.LABEL.json`. Names that differ by capitals only count as
        the same, as they do on some file systems.

        Args:
            folder: The folder to write into.
            stem: The name of the source without its ending.
            label: What distinguishes files of one source, made by `slug`.
            source: The source itself: the path of its file, as records keep it under `file_name`.
            key: A field that records of this kind of source have, and others have not.

        Raises:
            UsageError: All such names are taken by others.
        """
        short = safe_stem(stem)
        for name in (short, f"{short}-{digest(source)}", f"{short}-{digest(source, length=32)}"):
            base = f"{name}.{label}"
            folded = _short(unicodedata.normalize("NFC", str(folder / base)).casefold())
            taken = self._sources.get(folded)
            if taken is None:
                recorded = _recorded_source(folder / base, key)
                taken = None if recorded is None else _short(recorded)
            if taken in (None, _short(source)):
                self._sources[folded] = _short(source)
                return base
        raise UsageError(f"{folder} has other files of the names {short}.{label}.*; name another folder with --out")

    def _check_input(self, path: Path) -> None:
        if self._inputs & _identities(path):
            raise UsageError(f"{path} is an input of this command and would be replaced; name another output")


def check_replaceable(path: Path, *, overwrite: bool, description: str = "", option: str = "--overwrite") -> None:
    """Raises `UsageError` if a file is there and may not be replaced: the one place where this is decided.

    Args:
        path: The file to write. A symlink there is a file as well, wherever it leads.
        overwrite: Whether the user allowed replacing it.
        description: What is there, for the message.
        option: The option that allows replacing it.
    """
    if not overwrite and os.path.lexists(path) and not path.is_dir():
        about = f" ({description})" if description else ""
        raise UsageError(f"{path} is there already{about}; replace it with {option}, or name another output")


def safe_stem(name: str) -> str:
    """Returns the name of an image or video as part of a file name.

    Characters that some file system or terminal does not take become hyphens, and a long name is shortened; both get a
    digest, so that two names never become one.
    """
    plain = _UNSAFE.sub("-", name)
    if plain == name and len(name.encode()) <= _LONGEST_NAME:
        return name
    encoded = plain.encode()[: _LONGEST_NAME // 2] if len(plain.encode()) > _LONGEST_NAME else plain.encode()
    return f"{encoded.decode(errors='ignore')}-{digest(name)}"


def slug(text: str) -> str:
    """Returns `text` as part of a file name: ASCII letters and digits joined by hyphens.

    Where that loses anything but spaces (other letters, capitals, punctuation, length), a digest of the text is added,
    so that two texts never share a name.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", errors="ignore").decode().lower()
    short = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_LONGEST_SLUG].strip("-")
    if short and short.replace("-", " ") == text and short != DETECTIONS:
        return short
    return f"{short}-{digest(text)}" if short else digest(text)


def digest(text: str, *, length: int = 8) -> str:
    """Returns letters and digits that tell `text` from others."""
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()[:length]


def _key(path: Path) -> Path:
    return Path(os.path.normcase(path.parent.resolve() / path.name))


def _short(text: str) -> int:
    """Returns 64 bits that tell `text` from others."""
    whole = hashlib.blake2b(text.encode("utf-8", errors="surrogatepass"), digest_size=8)
    return int.from_bytes(whole.digest())


def _identities(path: Path) -> set[int]:
    """Returns digests of the path, also with its symlinks resolved, and of the file, which may have several names."""
    found = {_short(str(_key(path)))}
    with contextlib.suppress(OSError, RuntimeError):
        found.add(_short(str(_key(path.resolve()))))
        status = path.stat()
        if status.st_ino:
            found.add(_short(f"\0{status.st_dev} {status.st_ino}"))
    return found


def _recorded_source(base: Path, key: str) -> str | None:
    """Returns the source of the records of `base`: None without any, an empty string for files of another kind."""
    file = base.with_name(f"{base.name}.json")
    try:
        if not file.is_file():
            return None
        record = parse_json(file.read_text(encoding="utf-8"))
        if isinstance(record, list):
            record = record[0] if record else _header_of_png(base.with_name(f"{base.name}.png"))
        return str(record["file_name"] or "") if key in record else ""
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def _header_of_png(file: Path) -> Mapping[str, Any]:
    """Returns the file name that a PNG file notes: lists of detections may be empty, and name no source then."""
    from PIL import Image

    with Image.open(file, formats=("PNG",)) as image:
        return {"image": file, "file_name": image.info.get("file_name")}
