"""Ref-SAV's evaluation set, as Sa2VA publishes it (the hub's `Dense-World/Sa2VA-Training`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from risctl.data.datasets.descriptor import OBJECTS_AND_SENTENCES, DatasetDescriptor

if TYPE_CHECKING:
    from risctl.data.records import Dataset


def _read(source: Path, *, progress: Any = None) -> Dataset:
    from risctl.data.datasets.ref_sav.reader import read_ref_sav

    return read_ref_sav(source, progress=progress)


REF_SAV = DatasetDescriptor(
    name="ref-sav",
    help="Ref-SAV's evaluation set: videos of SA-V, long and short expressions; measured with --protocol ref_sav.",
    example="--from ref_sav_eval",
    read=_read,
    protocol="ref_sav",
    hub="Dense-World/Sa2VA-Training",
    hub_files=("ref_sav_eval",),
    source_help="Folder of the published files: videos/VIDEO/FRAME.jpg, meta_expressions_valid.json, mask_dict.json.",
    counted=OBJECTS_AND_SENTENCES,
)
