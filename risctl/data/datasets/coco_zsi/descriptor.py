"""COCO divided into seen and unseen classes, for zero-shot instance segmentation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from risctl.data.datasets.descriptor import DatasetDescriptor, DatasetOption

if TYPE_CHECKING:
    from risctl.data.records import Dataset

_OPTIONS = (
    DatasetOption(name="images", type=Path, help="The folder of their pictures.", required=True),
    DatasetOption(
        name="test_instances",
        type=Path,
        help="Instances to test on. Default: the training pictures that show an unseen class.",
    ),
    DatasetOption(name="test_images", type=Path, help="The folder of the test pictures. Default: --images."),
    DatasetOption(
        name="held_out", type=float, help="Share of training pictures kept as split val; published: none.", default=0.0
    ),
    DatasetOption(name="seed", type=int, help="Decides which are held out.", default=0),
)


def _descriptor(seen: int, unseen: int) -> DatasetDescriptor:
    def read(
        source: Path,
        *,
        images: Path,
        test_instances: Path | None = None,
        test_images: Path | None = None,
        **options: Any,
    ) -> Dataset:
        from risctl.data.datasets.coco_zsi.reader import InstanceFolder, make_coco_zsi

        test = None
        if test_instances is not None:
            test = InstanceFolder(instances=test_instances, images=test_images or images)
        training = InstanceFolder(instances=source, images=images)
        return make_coco_zsi(f"{seen}_{unseen}", training, test=test, **options)

    return DatasetDescriptor(
        name=f"coco-zsi-{seen}-{unseen}",
        help=f"Divide COCO into {seen} seen and {unseen} unseen classes, as published.\n\nTraining pictures show no "
        "unseen class. A sentence is a class's name, its target all objects of the class.",
        example="--instances instances_train2014.json --images train2014",
        read=read,
        protocol="zsi",
        source_flag="--instances",
        source_help="COCO's training instances (instances_*.json).",
        options=_OPTIONS,
        can_drop=True,
        counted={"images": "images", "refs": "classes in them"},
    )


COCO_ZSI_48_17 = _descriptor(48, 17)
COCO_ZSI_65_15 = _descriptor(65, 15)
