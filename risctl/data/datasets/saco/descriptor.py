"""SA-Co's pictures, Gold and Silver (the hub's `facebook/SACo-Gold` and `facebook/SACo-Silver`; SAM licence).

A pair of a picture and a phrase has an id of its own, as published: in the store it is an image.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from risctl.data.datasets.descriptor import TOTAL, DatasetDescriptor, DatasetOption, counts
from risctl.data.datasets.image_collections import SACO_IMAGES

if TYPE_CHECKING:
    from risctl.data.records import Dataset

_PAIRS = {
    "metaclip": 33_393,
    "sa1b": 13_258,
    "crowded": 20_687,
    "fg_food": 13_951,
    "fg_sports_equipment": 12_166,
    "attributes": 9_245,
    "wiki_common": 65_502,
}


def _read(source: Path, **options: Any) -> Dataset:
    from risctl.data.datasets.saco.reader import read_saco

    return read_saco(source, **options)


SACO = DatasetDescriptor(
    name="saco",
    help="SA-Co: 168,202 pairs of picture and phrase by three annotators (gold), or silver; with --protocol cgf1.",
    example="--from SACo-Gold/gt-annotations --images SACo-Gold/images",
    read=_read,
    protocol="cgf1",
    obtain="accept its terms at huggingface.co/datasets/facebook/SACo-Gold (or SACo-Silver), log in with "
    "`hf auth login`, and fetch the annotations with `hf download --repo-type dataset facebook/SACo-Gold`; its README "
    "says where the pictures are",
    split_by=("gold", "silver"),
    published={
        "gold": {name: counts(pairs, None, pairs) for name, pairs in _PAIRS.items()}
        | {TOTAL: counts(sum(_PAIRS.values()), None, sum(_PAIRS.values()))}
    },
    images=SACO_IMAGES,
    source_help="Folder of the annotations, such as gold_metaclip_merged_a_release_test.json; a subset is a split.",
    can_drop=True,
    options=(DatasetOption(name="subset", type=str, help="Read this subset only, such as metaclip."),),
    counted={"images": "pairs"},
)
