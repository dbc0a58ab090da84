"""Names the formats of annotation tools for options, without importing their writers."""

from __future__ import annotations

NAMES = ("coco", "coco-results", "labelme", "yolo-seg", "cvat", "label-studio", "davis")


def complete_format(incomplete: str) -> list[str]:
    """Returns the completions of a list of formats."""
    named, comma, begun = incomplete.rpartition(",")
    return [f"{named}{comma}{name}" for name in NAMES if name.startswith(begun)]
