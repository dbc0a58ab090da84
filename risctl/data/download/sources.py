"""Where the published archives lie: mirrors in the order in which they are tried.

The annotations' own server has been dead since 2022, so its snapshots in the web archive come first; `id_` in their
addresses asks for the file as it was, without the archive's frame around it. On the Hugging Face hub are tables made
from these archives: they come last, as they lack what nobody refers to. gRefCOCO lies on the hub as it was published;
`hf://datasets/OWNER/NAME/FILE` means the file of that name wherever it is in that dataset. PhraseCut's files lie on
Google Drive, where its own downloader gets them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_REFERIT = "https://bvisionweb1.cs.unc.edu/licheng/referit/data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One archive or file: its mirrors, the folder under the data root where it belongs, and what is known of it.

    `size` (bytes) and `sha256` are checked where known; `about` is for people and for the check of free space. `table`
    is the dataset on the Hugging Face hub that stands in if no mirror answers.
    """

    file_name: str
    mirrors: tuple[str, ...]
    folder: str
    about: int
    size: int | None = None
    sha256: str | None = None
    table: str | None = None

    @property
    def is_archive(self) -> bool:
        """Whether it is to be unpacked."""
        return self.file_name.endswith(".zip")


def _referit(path: str, *, snapshot: str, about: int, folder: str = "", table: str | None = None) -> Source:
    address = f"{_REFERIT}/{path}"
    return Source(
        file_name=path.rpartition("/")[2],
        mirrors=(f"https://web.archive.org/web/{snapshot}id_/{address}", address),
        folder=folder,
        about=about,
        table=table,
    )


def _gref(name: str, *, about: int) -> Source:
    mirrors = (f"hf://datasets/FudanCVL/gRefCOCO/{name}",)
    return Source(file_name=name, mirrors=mirrors, folder="grefcoco", about=about)


def _drive(name: str, *, key: str, about: int) -> Source:
    mirrors = (f"https://drive.usercontent.google.com/download?id={key}&export=download&confirm=t",)
    return Source(file_name=name, mirrors=mirrors, folder="phrasecut", about=about)


def _images(name: str, *mirrors: str, about: int) -> Source:
    return Source(file_name=name, mirrors=mirrors, folder="images", about=about)


ANNOTATIONS: Mapping[str, Source] = {
    "refclef": _referit("refclef.zip", snapshot="20220413011817", about=100_000_000),
    "refcoco": _referit("refcoco.zip", snapshot="20220413011718", about=50_000_000, table="jxu124/refcoco"),
    "refcoco+": _referit("refcoco+.zip", snapshot="20220413011656", about=50_000_000, table="jxu124/refcocoplus"),
    "refcocog": _referit("refcocog.zip", snapshot="20220413012904", about=65_000_000, table="jxu124/refcocog"),
    "grefcoco-refs": _gref("grefs(unc).json", about=120_000_000),
    "grefcoco-instances": _gref("instances.json", about=130_000_000),
    "coco-instances": Source(
        file_name="annotations_trainval2014.zip",
        mirrors=(
            "http://images.cocodataset.org/annotations/annotations_trainval2014.zip",
            "https://s3.amazonaws.com/images.cocodataset.org/annotations/annotations_trainval2014.zip",
        ),
        folder="",
        about=253_000_000,
    ),
    "phrasecut-train": _drive("refer_train.json", key="1qx-0q6r9r0YUGpoyT0B8HJKmUFWQDSu7", about=400_000_000),
    "phrasecut-val": _drive("refer_val.json", key="1UyojArOFPlsSeNbA9fHWjCjOOU-OCohG", about=46_000_000),
    "phrasecut-test": _drive("refer_test.json", key="1jrzXm1gcq6f5hNDeamZd0UmyyHUv61IZ", about=46_000_000),
    "phrasecut-miniv": _drive("refer_miniv.json", key="1oLcTQ1blTIQyu5ZMelQN2HSniuQaxM4E", about=1_000_000),
}

IMAGES: Mapping[str, Source] = {
    "train2014": _images(
        "train2014.zip",
        "http://images.cocodataset.org/zips/train2014.zip",
        "https://s3.amazonaws.com/images.cocodataset.org/zips/train2014.zip",
        about=13_500_000_000,
    ),
    "saiapr_tc-12": _referit(
        "images/saiapr_tc-12.zip", snapshot="20220515000000", about=1_700_000_000, folder="images"
    ),
    "vg-1": _images("images.zip", "https://cs.stanford.edu/people/rak248/VG_100K_2/images.zip", about=9_200_000_000),
    "vg-2": _images("images2.zip", "https://cs.stanford.edu/people/rak248/VG_100K_2/images2.zip", about=5_470_000_000),
}
