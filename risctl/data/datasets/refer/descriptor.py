"""RefCOCO, RefCOCO+, RefCOCOg and RefClef as REFER publishes them, and gRefCOCO and RRSIS-D in the same form.

The server of the annotations has been dead since 2022, so its snapshots in the web archive come first; `id_` in their
addresses asks for the file without the archive's frame around it. The tables on the Hugging Face hub were made from
these archives and come last, since they lack whatever nobody refers to. gRefCOCO lies on the hub as it was published.
Some of the sentence counts come from secondary sources, so that a difference is a warning and never a refusal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from risctl.data.datasets.descriptor import (
    TOTAL,
    AnnotationFiles,
    Counts,
    DatasetDescriptor,
    DatasetOption,
    ImageCollection,
    counts,
)
from risctl.data.datasets.image_collections import COCO_TRAIN2014, RRSIS_D_IMAGES, SAIAPR_TC12
from risctl.data.datasets.refer.layout import SPLIT_BY, file_of_refs, find_annotations, search_folders
from risctl.data.download.source import Source

if TYPE_CHECKING:
    from risctl.data.records import Dataset

_SERVER = "https://bvisionweb1.cs.unc.edu/licheng/referit/data"
_EXAMPLE = "--from refer/data --images coco/train2014"


_OVERLAPS = DatasetOption(
    name="overlaps",
    type=str,
    help="What pixels are that several polygons of an object cover: object, as COCO's masks have it, or background, as "
    "LAVT's code reads them.",
    default="object",
    metavar="object|background",
)


def _archive(name: str, *, snapshot: str, about: int, table: str | None = None) -> Source:
    address = f"{_SERVER}/{name}.zip"
    return Source(
        file_name=f"{name}.zip",
        mirrors=(f"https://web.archive.org/web/{snapshot}id_/{address}", address),
        folder="",
        about=about,
        provides=f"{name}/instances.json",
        table=table,
    )


def _on_hub(file_name: str, *, about: int) -> Source:
    return Source(
        file_name=file_name,
        mirrors=(f"hf://datasets/FudanCVL/gRefCOCO/{file_name}",),
        folder="grefcoco",
        about=about,
        provides=f"grefcoco/{file_name}",
    )


def listed_images(found: AnnotationFiles) -> list[str]:
    """Returns the file names in an `instances.json`, without parsing all of its polygons."""
    content = found.files[-1].read_bytes()
    names = (match[1].decode(errors="replace") for match in re.finditer(rb'"file_name"\s*:\s*"([^"\\]+)"', content))
    return list(dict.fromkeys(names))


def _descriptor(
    name: str,
    help: str,
    *sources: Source,
    published: Mapping[str, Mapping[str, Counts]],
    images: ImageCollection = COCO_TRAIN2014,
    example: str = _EXAMPLE,
    overlaps: DatasetOption = _OVERLAPS,
    **more: Any,
) -> DatasetDescriptor:
    def find(root: Path, split_by: str) -> AnnotationFiles:
        refs, instances = find_annotations(root, name=name, split_by=split_by)
        return AnnotationFiles(
            files=(refs, instances), instances=instances, search_folders=search_folders(root, instances)
        )

    def read(source: Path, **options: Any) -> Dataset:
        from risctl.data.datasets.refer.reader import read_refer

        return read_refer(source, name=name, **options)

    return DatasetDescriptor(
        name=name,
        help=help,
        example=example,
        read=read,
        split_by=SPLIT_BY[name],
        published=published,
        sources=sources,
        images=images,
        find=find,
        image_names=listed_images,
        can_drop=True,
        options=(overlaps,),
        **more,
    )


_PAPERS = {142_209: "papers print as many, the published files hold one more"}

REFCOCO = _descriptor(
    "refcoco",
    "RefCOCO: 142,210 sentences about 50,000 objects in 19,994 pictures; split by unc or google.",
    _archive("refcoco", snapshot="20220413011718", about=50_000_000, table="jxu124/refcoco"),
    published={
        "unc": {
            "train": counts(16_994, 42_404, 120_624),
            "val": counts(1_500, 3_811, 10_834),
            "testA": counts(750, 1_975, 5_657),
            "testB": counts(750, 1_810, 5_095),
            TOTAL: counts(19_994, 50_000, 142_210),
        },
        "google": {
            "train": counts(19_213, 40_000, None),
            "val": counts(4_559, 5_000, None),
            "test": counts(4_527, 5_000, None),
            TOTAL: counts(19_994, 50_000, 142_210),
        },
    },
    quoted_totals={"unc": _PAPERS, "google": _PAPERS},
)
REFCOCO_PLUS = _descriptor(
    "refcoco+",
    "RefCOCO+: 141,564 sentences without words of place, about 49,856 objects; split by unc.",
    _archive("refcoco+", snapshot="20220413011656", about=50_000_000, table="jxu124/refcocoplus"),
    published={
        "unc": {
            "train": counts(16_992, 42_278, 120_191),
            "val": counts(1_500, 3_805, 10_758),
            "testA": counts(750, 1_975, 5_726),
            "testB": counts(750, 1_798, 4_889),
            TOTAL: counts(19_992, 49_856, 141_564),
        }
    },
)
# RefCOCOg is also quoted with 104,560 sentences, 54,822 refs and 26,711 images: that counts Google's test split, which
# was never published. The totals here are of what the files hold.
REFCOCOG = _descriptor(
    "refcocog",
    "RefCOCOg: 95,010 long sentences about 49,822 objects; split by umd, or google without a test.",
    _archive("refcocog", snapshot="20220413012904", about=65_000_000, table="jxu124/refcocog"),
    published={
        "umd": {
            "train": counts(21_899, 42_226, 80_512),
            "val": counts(1_300, 2_573, 4_896),
            "test": counts(2_600, 5_023, 9_602),
            TOTAL: counts(25_799, 49_822, 95_010),
        },
        "google": {
            "train": counts(24_698, 44_822, 85_474),
            "val": counts(4_650, 5_000, 9_536),
            TOTAL: counts(None, 49_822, 95_010),
        },
    },
    quoted_totals={
        "google": {104_560: "as many are quoted with the test split, which was not published with the others"}
    },
    missing_splits={
        ("google", "test"): "RefCOCOg split by google has no test split, and its val shares pictures with train; "
        "umd does not",
    },
)
# Of RefClef no counts of its two splits are published, only the number of images in its archive.
REFCLEF = _descriptor(
    "refclef",
    "RefClef (ReferItGame): objects and regions of 19,997 pictures of SAIAPR TC-12; split by unc or berkeley.",
    _archive("refclef", snapshot="20220413011817", about=100_000_000),
    published={"unc": {TOTAL: counts(19_997, None, None)}, "berkeley": {TOTAL: counts(19_997, None, None)}},
    images=SAIAPR_TC12,
    example="--from refer/data --images refer/data/images/saiapr_tc-12",
)
GREFCOCO = _descriptor(
    "grefcoco",
    "gRefCOCO: 278,232 sentences, 80,022 about several objects and 32,202 about nothing there; split by unc.",
    _on_hub(file_of_refs("grefcoco", "unc"), about=120_000_000),
    _on_hub("instances.json", about=130_000_000),
    published={"unc": {TOTAL: counts(19_994, None, 278_232, of_nothing=32_202, of_several=80_022)}},
    protocol="rela",
    missing_splits={
        ("unc", "testA"): "gRefCOCO's testA and testB were first withheld for a competition: these files are of then; "
        "later ones have them",
    },
)
RRSIS_D = _descriptor(
    "rrsis-d",
    "RRSIS-D: 17,402 sentences about objects in pictures from above, 800x800; measured with --protocol lavt.",
    published={
        "unc": {
            "train": counts(None, None, 12_181),
            "val": counts(None, None, 1_740),
            "test": counts(None, None, 3_481),
            TOTAL: counts(None, None, 17_402),
        }
    },
    images=RRSIS_D_IMAGES,
    example="--from RRSIS-D",
    overlaps=replace(
        _OVERLAPS, default="background", help=_OVERLAPS.help + " Its published code reads them as LAVT's does."
    ),
    protocol="lavt",
    obtain="its repository (github.com/Lsan2401/RMSIN) links to a drive that needs a browser; unpack its archives into "
    "one folder",
    source_help="Folder of the published files: rrsisd/refs(unc).p, rrsisd/instances.json, images/rrsisd/JPEGImages.",
)
