"""Reads gRefCOCO's refs and annotations as the published code of ReLA does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from risctl.data.datasets.coco_instances import Instances, without_short_polygons
from risctl.data.datasets.problems import Problems
from risctl.data.datasets.refer.refs import Ref


def as_rela_reads(refs: Sequence[Ref], instances: Instances, problems: Problems) -> list[Ref]:
    """Returns the refs without crowds, and drops polygons of fewer than three points from the annotations.

    Source: `load_grefcoco_json` of henghuiding/ReLA, 3ca9551. There a ref to nothing but crowds keeps an empty mask to
    be found; it is dropped here.

    Args:
        refs: The refs, as published.
        instances: Their annotations; polygons are dropped in place.
        problems: Where what is left out is counted.
    """
    for annotation_id in {one for ref in refs for one in ref.annotation_ids}:
        entry = instances.annotations.get(annotation_id)
        polygons = None if entry is None else without_short_polygons(entry.get("segmentation"))
        if entry is not None and polygons is not None and len(polygons) < len(entry["segmentation"]):
            entry["segmentation"] = polygons
            problems.repair("annotations with polygons of fewer than three points, which are dropped", annotation_id)
    return list(_without_crowds(refs, instances, problems))


def _without_crowds(refs: Sequence[Ref], instances: Instances, problems: Problems) -> Iterator[Ref]:
    for ref in refs:
        kept = tuple(one for one in ref.annotation_ids if not _is_crowd(instances, one))
        if kept == ref.annotation_ids:
            yield ref
        elif kept:
            problems.repair("refs to crowds and others, of which the others are taken", ref.ref_id)
            yield replace(ref, annotation_ids=kept)
        else:
            problems.repair("refs to nothing but crowds, dropped", ref.ref_id)


def _is_crowd(instances: Instances, annotation_id: int) -> bool:
    entry = instances.annotations.get(annotation_id)
    return entry is not None and bool(entry.get("iscrowd"))
