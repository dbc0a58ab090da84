"""Generated phrases for the images of a COCO instance file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from risctl.data.datasets.descriptor import AnnotationFiles, DatasetDescriptor, DatasetOption
from risctl.data.datasets.image_collections import COCO_TRAIN2014
from risctl.data.datasets.refer.descriptor import listed_images
from risctl.data.download.source import Source
from risctl.errors import DataError

if TYPE_CHECKING:
    from risctl.data.records import Dataset

_INSTANCES = "annotations/instances_train2014.json"


def _find(root: Path, split_by: str) -> AnnotationFiles:
    candidates = (root, root / _INSTANCES, root / "coco" / _INSTANCES, root / Path(_INSTANCES).name)
    file = next((candidate for candidate in candidates if candidate.is_file()), None)
    if file is None:
        raise DataError(f"no {_INSTANCES} under {root}; name the instance file with --instances")
    return AnnotationFiles(files=(file,), instances=file, search_folders=(file.parent, file.parent.parent))


def _read(
    source: Path,
    *,
    images: Path | None = None,
    exclude: Path | None = None,
    held_out: Path | None = None,
    splits: str = "train=0.8,val=0.1,test=0.1",
    **options: Any,
) -> Dataset:
    from risctl.data.datasets.coco_phrases.generate import make_coco_phrases, read_ids
    from risctl.data.datasets.image_folders import find_images, sampled
    from risctl.data.splits import parse_shares

    found = _find(source, "")
    if images is None:
        names = sampled(listed_images(found))
        folders = find_images(COCO_TRAIN2014, around=found.search_folders, images=None, sample=names)
        if folders is None:
            raise DataError(f"no pictures of {found.files[0]} beside it; name their folder with --images")
        images = folders.folders[0]
    return make_coco_phrases(
        found.files[0],
        images=images,
        shares=parse_shares(splits),
        exclude=read_ids(exclude) if exclude is not None else (),
        held_out=read_ids(held_out) if held_out is not None else (),
        **options,
    )


COCO_PHRASES = DatasetDescriptor(
    name="coco-phrases",
    help="Make unambiguous phrases for COCO pictures: kind, colour, size, place, order, relation, several, none.\n\n"
    "Without --instances they are made for COCO train2014, which holds all pictures of RefCOCO, its val and test too: "
    "leave those out with --exclude if you mean to measure on them.",
    example="--instances instances_val2017.json --images val2017 --seed 0",
    read=_read,
    sources=(
        Source(
            file_name="annotations_trainval2014.zip",
            mirrors=(
                "http://images.cocodataset.org/annotations/annotations_trainval2014.zip",
                "https://s3.amazonaws.com/images.cocodataset.org/annotations/annotations_trainval2014.zip",
            ),
            folder="",
            about=253_000_000,
            provides=_INSTANCES,
        ),
    ),
    images=COCO_TRAIN2014,
    find=_find,
    image_names=listed_images,
    source_flag="--instances",
    source_help="A COCO instance file (instances_*.json).",
    options=(
        DatasetOption(name="exclude", type=Path, help="A text file of picture ids to leave out."),
        DatasetOption(
            name="held_out",
            type=Path,
            help="A text file of picture ids for the split test; --splits shares the rest.",
        ),
        DatasetOption(
            name="splits",
            type=str,
            help="Shares of the pictures that the splits get.",
            default="train=0.8,val=0.1,test=0.1",
            metavar="NAME=SHARE,...",
        ),
        DatasetOption(name="seed", type=int, help="Decides phrases and splits.", default=0),
    ),
    can_drop=True,
)
