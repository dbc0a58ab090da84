"""Writes "CVAT for images 1.1": masks as run lengths by rows, the phrase as a text attribute of the label."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from risctl.data.formats.annotated import AnnotatedImage, AnnotatedMask, crop_box, decoded
from risctl.output_files import OutputFiles
from risctl.vision import rle

Element = ElementTree.Element


def write_cvat(images: Iterable[AnnotatedImage], folder: Path, outputs: OutputFiles) -> list[Path]:
    """Writes `annotations.xml`. Signs that XML cannot hold become "?"."""
    root = Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    labels = ElementTree.SubElement(ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task"), "labels")
    known: set[str] = set()
    for number, image in enumerate(images):
        element = ElementTree.SubElement(
            root, "image", id=str(number), name=_text(image.file_name), width=str(image.width), height=str(image.height)
        )
        for one in image.masks:
            if not rle.area(one.mask):
                continue
            if one.category not in known:
                known.add(one.category)
                _add_label(labels, one.category)
            _add_mask(element, one)
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


def _add_label(labels: Element, name: str) -> None:
    label = ElementTree.SubElement(labels, "label")
    ElementTree.SubElement(label, "name").text = _text(name)
    ElementTree.SubElement(label, "type").text = "mask"
    attribute = ElementTree.SubElement(ElementTree.SubElement(label, "attributes"), "attribute")
    for field, value in (
        ("name", "phrase"),
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
    ElementTree.SubElement(element, "attribute", name="phrase").text = _text("; ".join(one.phrases))


def _text(text: str) -> str:
    """Returns `text` without the characters that no XML file can hold."""
    return "".join(sign if sign in "\t\n\r" or _in_xml(ord(sign)) else "?" for sign in text)


def _in_xml(code: int) -> bool:
    return 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or code >= 0x10000
