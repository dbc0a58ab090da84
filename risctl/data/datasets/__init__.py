"""One file a family of datasets: each reads a published format into a `Dataset`.

`SETS` maps the names of the published sets that `risctl prepare` fetches to what is known of each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from risctl.data.datasets import phrasecut, refer
from risctl.data.datasets.coco_phrases.generate import make_coco_phrases
from risctl.data.datasets.image_folders import COCO, VISUAL_GENOME, Layout
from risctl.data.datasets.refer_layout import SPLIT_BY, file_of_refs, find_annotations
from risctl.data.records import Dataset
from risctl.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The annotations of a set as they lie on the disk.

    `instances` is the COCO file among them, if there is one; `around` the folders where pictures are looked for;
    `whole` says that no published file is missing.
    """

    files: tuple[Path, ...]
    instances: Path | None
    around: tuple[Path, ...]
    whole: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSet:
    """What `risctl prepare` needs to know of a published set.

    `archives` and `pictures` name entries of `sources.ANNOTATIONS` and `sources.IMAGES`, each of the annotations with
    the file, under the data root, that is there once it was fetched. `find` takes the folder of the published files and
    the way of splitting and raises `DataError` if they are not there; `names` returns all pictures' file names.
    """

    name: str
    split_by: tuple[str, ...]
    archives: Mapping[str, str]
    pictures: tuple[str, ...]
    layout: Layout
    find: Callable[[Path, str], Found]
    names: Callable[[Found], list[str]]
    read: Callable[..., Dataset]


def _refer(name: str, archives: Mapping[str, str]) -> PublishedSet:
    def find(root: Path, split_by: str) -> Found:
        refs, instances = find_annotations(root, name=name, split_by=split_by)
        return Found(files=(refs, instances), instances=instances, around=refer.around_of(root, instances))

    return PublishedSet(
        name=name,
        split_by=SPLIT_BY[name],
        archives=archives,
        pictures=("saiapr_tc-12",) if name == "refclef" else ("train2014",),
        layout=refer.layout_of(name),
        find=find,
        names=_listed_names,
        read=partial(refer.read_refer, name=name),
    )


def _listed_names(found: Found) -> list[str]:
    """Return the file names in an instances.json, without parsing all its polygons."""
    content = found.files[-1].read_bytes()
    names = (match[1].decode(errors="replace") for match in re.finditer(rb'"file_name"\s*:\s*"([^"\\]+)"', content))
    return list(dict.fromkeys(names))


def _phrasecut() -> PublishedSet:
    def find(root: Path, split_by: str) -> Found:
        tasks = phrasecut.find_tasks(root)
        return Found(
            files=tuple(tasks.values()),
            instances=None,
            around=phrasecut.around_of(root, tasks),
            whole=len(tasks) == len(phrasecut.SPLITS),
        )

    return PublishedSet(
        name=phrasecut.NAME,
        split_by=(phrasecut.SPLIT_BY,),
        archives={f"phrasecut-{split}": f"phrasecut/refer_{split}.json" for split in phrasecut.SPLITS},
        pictures=("vg-1", "vg-2"),
        layout=VISUAL_GENOME,
        find=find,
        names=lambda found: phrasecut.file_names({path.stem: path for path in found.files}),
        read=phrasecut.read_phrasecut,
    )


_COCO_FILE = "annotations/instances_train2014.json"


def _coco_phrases() -> PublishedSet:
    def find(root: Path, split_by: str) -> Found:
        places = (root, root / _COCO_FILE, root / "coco" / _COCO_FILE, root / Path(_COCO_FILE).name)
        file = next((one for one in places if one.is_file()), None)
        if file is None:
            raise DataError(f"no {_COCO_FILE} under {root}")
        return Found(files=(file,), instances=file, around=(file.parent, file.parent.parent))

    return PublishedSet(
        name="coco-phrases",
        split_by=("picture",),
        archives={"coco-instances": _COCO_FILE},
        pictures=("train2014",),
        layout=COCO,
        find=find,
        names=_listed_names,
        read=make_coco_phrases,
    )


COCO_PHRASES = _coco_phrases()
"""COCO's instances, which phrases are made for: no published phrases, but published files."""

SETS: Mapping[str, PublishedSet] = {
    **{name: _refer(name, {name: f"{name}/instances.json"}) for name in ("refcoco", "refcoco+", "refcocog", "refclef")},
    "grefcoco": _refer(
        "grefcoco",
        {
            "grefcoco-refs": f"grefcoco/{file_of_refs('grefcoco', 'unc')}",
            "grefcoco-instances": "grefcoco/instances.json",
        },
    ),
    "phrasecut": _phrasecut(),
}
