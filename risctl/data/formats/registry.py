"""Every format that masks are written in and read from, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from risctl.data.formats.annotated import AnnotatedImage
from risctl.data.formats.coco import read_coco_results, write_coco, write_coco_results
from risctl.data.formats.cvat import read_cvat, write_cvat
from risctl.data.formats.davis import read_davis, write_davis
from risctl.data.formats.found import Reader
from risctl.data.formats.label_studio import read_label_studio, write_label_studio
from risctl.data.formats.labelme import read_labelme, write_labelme
from risctl.data.formats.yolo_seg import read_yolo_seg, write_yolo_seg
from risctl.output_files import OutputFiles

Writer = Callable[[Iterable[AnnotatedImage], Path, OutputFiles], list[Path]]

FORMATS: dict[str, Writer] = {
    "coco": write_coco,
    "coco-results": write_coco_results,
    "labelme": write_labelme,
    "yolo-seg": write_yolo_seg,
    "cvat": write_cvat,
    "label-studio": write_label_studio,
    "davis": write_davis,
}
"""The writers: each writes into a folder of its own and returns the files."""

READERS: dict[str, Reader] = {
    "coco-results": read_coco_results,
    "labelme": read_labelme,
    "yolo-seg": read_yolo_seg,
    "cvat": read_cvat,
    "label-studio": read_label_studio,
    "davis": read_davis,
}
"""The readers of what is no COCO-style JSON: each takes a file or a folder, and the folder of the images."""
