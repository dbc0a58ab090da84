"""Defines dataset descriptors: what is known of a dataset before any of its files is read.

Descriptors are literals and import nothing heavy, so that the command line can list them fast; readers are imported
when they are called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from risctl.data.download.source import Source

if TYPE_CHECKING:
    from risctl.data.records import Dataset

Counts = Mapping[str, int | None]
"""`images`, `refs` and `sentences`, None where no figure is published. `of_nothing` and `of_several` are the sentences
that refer to nothing and to several objects."""

TOTAL = "total"
"""Stands for all splits together."""
JOINED = " + "
"""Stands between splits that are published as one."""


def counts(images: int | None, refs: int | None, sentences: int | None, **more: int) -> Counts:
    """Returns the published counts of a split."""
    return {"images": images, "refs": refs, "sentences": sentences, **more}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCollection:
    """The images that a dataset is about.

    Attributes:
        name: Its name for people.
        folders: The folders that people keep it in, from the data root or beside the annotations; `*` stands for any
            one folder.
        sources: Where it can be downloaded, empty if nowhere.
    """

    name: str
    folders: tuple[str, ...]
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationFiles:
    """The annotations of a dataset as they lie on the disk.

    Attributes:
        files: The files.
        instances: COCO's `instances.json` among them, if there is one.
        search_folders: The folders in and below which images are looked for.
        complete: Whether no published file is missing.
    """

    files: tuple[Path, ...]
    instances: Path | None
    search_folders: tuple[Path, ...]
    complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetOption:
    """An option of `risctl prepare NAME` that the reader takes as a keyword argument.

    Attributes:
        name: The keyword; the flag is the same with dashes.
        type: `str`, `int`, `float` or `Path`.
        help: What it does, in one line.
        default: Its value unless given; None of an option that may be left out.
        required: Whether it must be given.
        metavar: What stands for its value in the help, if not the type.
    """

    name: str
    type: type
    help: str
    default: Any = None
    required: bool = False
    metavar: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetDescriptor:
    """A dataset that `risctl prepare NAME` turns into a store.

    Attributes:
        name: Its name on the command line.
        help: What it is, in one line.
        example: The options of the example in the command's help.
        read: The reader: called with the published files' folder and the keyword arguments `split_by`, `images`,
            `on_missing`, `progress` and those of `options`. None if a command of its own makes the dataset.
        protocol: The protocol by which papers measure on it.
        split_by: Its ways of splitting, the usual one first; empty if there is no choice to name.
        published: Way of splitting (or "") -> split -> published counts. An image can be in several splits, so that
            the images of `total` need not be a sum.
        quoted_totals: Way of splitting -> another number of sentences that is quoted -> why.
        missing_splits: (way of splitting, split) -> what it means that the files lack the split.
        sources: The downloads of its annotations; empty if users bring the files.
        hub: The dataset on the Hugging Face hub, OWNER/NAME, that is read where no folder is named.
        hub_files: Beginnings of the paths there that are fetched, and unpacked under the data root; None of a table,
            whose files are read where the hub's library keeps them; empty for all.
        obtain: Where people get the published files of what cannot be downloaded.
        images: The images that it is about, where these are kept apart from the annotations.
        find: Returns its annotation files in or below a folder, for a way of splitting. Raises `DataError` if they
            are not there.
        image_names: Returns the file names of all of its images, without parsing every annotation.
        source_flag: The option that names the published files.
        source_help: The help of that option.
        options: Further options of its command.
        linkable: Whether its images are files, which a store can point to.
        can_drop: Whether what lacks its image or mask can be left out with --allow-missing.
        stored_as: The names that its stores carry besides `name`.
        counted: What is reported of each split: kind of count -> its name.
    """

    name: str
    help: str
    example: str
    read: Callable[..., Dataset] | None
    protocol: str = "original"
    split_by: tuple[str, ...] = ()
    published: Mapping[str, Mapping[str, Counts]] = field(default_factory=dict)
    quoted_totals: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    missing_splits: Mapping[tuple[str, str], str] = field(default_factory=dict)
    sources: tuple[Source, ...] = ()
    hub: str = ""
    hub_files: tuple[str, ...] | None = None
    obtain: str = ""
    images: ImageCollection | None = None
    find: Callable[[Path, str], AnnotationFiles] | None = None
    image_names: Callable[[AnnotationFiles], list[str]] | None = None
    source_flag: str = "--from"
    source_help: str = "Folder of the published files."
    options: tuple[DatasetOption, ...] = ()
    linkable: bool = True
    can_drop: bool = False
    stored_as: tuple[str, ...] = ()
    counted: Mapping[str, str] = field(
        default_factory=lambda: {"images": "images", "refs": "refs", "sentences": "sentences"}
    )

    @property
    def summary(self) -> str:
        """The first paragraph of the help."""
        return self.help.partition("\n")[0]

    def store_name(self, split_by: str) -> str:
        """Returns the file name of its store, unless the user gives one."""
        return f"{self.name}_{split_by}.h5" if split_by else f"{self.name}.h5"


OBJECTS_AND_SENTENCES: Mapping[str, str] = {"refs": "objects", "sentences": "sentences"}
"""What is reported of videos."""
VIDEOS_AND_SENTENCES: Mapping[str, str] = {"images": "videos", **OBJECTS_AND_SENTENCES}
"""What is reported of videos whose number is published: an object's image is the first frame of its video."""
