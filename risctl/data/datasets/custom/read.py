"""Reads a custom dataset in either of the forms of `FORMAT`, and reports everything that is wrong with it at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from risctl.data.datasets.custom import entries
from risctl.data.datasets.custom.builder import DatasetBuilder
from risctl.data.datasets.custom.issues import Issue, Location
from risctl.data.datasets.custom.read_format import COCO, images_of, read_format, recognised
from risctl.data.datasets.custom.register import DiskRegister, MemoryRegister, Register
from risctl.data.datasets.custom.table import SUFFIXES, rows, table_of
from risctl.data.download.addresses import AddressedFiles, parent_of
from risctl.data.formats.registry import READERS
from risctl.data.records import Dataset
from risctl.errors import DataError, UsageError, unknown_name
from risctl.network.largest import largest_download

Progress = Callable[[int, int | None], None]
"""Called with (done, total or None)."""

SHARES: Mapping[str, float] = {"train": 0.8, "val": 0.1, "test": 0.1}
FORMS = (COCO, *READERS)
"""The formats of annotation tools that are read, beside JSON Lines."""
REMOTE = Path("data/remote")
"""The folder that files of addresses are fetched into, unless another is named."""
LINE_KEYS = ("image", "text", "texts", "mask", "box", "split", "category", "abilities", "id", "image_id")
DOCUMENT_KEYS = {
    "images": ("id", "file_name", "height", "width", "split"),
    "categories": ("id", "name", "supercategory"),
    "annotations": (
        *("id", "image_id", "category_id", "segmentation", "mask", "bbox", "area", "iscrowd"),
        *("text", "texts", "split", "abilities", "attributes", "score"),
    ),
    "expressions": ("id", "image_id", "annotation_ids", "text", "texts", "split", "abilities"),
}
# What COCO's own files have besides, which needs no warning.
_COCO_KEYS = frozenset({"license", "flickr_url", "coco_url", "date_captured"})
_MAX_REPORTED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedFile:
    """A checked file.

    Attributes:
        path: The file or folder, or its address.
        dataset: What it holds, None if there are problems, or if it was only checked.
        counts: Images, refs and sentences by split; empty if there are problems.
        problems: What must be repaired, by line, the first `MOST_KEPT`.
        warnings: What is probably not intended, likewise.
        problem_count: How many problems there are.
        warning_count: How many warnings there are.
    """

    path: Path | str
    dataset: Dataset | None
    counts: Mapping[str, Mapping[str, int]]
    problems: tuple[Issue, ...]
    warnings: tuple[Issue, ...]
    problem_count: int
    warning_count: int


def check_custom(
    path: Path | str,
    *,
    images: Path | str | None = None,
    name: str | None = None,
    shares: Mapping[str, float] = SHARES,
    seed: int = 0,
    form: str | None = None,
    remote: Path = REMOTE,
    keep: bool = True,
    progress: Progress | None = None,
) -> CheckedFile:
    """Reads a file, a table or an annotation tool's folder, with all images and masks that it names.

    Args:
        path: JSON Lines, COCO-style JSON, a table (CSV, TSV, parquet) or its folder, or a file or folder of one of
            `FORMS`; or the address of a file, such as "s3://bucket/cups.csv".
        images: The folder, or the address of one, that image paths start from; None for the file's own; of the formats
            of annotation tools, for `images/` beside or within the folder.
        name: The name of the dataset, None for the file's.
        shares: Split -> its share of the images, if the file names no split.
        seed: Decides which image goes to which split.
        form: One of `FORMS`; None recognises it by its files.
        remote: The folder that files of addresses are fetched into.
        keep: Whether the dataset is built. If not, JSON Lines and tables of any length are checked in the same memory;
            what must be compared between lines is kept in a temporary file.
        progress: Called with (done, total or None) of lines or bytes.

    Returns:
        The dataset, or everything that is wrong with the file.

    Raises:
        UsageError: The format is unknown.
        DataError: The file cannot be read at all.
        MachineError: A package that reads the table or an address is not installed.
    """
    if isinstance(images, Path) and not images.is_dir():
        raise DataError(f"{images} is not a folder; give the one that the picture paths start from")
    if form is not None and form not in FORMS:
        raise UsageError(unknown_name("format", form, FORMS))
    files = AddressedFiles(remote)
    folder: Path | str
    if isinstance(path, str):
        file, folder = files.local(path, max_bytes=largest_download()), parent_of(path)
    else:
        file, folder = path, path if path.is_dir() else path.parent
        file = table_of(path) or path
    kind = form or (None if file.suffix.lower() in SUFFIXES else recognised(file))
    register: Register = MemoryRegister() if keep or kind is not None else DiskRegister()
    try:
        builder = DatasetBuilder(
            folder=folder,
            images=images or (folder if kind is None or isinstance(folder, str) else images_of(file, None)),
            files=files,
            register=register,
            keep=keep or kind is not None,
        )
        _read(file, kind, builder, progress)
        stem = Path(urlsplit(path).path).stem if isinstance(path, str) else path.stem
        dataset: Dataset | None = None
        counts: Mapping[str, Mapping[str, int]] | None = None
        if builder.keep:
            dataset = builder.build(name=name or stem, shares=shares, seed=seed)
            counts = dataset.counts() if dataset else None
        else:
            counts = builder.counts(shares=shares, seed=seed)
    finally:
        register.close()
    issues = builder.issues
    problems, warnings = (
        tuple(sorted(found, key=lambda one: one.line)) for found in (issues.problems, issues.warnings)
    )
    return CheckedFile(
        path=path,
        dataset=dataset if keep else None,
        counts=counts or {},
        problems=problems,
        warnings=warnings,
        problem_count=issues.problem_count,
        warning_count=issues.warning_count,
    )


def _read(file: Path, kind: str | None, builder: DatasetBuilder, progress: Progress | None) -> None:
    if kind == COCO:
        _read_document(entries.read(file / "instances.json" if file.is_dir() else file), builder, progress)
    elif kind is not None:
        read_format(file, READERS[kind], builder, progress=progress)
    elif file.suffix.lower() in SUFFIXES:
        _read_entries(rows(file, builder.issues, progress=progress), builder)
    elif entries.is_document(file):
        _read_document(entries.read(file), builder, progress)
    else:
        _read_entries(entries.lines(file, builder.issues, progress=progress), builder)


def _attributes(entry: Mapping[str, Any]) -> list[Any]:
    """Returns the phrases that an annotation tool kept among an annotation's attributes: `phrases`, or `phrase`."""
    attributes = entry.get("attributes")
    if not isinstance(attributes, dict):
        return []
    several, one = attributes.get("phrases"), attributes.get("phrase")
    if isinstance(several, list) and several:
        return several
    return [one] if isinstance(one, str) and one.strip() else []


def refusal(checked: CheckedFile) -> DataError:
    """Returns the error that names the first few problems of a file, by line."""
    path, problems = checked.path, checked.problems
    reported = "; ".join(f"line {problem.line}: {problem.message}" for problem in problems[:_MAX_REPORTED])
    left = checked.problem_count - min(len(problems), _MAX_REPORTED)
    more = f"; and {left:,} more" if left else ""
    return DataError(f"{path}: {reported}{more}. See all with `risctl data check {path}`")


def _read_entries(found: Iterable[entries.Entry], builder: DatasetBuilder) -> None:
    for location, entry in found:
        if "file_name" in entry and "image" not in entry:
            entry["image"] = entry.pop("file_name")
        builder.issues.keys(location, entry, LINE_KEYS)
        if "image" not in entry:
            builder.issues.problem(location, "has no image")
            image = None
        else:
            image = builder.add_image(location, entry["image"], image_id=entry.get("image_id"))
        if entry.get("box") is not None:
            _box_to_mask(location, entry, builder)
        if "mask" not in entry:
            builder.issues.problem(location, "has no mask; for a text about nothing in the picture write null")
        numbers: list[int] = []
        if image is not None and entry.get("mask") is not None:
            mask = builder.read_mask(location, image, entry["mask"])
            if mask is not None:
                numbers.append(builder.add_annotation(location, image, mask, category=entry.get("category")))
        builder.add_target(location, image, entry, annotations=numbers)


def _box_to_mask(location: Location, entry: dict[str, Any], builder: DatasetBuilder) -> None:
    """Puts the rectangle of a box into the place of the mask."""
    box = entry["box"]
    if entry.get("mask") is not None:
        builder.issues.problem(location, "has both mask and box; keep one")
        return
    entry["mask"] = None
    if (
        not isinstance(box, list)
        or len(box) != 4
        or not all(isinstance(side, int | float) and not isinstance(side, bool) for side in box)
        or min(box[2:]) <= 0
    ):
        builder.issues.problem(location, f"box: expected x, y, width, height in pixels, got {box!r:.60}")
        return
    x, y, width, height = box
    entry["mask"] = [[x, y, x + width, y, x + width, y + height, x, y + height]]


def _read_document(data: bytes, builder: DatasetBuilder, progress: Progress | None) -> None:
    lists = entries.document(data, builder.issues)
    if not lists and builder.issues.problems:
        return
    for key in ("images", "annotations"):
        if key not in lists:
            builder.issues.problem(Location(1), f"has no list of {key!r}; expected COCO-style JSON")
    for key, known in DOCUMENT_KEYS.items():
        for location, entry in lists.get(key, []):
            builder.issues.keys(location, entry.keys() - _COCO_KEYS, known)
    _Document(lists, builder, progress).read()


class _Document:
    """The lists of a COCO-style file, which point to each other by ids."""

    def __init__(
        self, lists: Mapping[str, list[entries.Entry]], builder: DatasetBuilder, progress: Progress | None
    ) -> None:
        self.lists, self.builder, self.progress = lists, builder, progress
        self.issues = builder.issues
        self.images: dict[Any, tuple[str | None, dict[str, Any]]] = {}
        self.categories: dict[Any, Any] = {}
        self.annotations: dict[Any, tuple[Any, int | None]] = {}

    def read(self) -> None:
        self._read_images()
        for location, entry in self._unique("categories"):
            self.categories[entry["id"]] = entry.get("name")
            if not isinstance(entry.get("name"), str) or not entry["name"].strip():
                self.issues.problem(location, f"name: expected a text, got {entry.get('name')!r:.60}")
        total = sum(len(self.lists.get(key, [])) for key in ("annotations", "expressions"))
        for done, (location, entry) in enumerate(self._unique("annotations"), start=1):
            self._read_annotation(location, entry)
            if self.progress:
                self.progress(done, total)
        for location, entry in self.lists.get("expressions", []):
            self._read_expression(location, entry)

    def _unique(self, key: str) -> Iterable[entries.Entry]:
        """Yields the entries that have an id of their own, and reports the others."""
        seen: dict[Any, Location] = {}
        for location, entry in self.lists.get(key, []):
            number = entry.get("id")
            if not isinstance(number, int) or isinstance(number, bool):
                self.issues.problem(location, f"id: expected a whole number, got {number!r:.40}")
            elif seen.setdefault(number, location) is not location:
                self.issues.problem(location, f"id {number} is taken already, by {seen[number]}")
            else:
                yield location, entry

    def _read_images(self) -> None:
        for location, entry in self._unique("images"):
            image = self.builder.add_image(location, entry.get("file_name"), image_id=entry["id"])
            self.images[entry["id"]] = image, entry
            listed = entry.get("height"), entry.get("width")
            found = self.builder.size(image) if image else listed
            if any(one is not None and one != other for one, other in zip(listed, found, strict=True)):
                self.issues.problem(
                    location,
                    f"is listed with height {listed[0]!r:.12} and width {listed[1]!r:.12}, "
                    f"its file has {found[0]} and {found[1]}",
                )

    def _image_of(self, location: Location, entry: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any]]:
        """Returns the image that `entry` is about, with the split that goes for it."""
        try:
            image, listed = self.images[entry.get("image_id")]
        except (KeyError, TypeError):
            self.issues.problem(location, f"image_id: there is no image {entry.get('image_id')!r:.40}")
            return None, entry
        return image, {"split": listed.get("split"), **entry}

    def _read_annotation(self, location: Location, entry: dict[str, Any]) -> None:
        image, inherited = self._image_of(location, entry)
        if ("segmentation" in entry) == ("mask" in entry):
            both = "has both segmentation and mask; keep one" if "mask" in entry else "has no segmentation (or mask)"
            self.issues.problem(location, both)
        category = None
        if entry.get("category_id") is not None:
            try:
                category = self.categories[entry["category_id"]]
            except (KeyError, TypeError):
                self.issues.problem(location, f"category_id: there is no category {entry['category_id']!r:.40}")
        number = None
        if image is not None:
            mask = self.builder.read_mask(location, image, entry.get("segmentation", entry.get("mask")))
            if mask is not None:
                number = self.builder.add_annotation(
                    location, image, mask, category=category, number=entry["id"], crowd=bool(entry.get("iscrowd"))
                )
        self.annotations[entry["id"]] = entry.get("image_id"), number
        phrases = _attributes(entry)
        if phrases and "text" not in entry and "texts" not in entry:
            inherited = {**inherited, "texts": phrases}
        if "text" in inherited or "texts" in inherited:
            inherited = {key: value for key, value in inherited.items() if key != "id"}
            self.builder.add_target(location, image, inherited, annotations=[] if number is None else [number])

    def _read_expression(self, location: Location, entry: dict[str, Any]) -> None:
        image, inherited = self._image_of(location, entry)
        wanted, numbers = entry.get("annotation_ids"), []
        if not isinstance(wanted, list):
            self.issues.problem(
                location, f"annotation_ids: expected a list, empty if the text is about nothing; got {wanted!r:.40}"
            )
            wanted = []
        for annotation_id in wanted:
            try:
                of_image, number = self.annotations[annotation_id]
            except (KeyError, TypeError):
                self.issues.problem(location, f"annotation_ids: there is no annotation {annotation_id!r:.40}")
                continue
            if of_image != entry.get("image_id"):
                self.issues.problem(
                    location, f"annotation_ids: annotation {annotation_id} is of image {of_image!r:.40}"
                )
            elif number is not None:
                numbers.append(number)
        self.builder.add_target(location, image, inherited, annotations=list(dict.fromkeys(numbers)))
