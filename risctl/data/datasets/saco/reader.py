"""Reads SA-Co's pictures as published: COCO JSON whose images are pairs of a picture and a phrase.

`gold_SUBSET_merged_{a,b,c}_release_test.json` of three annotators, or `silver_SUBSET_merged_test.json` of one. An image
is `{id, file_name, text_input, width, height, is_instance_exhaustive}`; an annotation is one instance of the phrase, as
RLE, and a pair without any is negative. Each annotator's instances are a category of the store.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from risctl.data.datasets.coco_instances import InstanceImage, Instances, instances_of
from risctl.data.datasets.image_collections import SACO_IMAGES
from risctl.data.datasets.image_folders import ImageFolders, find_images, sampled, size_of
from risctl.data.datasets.json_tables import read_json
from risctl.data.datasets.problems import OnMissing, Problems
from risctl.data.records import Annotation, Dataset, Expression, ImageRecord, Record
from risctl.errors import DataError, UsageError, unknown_name
from risctl.language.tokens import words_of
from risctl.vision import rle

NOT_EXHAUSTIVE = "not exhaustive"
"""The tag of pairs of which an annotator did not mark every instance: they count in no figure of cgF1."""
ANNOTATOR = "annotator "
"""Before the name of an annotator, in the categories of a store."""

_FILES = {
    "gold": re.compile(r"gold_(?P<subset>\w+?)_merged_(?P<annotator>[a-z])_release_test\.json"),
    "silver": re.compile(r"silver_(?P<subset>\w+?)_merged_test\.json"),
}
_ONE = [{"id": 1, "name": "object"}]

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pairs:
    """A file of one annotator: its instances by pair, and what the pairs say."""

    instances: Instances
    entries: Mapping[int, Mapping[str, Any]]
    of_pair: Mapping[int, list[dict[str, Any]]]


def read_saco(
    root: Path,
    *,
    split_by: str | None = None,
    images: Path | None = None,
    on_missing: OnMissing = "refuse",
    subset: str | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Reads SA-Co's pictures: those of its subsets that are there, each a split.

    Args:
        root: The folder of the annotations, or the one above.
        split_by: "gold" or "silver"; None for gold.
        images: The folder of the images, looked for around `root` if None.
        on_missing: Whether pairs whose image or an instance's mask cannot be used are refused or left out.
        subset: The only subset that is read.
        progress: Called with (done, total) subsets.

    Raises:
        DataError: The files are not there or broken; of losses, their number and the first few are named.
        UsageError: The subset is unknown.
    """
    part = split_by or "gold"
    found: dict[str, dict[str, Path]] = {}
    for file in (*sorted(root.glob(f"{part}_*.json")), *sorted(root.glob(f"*/{part}_*.json"))):
        match = _FILES[part].fullmatch(file.name)
        if match is not None:
            found.setdefault(match["subset"], {}).setdefault(match.groupdict().get("annotator") or "a", file)
    if not found:
        form = "gold_SUBSET_merged_a_release_test.json" if part == "gold" else "silver_SUBSET_merged_test.json"
        raise DataError(f"{root} holds no annotations of SA-Co's {part}; expected files such as {form}")
    if subset is not None and subset not in found:
        raise UsageError(unknown_name("subset", subset, found))
    chosen = {subset: found[subset]} if subset is not None else found
    annotators = sorted({one for files in chosen.values() for one in files})
    for name, files in chosen.items():
        if lacking := [one for one in annotators if one not in files]:
            raise DataError(f"the subset {name} in {root} lacks the file of annotator {lacking[0]}, which others have")
    builder = _Builder(part, annotators)
    for done, (name, files) in enumerate(chosen.items(), start=1):
        pairs = {one: _read_pairs(file, builder.problems) for one, file in sorted(files.items())}
        builder.add(name, pairs, root=root, images=images)
        if progress is not None:
            progress(done, len(chosen))
    if on_missing == "refuse":
        builder.problems.refuse_losses(f"SA-Co ({part})")
    return builder.build(root)


def _read_pairs(file: Path, problems: Problems) -> _Pairs:
    content = read_json(file)
    content.setdefault("categories", _ONE)
    instances = instances_of(content, file, problems)
    of_pair: dict[int, list[dict[str, Any]]] = {}
    for annotation in instances.annotations.values():
        of_pair.setdefault(annotation["image_id"], []).append(annotation)
    entries = {}
    for entry in content["images"]:
        text = entry.get("text_input")
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"{file}: the pair {entry['id']} has no phrase, text_input; got {text!r:.40}")
        entries[entry["id"]] = entry
    return _Pairs(instances=instances, entries=entries, of_pair=of_pair)


class _Builder:
    """Adds subsets to a dataset."""

    def __init__(self, part: str, annotators: list[str]) -> None:
        self.problems = Problems()
        self._part = part
        self._categories = {one: number for number, one in enumerate(annotators, start=1)}
        self._images: dict[int, ImageRecord] = {}
        self._annotations: dict[int, Annotation] = {}
        self._records: list[Record] = []
        self._usable: dict[Path, bool] = {}

    def add(self, subset: str, pairs: Mapping[str, _Pairs], *, root: Path, images: Path | None) -> None:
        """Adds a subset as a split; pairs of one picture follow each other, so that a store keeps it once."""
        first = next(iter(pairs.values()))
        listed = sorted(first.instances.images.values(), key=lambda one: (one.file_name, one.image_id))
        names = sampled([one.file_name for one in listed])
        folders = find_images(SACO_IMAGES, around=(root, root.parent), images=images, sample=names)
        if folders is None and listed:
            raise DataError(f"no pictures of SA-Co around {root}, such as {names[0]}; name their folder with --images")
        for image in listed:
            if image.image_id in self._images:
                raise DataError(
                    f"the pair {image.image_id} is in two subsets, so that predictions could not be told apart; "
                    "prepare them one by one with --subset"
                )
            assert folders is not None
            self._add_pair(subset, image, pairs, folders=folders)

    def _add_pair(
        self, subset: str, image: InstanceImage, pairs: Mapping[str, _Pairs], *, folders: ImageFolders
    ) -> None:
        number, path = image.image_id, folders.path(image.file_name)
        if path not in self._usable:
            size = (image.height, image.width)
            self._usable[path] = size_of(path, annotated=size, problems=self.problems) is not None
        if not self._usable[path]:
            return
        masks: list[Annotation] = []
        exhaustive = True
        for annotator, own in pairs.items():
            entry = own.entries.get(number)
            if entry is None:
                self.problems.repair("pairs that an annotator lacks, which count in no figure of cgF1", number)
            exhaustive = exhaustive and entry is not None and bool(entry.get("is_instance_exhaustive", True))
            for one in own.of_pair.get(number, ()):
                try:
                    mask = rle.from_segmentation(one.get("segmentation"), height=image.height, width=image.width)
                except DataError as error:
                    self.problems.lose("instances without a valid mask", f"{one['id']} of pair {number}: {error}")
                    continue
                masks.append(
                    Annotation(
                        annotation_id=len(self._annotations) + len(masks) + 1,
                        image_id=number,
                        category_id=self._categories[annotator],
                        box=rle.box(mask),
                        mask=mask,
                        crowd=bool(one.get("iscrowd", 0)),
                    )
                )
        text = str(next(iter(pairs.values())).entries[number]["text_input"]).strip()
        self._images[number] = image.at(path)
        self._annotations |= {one.annotation_id: one for one in masks}
        expression = Expression(
            sentence_id=number,
            raw=text,
            sent=" ".join(text.lower().split()),
            tokens=tuple(words_of(text.lower())),
            abilities=() if exhaustive else (NOT_EXHAUSTIVE,),
        )
        # Measured as a mask, a phrase's target is what the first annotator marked.
        own_ids = tuple(one.annotation_id for one in masks if one.category_id == 1 and not one.crowd)
        self._records.append(
            Record(ref_id=number, image_id=number, split=subset, annotation_ids=own_ids, expressions=(expression,))
        )

    def build(self, root: Path) -> Dataset:
        """Returns the dataset. Raises `DataError` if nothing is left."""
        if not self._records:
            raise DataError(f"nothing is left of SA-Co's pairs in {root}; check that --images is the right folder")
        return Dataset(
            name="saco",
            split_by=self._part,
            categories={number: f"{ANNOTATOR}{one}" for one, number in self._categories.items()},
            images=self._images,
            annotations=self._annotations,
            records=self._records,
            notes=self.problems.notes(),
        )
