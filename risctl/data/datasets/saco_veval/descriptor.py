"""SA-Co/VEval (the hub's `facebook/SACo-VEval`; CC BY-NC 4.0, its smart glasses CC BY 4.0).

Published are rounded counts alone, of all domains and splits together (SAM 3, table 27 b): 1.7 thousand videos, 10.3
thousand pairs of video and phrase, 75.4% of them negative, and 11.2 thousand tracks.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from risctl.data.datasets.descriptor import DatasetDescriptor, DatasetOption

if TYPE_CHECKING:
    from risctl.data.records import Dataset


def _read(source: Path, **options: Any) -> Dataset:
    from risctl.data.datasets.saco_veval.reader import read_saco_veval

    return read_saco_veval(source, **options)


SACO_VEVAL = DatasetDescriptor(
    name="saco-veval",
    help="SA-Co/VEval: some 10,300 pairs of video and phrase (SA-V, YT-Temporal-1B, smart glasses) with the tracks of "
    "all instances; with --protocol cgf1.",
    example="--from SACo-VEval",
    read=_read,
    protocol="cgf1",
    obtain="accept its terms at huggingface.co/datasets/facebook/SACo-VEval, log in with `hf auth login`, and fetch "
    "the annotations with `hf download --repo-type dataset facebook/SACo-VEval`; SAM 3's scripts/eval/veval/README.md "
    "says where the frames are",
    source_help="Folder with annotation/saco_veval_DOMAIN_SPLIT.json and media/*/JPEGImages_*fps; a file is a split.",
    can_drop=True,
    options=(
        DatasetOption(name="images", type=Path, help="Folder of the frames, VIDEO/FRAME.jpg, or one above it."),
        DatasetOption(name="subset", type=str, help="Read this split only, such as sav_val."),
    ),
    counted={"images": "videos", "refs": "pairs"},
)
