"""Every format that masks are written in, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from risctl.data.formats.annotated import AnnotatedImage
from risctl.data.formats.coco import write_coco, write_coco_results
from risctl.data.formats.cvat import write_cvat
from risctl.data.formats.davis import write_davis
from risctl.data.formats.label_studio import write_label_studio
from risctl.data.formats.labelme import write_labelme
from risctl.data.formats.yolo_seg import write_yolo_seg
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
