"""The tables of `docs/models.md` are those of the registry, and list what the tests try."""

from __future__ import annotations

from pathlib import Path

import transformers
from helpers.tiny_finders import KINDS
from helpers.tiny_image_text import MASKED
from helpers.tiny_trackers import TRACKERS

import risctl
from risctl.models.families import FAMILIES, family_table, finetune_table, model_table

DOCS = Path(risctl.__file__).resolve().parents[1] / "docs" / "models.md"


def _between(begin: str) -> str:
    text = DOCS.read_text(encoding="utf-8")
    return text.split(f"<!-- {begin}: generated -->\n")[1].split("\n<!-- end -->")[0]


def test_the_tables_are_generated() -> None:
    assert _between("named models") == model_table()
    assert _between("families") == family_table()
    assert _between("fine-tuning") == finetune_table()


def test_what_is_listed_as_tried_is_tried() -> None:
    prompted = {"mini", "clipseg", "sam3", "sam3_video", "sam3_lite_text", "grounding-dino", "florence2"}
    segmenters = {"sam", "sam2", "sam_hq", "edgetam", "sam3_tracker", "clip"}
    tried = {kind for family in FAMILIES for kind in family.tried}
    assert tried == {kind.removesuffix("_seg") for kind in KINDS} | prompted | segmenters | set(TRACKERS) | set(MASKED)


def test_what_is_listed_is_opened_by_that_class() -> None:
    from transformers.models.auto import modeling_auto as auto

    names = {
        "AutoModelForZeroShotObjectDetection": auto.MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING_NAMES,
        "AutoModelForObjectDetection": auto.MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES,
        "AutoModelForUniversalSegmentation": auto.MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES,
        "AutoModelForInstanceSegmentation": auto.MODEL_FOR_INSTANCE_SEGMENTATION_MAPPING_NAMES,
        "AutoModelForMaskGeneration": auto.MODEL_FOR_MASK_GENERATION_MAPPING_NAMES,
        "AutoModelForZeroShotImageClassification": auto.MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES,
    }
    for family in FAMILIES:
        if family.opened_by in names:
            # What a version of transformers lacks is nothing to fail for; that one must know most of them.
            known = set(names[family.opened_by])
            listed = {*family.tried, *family.further, *family.refused}
            assert len(known & listed) >= len(family.tried)
            if tuple(map(int, transformers.__version__.split(".")[:2])) <= (5, 24):
                # A later version may know more, which work without a line.
                by_text = {"clip", "clipseg"} if family.refused else set()
                assert known <= listed | by_text
