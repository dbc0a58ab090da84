"""Reads Ref-SAV's evaluation set: `videos/VIDEO/FRAME.jpg`, `meta_expressions_valid.json` and `mask_dict.json`.

The form is MeViS's, and each expression has a `type_id`: 0 is long, 1 is short. The training set is not
read: it names SA-V's MP4 files and masks of every fourth frame, without the frames that the masks are of.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from risctl.data.datasets.mevis.reader import MASKS, MaskTableSplit, read_mask_tables
from risctl.data.datasets.video_builder import Progress
from risctl.data.records import Dataset
from risctl.errors import DataError

SPLIT = "valid"
_EXPRESSIONS = "meta_expressions_valid.json"
_TYPES = {0: "long", 1: "short"}


def read_ref_sav(root: Path, *, progress: Progress | None = None) -> Dataset:
    """Reads Ref-SAV's evaluation set; an expression is tagged long or short.

    Args:
        root: The folder of the published files, or the one above.
        progress: Called with (done, total) videos.

    Raises:
        DataError: A file is missing or broken.
    """
    files = [root / _EXPRESSIONS, *sorted(root.glob(f"*/{_EXPRESSIONS}"))]
    file = next((one for one in files if one.is_file()), None)
    if file is None or not (file.parent / MASKS).is_file():
        raise DataError(f"expected {_EXPRESSIONS}, {MASKS} and videos/VIDEO/FRAME.jpg in {root}, found no such files")
    split = MaskTableSplit(name=SPLIT, expressions=file, masks=file.parent / MASKS, frames=file.parent / "videos")
    return read_mask_tables("ref-sav", [split], tags_of=_tags, progress=progress)


def _tags(expression: dict[str, Any]) -> tuple[str, ...]:
    kind = expression.get("type_id")
    if isinstance(kind, bool) or kind not in _TYPES:
        raise DataError(f"expected type_id 0 (long) or 1 (short) of an expression, got {kind!r:.40}")
    return (_TYPES[kind],)
