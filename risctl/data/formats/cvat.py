"""Writes and reads "CVAT for images 1.1": masks as run lengths by rows, the phrase as a text attribute of the label."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from risctl.data.formats.annotated import AnnotatedImage, AnnotatedMask, crop_box, decoded
from risctl.data.formats.found import Found, FoundObject, FoundProblem, one_line, read_file, texts_of
from risctl.errors import DataError
from risctl.output_files import OutputFiles
from risctl.vision import rle

Element = ElementTree.Element

PHRASE = "phrase"
"""The attribute of phrases, one a line."""
NOTHING = "nothing"
"""The label of tags whose phrase is of nothing in the image."""

_MASKS = ("mask", "polygon", "box", "tag")


def write_cvat(images: Iterable[AnnotatedImage], folder: Path, outputs: OutputFiles) -> list[Path]:
    """Writes `annotations.xml`. Signs that XML cannot hold become "?". A phrase of nothing is a tag of its image."""
    root = Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    labels = ElementTree.SubElement(ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task"), "labels")
    known: set[tuple[str, str]] = set()
    for number, image in enumerate(images):
        element = ElementTree.SubElement(
            root, "image", id=str(number), name=_text(image.file_name), width=str(image.width), height=str(image.height)
        )
        for one in image.masks:
            name, kind = (one.category, "mask") if rle.area(one.mask) else (NOTHING, "tag")
            if (name, kind) not in known:
                known.add((name, kind))
                _add_label(labels, name, kind=kind)
            if kind == "mask":
                _add_mask(element, one)
            else:
                _add_phrases(ElementTree.SubElement(element, "tag", label=NOTHING, source="manual"), one)
    ElementTree.indent(root)
    path = folder / "annotations.xml"
    outputs.write_text(
        path, f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'
    )
    return [path]


def row_runs(mask: np.ndarray) -> list[int]:
    """Returns the run lengths of a mask (H, W) by rows, unset pixels first."""
    flat = mask.reshape(-1).astype(np.int8)
    changes = np.flatnonzero(np.diff(flat, prepend=0))
    return np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()


def _add_label(labels: Element, name: str, *, kind: str) -> None:
    label = ElementTree.SubElement(labels, "label")
    ElementTree.SubElement(label, "name").text = _text(name)
    ElementTree.SubElement(label, "type").text = kind
    attribute = ElementTree.SubElement(ElementTree.SubElement(label, "attributes"), "attribute")
    for field, value in (
        ("name", PHRASE),
        ("mutable", "False"),
        ("input_type", "text"),
        ("default_value", ""),
        ("values", ""),
    ):
        ElementTree.SubElement(attribute, field).text = value


def _add_mask(image: Element, one: AnnotatedMask) -> None:
    mask = decoded(one)
    left, top, width, height = crop_box(mask)
    element = ElementTree.SubElement(
        image,
        "mask",
        label=_text(one.category),
        source="auto" if one.score is not None else "manual",
        occluded="0",
        rle=", ".join(map(str, row_runs(mask[top : top + height, left : left + width]))),
        left=str(left),
        top=str(top),
        width=str(width),
        height=str(height),
        z_order="0",
    )
    _add_phrases(element, one)


def _add_phrases(element: Element, one: AnnotatedMask) -> None:
    text = _text("\n".join(map(one_line, one.phrases)))
    ElementTree.SubElement(element, "attribute", name=PHRASE).text = text


def _text(text: str) -> str:
    """Returns `text` without the characters that no XML file can hold."""
    return "".join(sign if sign in "\t\n\r" or _in_xml(ord(sign)) else "?" for sign in text)


def _in_xml(code: int) -> bool:
    return 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or code >= 0x10000


def read_cvat(path: Path, images: Path) -> Iterator[Found]:
    """Reads the masks, polygons and boxes of `annotations.xml`; those of one `group_id` are parts of one object.

    Raises:
        DataError: The file is not of this form.
    """
    file = path / "annotations.xml" if path.is_dir() else path
    try:
        text = read_file(file).decode("utf-8")
        if "<!DOCTYPE" in text:  # what could define entities that grow without bound
            raise ValueError("it defines a document type")
        root = ElementTree.fromstring(text)
    except (ValueError, ElementTree.ParseError, LookupError) as error:
        raise DataError(f"{file} is not XML that can be read here: {error}") from error
    if root.tag != "annotations":
        raise DataError(f'{file} is not "CVAT for images 1.1": its root is {root.tag[:40]}')
    if root.find("track") is not None:
        raise DataError(f'{file} holds tracks of a video; export the task as "CVAT for images 1.1"')
    for image in root.iter("image"):
        name = image.get("name") or ""
        try:
            size = int(image.get("height", "")), int(image.get("width", ""))
        except ValueError:
            yield FoundProblem(message=f"image {name!r:.80}: its width and height are no numbers")
            continue
        groups: dict[object, list[Element]] = {}
        for number, element in enumerate(image):
            group = element.get("group_id")
            if element.tag in _MASKS:
                groups.setdefault((element.get("label"), group) if group else number, []).append(element)
            else:
                yield FoundProblem(message=f"image {name!r:.80}: expected {', '.join(_MASKS)}, got {element.tag:.40}")
        for elements in groups.values():
            texts = [texts_of(one.text) for element in elements for one in element if one.get("name") == PHRASE]
            label = elements[0].get("label")
            phrases = next((one for one in texts if one), ())
            if elements[0].tag == "tag":
                if label == NOTHING and phrases:
                    yield FoundObject(image=name, phrases=phrases, mask=None, size=size)
                continue
            yield FoundObject(image=name, phrases=phrases, mask=partial(_united, elements), category=label, size=size)


def _united(elements: Sequence[Element], height: int, width: int) -> rle.RLE:
    try:
        return rle.union([_mask(one, height, width) for one in elements])
    except (ValueError, OverflowError) as error:
        raise DataError(f"a {elements[0].tag} cannot be read: {error}") from error


def _mask(element: Element, height: int, width: int) -> rle.RLE:
    if element.tag == "mask":
        left, top, wide, tall = (int(element.get(side, "")) for side in ("left", "top", "width", "height"))
        lengths = np.array([int(run) for run in element.get("rle", "").split(",")], dtype=np.int64)
        if min(left, top, wide, tall) < 0 or left + wide > width or top + tall > height:
            raise ValueError(f"{wide}x{tall} pixels at ({left}, {top}) are not within {width}x{height}")
        if lengths.min(initial=0) < 0 or lengths.max(initial=0) > wide * tall or lengths.sum() != wide * tall:
            raise ValueError(f"its runs do not fill {wide}x{tall} pixels")
        patch = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(tall, wide)
        return rle.encode_patch(patch, x=left, y=top, height=height, width=width)
    if element.tag == "box":
        left_x, top_y, right_x, bottom_y = (float(element.get(side, "")) for side in ("xtl", "ytl", "xbr", "ybr"))
        points = [left_x, top_y, right_x, top_y, right_x, bottom_y, left_x, bottom_y]
    else:
        points = [float(value) for pair in element.get("points", "").split(";") for value in pair.split(",")]
    return rle.from_segmentation([points], height=height, width=width)
