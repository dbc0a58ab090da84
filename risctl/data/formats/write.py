"""Writes annotated images in several formats, each in a folder of its own, and the images once beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from risctl.data.formats.annotated import AnnotatedImage
from risctl.data.formats.registry import FORMATS
from risctl.errors import UsageError, unknown_name
from risctl.files import link_or_copy
from risctl.output_files import OutputFiles

IMAGES = "images"
"""The folder of the images, beside those of the formats."""


def parse_formats(text: str, *, option: str, more: Sequence[str] = ()) -> list[str]:
    """Returns the distinct names of a list of formats such as "coco,labelme".

    Args:
        text: The names, between commas.
        option: The option that names them, for messages.
        more: Further names that are known.

    Raises:
        UsageError: A name is unknown, or there is none.
    """
    known = (*more, *FORMATS)
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in known:
            raise UsageError(unknown_name("format", name, known))
    if not names:
        raise UsageError(f"name a format with {option}; known: {', '.join(known)}")
    return names


def check_folders(out: Path, names: Iterable[str], *, images: bool, outputs: OutputFiles) -> None:
    """Raises `UsageError` if a folder of a format, or that of the images, holds something that must stay."""
    for folder in (*names, *([IMAGES] if images else [])):
        outputs.check_folder(out / folder)


def write_formats(
    names: Iterable[str],
    annotated: Callable[[str], Iterable[AnnotatedImage]],
    out: Path,
    *,
    outputs: OutputFiles,
) -> dict[str, int]:
    """Writes images and masks in formats and returns the number of files of each.

    Args:
        names: The formats.
        annotated: Gives the images and masks, for each format anew.
        out: The folder of the formats' folders.
        outputs: The guard of the command's output files.
    """
    written = {}
    for name in names:
        (out / name).mkdir(parents=True, exist_ok=True)
        written[name] = len(FORMATS[name](annotated(name), out / name, outputs))
    return written


def write_images(
    files: Iterable[tuple[str, Callable[[], bytes]]], out: Path, *, names: Sequence[str], outputs: OutputFiles
) -> int:
    """Writes the encoded images to `out/images`, and returns their number.

    YOLO's readers look for images beside the labels: where its format is among `names`, they find each there under a
    second name, which takes no space.
    """
    count = 0
    for name, data in files:
        path = out / IMAGES / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with outputs.writing(path) as part:
            part.write_bytes(data())
        if "yolo-seg" in names:
            linked = out / "yolo-seg" / IMAGES / name
            linked.parent.mkdir(parents=True, exist_ok=True)
            with outputs.writing(linked) as part:
                link_or_copy(path, part)
        count += 1
    return count
