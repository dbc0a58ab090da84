"""The positional arguments of `risctl predict`: pictures, then phrases; and reading the pictures."""

from __future__ import annotations

import hashlib
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from risctl.cli import console
from risctl.errors import DataError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from risctl.vision.images import LoadedImage

_ORDER = 'the pictures come first, then the phrases, each in quotes: risctl predict photo.jpg "the red cup on the left"'


@dataclass(frozen=True, slots=True, kw_only=True)
class InputImage:
    """An image to read.

    Attributes:
        shown: What messages and records call it.
        stem: What its files are named after.
        source: Its path, or its encoded bytes.
    """

    shown: str
    stem: str
    source: Path | bytes

    @property
    def path(self) -> Path | None:
        """Its file, None for standard input."""
        return self.source if isinstance(self.source, Path) else None

    @property
    def file_name(self) -> str:
        """The full path of its file, `-` for standard input: what tells it from others, and where to find it."""
        if isinstance(self.source, bytes):
            return self.shown
        return decodable(str(self.source.parent.resolve() / self.source.name))


def split_arguments(arguments: Sequence[str], further: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """Divides the positional arguments into pictures and phrases.

    Pictures are the first argument, and those right after it that are existing files with a picture's ending.

    Args:
        arguments: The positional arguments.
        further: The phrases given with `--text`.

    Returns:
        The pictures' specifications and the distinct phrases, in order.

    Raises:
        UsageError: There is no phrase, no phrase but empty ones, or one is named like a picture: that is a mistyped
            path.
    """
    from risctl.vision.images import is_image_name

    if not arguments[0]:
        raise UsageError(f"the picture's name is empty; {_ORDER}")
    count = 1
    while count < len(arguments) and is_image_name(arguments[count]) and Path(arguments[count]).is_file():
        count += 1
    specs, positional = list(arguments[:count]), list(arguments[count:])
    for argument in positional:
        if is_image_name(argument) and " " not in argument:
            raise UsageError(
                f"{argument!r} is named like a picture, but stands among the phrases and is no file right after the "
                f"first picture. {_ORDER.capitalize()}. If it is meant as a phrase, say --text {argument!r}"
            )
    phrases = list(dict.fromkeys(decodable(text) for text in (*positional, *further)))
    if not phrases:
        if len(specs) > 1 and not Path(specs[0]).exists():
            raise UsageError(f"{specs[0]!r} is no file, and {specs[1]!r} is a picture; {_ORDER}")
        raise UsageError(f"no phrase given; {_ORDER}")
    if not any(phrase.strip() for phrase in phrases):
        raise UsageError("a phrase is empty; say what to look for")
    return specs, phrases


def find_images(specs: Sequence[str], *, out: Path) -> list[InputImage]:
    """Returns the images of files, folders, patterns and `-` for standard input, each once.

    Raises:
        DataError: A specification names no image.
        UsageError: The output folder is a folder of the images.
    """
    from risctl.vision.image_files import find_images

    images: list[InputImage] = []
    for spec in specs:
        if not spec:
            raise UsageError("the picture's name is empty; name a file, a folder or a pattern")
        if spec == "-":
            images.append(_from_stdin())
            continue
        paths = find_images(spec)
        if not Path(spec).is_file() and any(path.parent.resolve() == out.resolve() for path in paths):
            raise UsageError(f"{out} is also a folder of the pictures; name another folder with --out")
        images.extend(InputImage(shown=decodable(str(path)), stem=decodable(path.stem), source=path) for path in paths)
    return list({image.file_name: image for image in reversed(images)}.values())[::-1]


def read_image(image: InputImage) -> np.ndarray:
    """Returns the pixels (H, W, 3) uint8 of an image, and warns. Raises `DataError` if it cannot be read."""
    picture = read_with_notes(image)
    for note in picture.notes:
        console.warn(f"{image.shown} {note}")
    return picture.pixels


def read_with_notes(image: InputImage) -> LoadedImage:
    """Returns the pixels and what to know about their reading. Raises `DataError` if the image cannot be read."""
    from risctl.vision.images import read_image_with_notes

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of damaged tags that say nothing about the pixels
            return read_image_with_notes(image.source)
    except DataError as error:
        if image.path is not None:
            raise
        raise DataError(str(error).replace("the picture", "standard input", 1)) from error


def decodable(name: str) -> str:
    """Returns a name as text that can be written: what is not UTF-8 becomes a replacement sign."""
    return os.fsencode(name).decode("utf-8", errors="replace")


def _from_stdin() -> InputImage:
    if sys.stdin.isatty():
        raise UsageError("- reads a picture from standard input, which is a terminal; pipe or redirect one into it")
    data = sys.stdin.buffer.read()
    # Named after its content, since the next picture that is piped in is another one.
    return InputImage(shown="-", stem=f"stdin-{hashlib.sha256(data).hexdigest()[:8]}", source=data)
