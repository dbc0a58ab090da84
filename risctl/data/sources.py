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


def _drive(name: str, *, key: str, about: int) -> Source:
    return Source(
        file_name=name,
        mirrors=(f"https://drive.usercontent.google.com/download?id={key}&export=download&confirm=t",),
        folder="phrasecut",
        about=about,
    )


def _archived(snapshot: str, address: str) -> tuple[str, ...]:
    return (f"https://web.archive.org/web/{snapshot}id_/{address}", address)


ANNOTATIONS: Mapping[str, Source] = {
    "refclef": Source(
        file_name="refclef.zip",
        mirrors=_archived("20220413011817", f"{_REFERIT}/refclef.zip"),
        folder="",
        about=100_000_000,
    ),
    "refcoco": Source(
        file_name="refcoco.zip",
        mirrors=_archived("20220413011718", f"{_REFERIT}/refcoco.zip"),
        folder="",
        about=50_000_000,
        table="jxu124/refcoco",
    ),
    "refcoco+": Source(
        file_name="refcoco+.zip",
        mirrors=_archived("20220413011656", f"{_REFERIT}/refcoco+.zip"),
        folder="",
        about=50_000_000,
        table="jxu124/refcocoplus",
    ),
    "refcocog": Source(
        file_name="refcocog.zip",
        mirrors=_archived("20220413012904", f"{_REFERIT}/refcocog.zip"),
        folder="",
        about=65_000_000,
        table="jxu124/refcocog",
    ),
    "grefcoco-refs": Source(
        file_name="grefs(unc).json",
        mirrors=("hf://datasets/FudanCVL/gRefCOCO/grefs(unc).json",),
        folder="grefcoco",
        about=120_000_000,
    ),
    "grefcoco-instances": Source(
        file_name="instances.json",
        mirrors=("hf://datasets/FudanCVL/gRefCOCO/instances.json",),
        folder="grefcoco",
        about=130_000_000,
    ),
    "phrasecut-train": _drive("refer_train.json", key="1qx-0q6r9r0YUGpoyT0B8HJKmUFWQDSu7", about=400_000_000),
    "phrasecut-val": _drive("refer_val.json", key="1UyojArOFPlsSeNbA9fHWjCjOOU-OCohG", about=46_000_000),
    "phrasecut-test": _drive("refer_test.json", key="1jrzXm1gcq6f5hNDeamZd0UmyyHUv61IZ", about=46_000_000),
    "phrasecut-miniv": _drive("refer_miniv.json", key="1oLcTQ1blTIQyu5ZMelQN2HSniuQaxM4E", about=1_000_000),
}

IMAGES: Mapping[str, Source] = {
    "train2014": Source(
        file_name="train2014.zip",
        mirrors=(
            "http://images.cocodataset.org/zips/train2014.zip",
            "https://s3.amazonaws.com/images.cocodataset.org/zips/train2014.zip",
        ),
        folder="images",
        about=13_500_000_000,
    ),
    "saiapr_tc-12": Source(
        file_name="saiapr_tc-12.zip",
        mirrors=_archived("20220515000000", f"{_REFERIT}/images/saiapr_tc-12.zip"),
        folder="images",
        about=1_700_000_000,
    ),
    "vg-1": Source(
        file_name="images.zip",
        mirrors=("https://cs.stanford.edu/people/rak248/VG_100K_2/images.zip",),
        folder="images",
        about=9_200_000_000,
    ),
    "vg-2": Source(
        file_name="images2.zip",
        mirrors=("https://cs.stanford.edu/people/rak248/VG_100K_2/images2.zip",),
        folder="images",
        about=5_470_000_000,
    ),
}
