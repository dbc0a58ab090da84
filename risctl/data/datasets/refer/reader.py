"""Reads the datasets that REFER publishes, and gRefCOCO in their form: refs and `instances.json`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from risctl.data.datasets.coco_instances import (
    OVERLAPS,
    InstanceImage,
    Instances,
    Progress,
    rasterise,
    read_instances,
)
from risctl.data.datasets.descriptor import ImageCollection
from risctl.data.datasets.image_collections import COCO_TRAIN2014, RRSIS_D_IMAGES, SAIAPR_TC12
from risctl.data.datasets.image_folders import find_images, sampled, size_of
from risctl.data.datasets.problems import OnMissing, Problems
from risctl.data.datasets.refer.generalised import as_rela_reads
from risctl.data.datasets.refer.layout import SPLIT_BY, find_annotations, search_folders
from risctl.data.datasets.refer.refs import Ref, read_refs
from risctl.data.records import Annotation, Dataset, Record
from risctl.errors import DataError, UsageError
from risctl.vision import rle

GENERALISED = "grefcoco"
# Of RefClef's images these were never published whole.
BROKEN_UPSTREAM = {"refclef": frozenset({19579, 17975, 19575})}


def _collection_of(name: str) -> ImageCollection:
    return {"refclef": SAIAPR_TC12, "rrsis-d": RRSIS_D_IMAGES}.get(name, COCO_TRAIN2014)


def read_refer(
    root: Path,
    *,
    name: str,
    split_by: str | None = None,
    images: Path | None = None,
    on_missing: OnMissing = "refuse",
    overlaps: str = "object",
    progress: Progress | None = None,
) -> Dataset:
    """Reads a dataset with the images that refs are about and all annotations of these.

    Repeated ids are renumbered and counted in the notes. Refs to three images of RefClef that are broken as published
    are left out in any case.

    Args:
        root: The folder of the published files.
        name: "refcoco", "refcoco+", "refcocog", "refclef", "grefcoco" or "rrsis-d".
        split_by: "unc", "google", "umd" or "berkeley"; None for the usual one.
        images: The folder of COCO train2014, SAIAPR TC-12 or RRSIS-D, looked for around `root` if None.
        on_missing: Whether refs whose image or annotation is missing, damaged or of another size are refused or left
            out.
        overlaps: "background" leaves out of a mask what several polygons of its object cover, as LAVT's and others'
            code does; "object" unites them, as COCO does.
        progress: Called with (done, total) annotations.

    Raises:
        DataError: A file is missing or broken; of losses, their number and the first few are named.
        UsageError: An unknown dataset, or another word for `overlaps`.
    """
    split_by = split_by or SPLIT_BY.get(name, ("unc",))[0]
    refs_path, instances_path = find_annotations(root, name=name, split_by=split_by)
    problems = Problems()
    instances = read_instances(instances_path, problems)
    refs = read_refs(refs_path, generalised=name == GENERALISED, problems=problems)
    if name == GENERALISED:
        refs = as_rela_reads(refs, instances, problems)
    return dataset_of(
        refs,
        instances,
        name=name,
        split_by=split_by,
        around=search_folders(root, instances_path),
        images=images,
        on_missing=on_missing,
        overlaps=overlaps,
        problems=problems,
        progress=progress,
    )


def dataset_of(
    refs: Sequence[Ref],
    instances: Instances,
    *,
    name: str,
    split_by: str,
    around: Sequence[Path],
    images: Path | None,
    on_missing: OnMissing,
    overlaps: str,
    problems: Problems,
    progress: Progress | None,
) -> Dataset:
    """Returns the dataset of refs and instances that were read.

    Args:
        refs: The refs.
        instances: Their annotations and images.
        name: The dataset.
        split_by: The way of splitting.
        around: The folders in and below which images are looked for.
        images: The folder of the images, if it is given.
        on_missing: See `read_refer`.
        overlaps: See `read_refer`.
        problems: What was found wrong so far.
        progress: Called with (done, total) annotations.

    Raises:
        DataError: See `read_refer`.
        UsageError: Another word for `overlaps`.
    """
    rule = next((one for one in OVERLAPS if one == overlaps), None)
    if rule is None:
        raise UsageError(f"expected --overlaps {' or '.join(OVERLAPS)}, got {overlaps!r:.40}")
    wanted = {ref.image_id for ref in refs}
    listed = [image for image in instances.images.values() if image.image_id in wanted]
    names = sampled([entry.file_name for entry in listed])
    folders = find_images(_collection_of(name), around=around, images=images, sample=names)
    if folders is None and listed:
        raise DataError(
            f"no pictures of {_collection_of(name).name} around {around[0]} (such as {_collection_of(name).folders[1]}/"
            f"{listed[0].file_name}); name their folder with --images"
        )
    paths = {entry.image_id: folders.path(entry.file_name) for entry in listed} if folders else {}
    usable = _usable(listed, paths, broken=BROKEN_UPSTREAM.get(name, frozenset()), problems=problems)
    annotations, invalid = rasterise(instances, of_images=usable.keys(), overlaps=rule, progress=progress)
    records = _records(refs, instances=instances, usable=usable, annotations=annotations, problems=problems)
    if on_missing == "refuse":
        problems.refuse_losses(f"{name} ({split_by})")
    if not records:
        raise DataError(
            f"{instances.path.parent}: nothing is left of its {len(refs)} refs; check that --images is the right folder"
        )
    _note_annotations(refs, annotations=annotations, invalid=invalid, problems=problems)
    _note_shared_images(records, problems)
    kept = {record.image_id for record in records}
    if instances.only_referred:
        for image_id in kept:
            problems.repair("pictures with nothing but what is referred to: the files are from a table", image_id)
    return Dataset(
        name=name,
        split_by=split_by,
        categories=instances.categories,
        images={entry.image_id: entry.at(paths[entry.image_id]) for entry in listed if entry.image_id in kept},
        annotations={key: one for key, one in annotations.items() if one.image_id in kept},
        records=records,
        notes=problems.notes(),
    )


def _usable(
    listed: Sequence[InstanceImage], paths: dict[int, Path], *, broken: frozenset[int], problems: Problems
) -> dict[int, InstanceImage]:
    usable = {}
    for entry in listed:
        if entry.image_id not in paths:
            continue
        noted = Problems() if entry.image_id in broken else problems
        if size_of(paths[entry.image_id], annotated=(entry.height, entry.width), problems=noted):
            usable[entry.image_id] = entry
        elif noted is not problems:
            problems.repair("pictures broken as published, left out with their refs", entry.image_id)
    return usable


def _records(
    refs: Sequence[Ref],
    *,
    instances: Instances,
    usable: dict[int, InstanceImage],
    annotations: dict[int, Annotation],
    problems: Problems,
) -> list[Record]:
    records = []
    for ref in refs:
        entries = [instances.annotations.get(annotation_id) for annotation_id in ref.annotation_ids]
        described = f"ref {ref.ref_id} to {', '.join(map(str, ref.annotation_ids))}"
        if ref.image_id not in instances.images:
            problems.lose("refs to a picture that instances.json lacks", f"ref {ref.ref_id} to {ref.image_id}")
        elif any(entry is None for entry in entries):
            problems.lose("refs to an annotation that instances.json lacks", described)
        elif any(entry and entry["image_id"] != ref.image_id for entry in entries):
            problems.lose("refs to an annotation of another picture", described)
        elif ref.image_id in usable and any(annotation_id not in annotations for annotation_id in ref.annotation_ids):
            problems.lose("refs to an annotation without a valid mask", described)
        elif ref.image_id in usable:
            if entries and {entry["category_id"] for entry in entries if entry} != set(ref.category_ids):
                problems.repair("categories of refs unlike the annotation's, which is taken", f"ref {ref.ref_id}")
            records.append(
                Record(
                    ref_id=ref.ref_id,
                    image_id=ref.image_id,
                    split=ref.split,
                    annotation_ids=ref.annotation_ids,
                    expressions=ref.expressions,
                )
            )
    return records


def _note_annotations(
    refs: Sequence[Ref], *, annotations: dict[int, Annotation], invalid: dict[int, str], problems: Problems
) -> None:
    referred = {one for ref in refs for one in ref.annotation_ids}
    for annotation_id in sorted(invalid.keys() - referred):
        problems.repair("annotations without a valid mask, dropped", f"{annotation_id}: {invalid[annotation_id]}")
    for annotation_id in sorted(referred & annotations.keys()):
        if rle.area(annotations[annotation_id].mask) == 0:
            problems.repair("refs whose mask has no pixel, kept", annotation_id)


def _note_shared_images(records: list[Record], problems: Problems) -> None:
    """Counts images that are both trained on and tested on: Google's ways of splitting share them."""
    trained = {record.image_id for record in records if record.split == "train"}
    for image_id in sorted({record.image_id for record in records if record.split != "train"} & trained):
        problems.repair("pictures shared by train and another split, kept", image_id)
