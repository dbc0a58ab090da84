"""The collections of images that datasets refer to: the folders people keep them in, and their mirrors."""

from __future__ import annotations

from risctl.data.datasets.descriptor import ImageCollection
from risctl.data.download.source import Source


def _archive(file_name: str, *mirrors: str, about: int) -> Source:
    return Source(file_name=file_name, mirrors=mirrors, folder="images", about=about)


COCO_TRAIN2014 = ImageCollection(
    name="COCO train2014",
    folders=(
        *("", "images/mscoco/images/train2014", "images/train2014", "train2014", "images/mscoco/train2014"),
        *("mscoco/images/train2014", "coco/train2014", "coco/images/train2014", "images"),
    ),
    sources=(
        _archive(
            "train2014.zip",
            "http://images.cocodataset.org/zips/train2014.zip",
            "https://s3.amazonaws.com/images.cocodataset.org/zips/train2014.zip",
            about=13_500_000_000,
        ),
    ),
)
# The original collection has a folder of images in each of 41.
SAIAPR_TC12 = ImageCollection(
    name="SAIAPR TC-12",
    folders=(
        *("", "images/saiapr_tc-12", "saiapr_tc-12", "images", "images/saiapr_tc-12/images"),
        *("*/images", "images/saiapr_tc-12/*/images", "saiapr_tc-12/*/images", "images/*/images"),
    ),
    sources=(
        _archive(
            "saiapr_tc-12.zip",
            "https://web.archive.org/web/20220515000000id_/"
            "https://bvisionweb1.cs.unc.edu/licheng/referit/data/images/saiapr_tc-12.zip",
            "https://bvisionweb1.cs.unc.edu/licheng/referit/data/images/saiapr_tc-12.zip",
            about=1_700_000_000,
        ),
    ),
)
RRSIS_D_IMAGES = ImageCollection(
    name="RRSIS-D",
    folders=(
        *("", "images/rrsisd/JPEGImages", "rrsisd/JPEGImages", "JPEGImages", "images/rrsisd"),
        "rrsisd/images/rrsisd/JPEGImages",
    ),
)
SACO_IMAGES = ImageCollection(
    name="SA-Co",
    folders=("", "images", "metaclip-images", "sa1b-images", "images/*", "*"),
)
VISUAL_GENOME = ImageCollection(
    name="Visual Genome",
    folders=(
        *("", "images", "VG_100K", "VG_100K_2", "images/VG_100K", "images/VG_100K_2", "VGPhraseCut_v0/images"),
        *("visual_genome/VG_100K", "visual_genome/VG_100K_2", "vg/VG_100K", "vg/VG_100K_2"),
    ),
    sources=(
        _archive("images.zip", "https://cs.stanford.edu/people/rak248/VG_100K_2/images.zip", about=9_200_000_000),
        _archive("images2.zip", "https://cs.stanford.edu/people/rak248/VG_100K_2/images2.zip", about=5_470_000_000),
    ),
)
