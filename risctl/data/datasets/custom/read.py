"""Reading a dataset of a user's own, in either form, and checking all of it at once. Source of the forms: `FORMAT`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from risctl.data.datasets.custom import entries
from risctl.data.datasets.custom.draft import Draft
from risctl.data.datasets.custom.findings import Finding, Place
from risctl.data.records import Dataset
from risctl.errors import DataError

Progress = Callable[[int, int | None], None]
"""Called with (done, total or None)."""

SHARES: Mapping[str, float] = {"train": 0.8, "val": 0.1, "test": 0.1}
LINE_KEYS = ("image", "text", "texts", "mask", "split", "category", "abilities", "id", "image_id")
DOCUMENT_KEYS = {
    "images": ("id", "file_name", "height", "width", "split"),
    "categories": ("id", "name", "supercategory"),
    "annotations": (
        *("id", "image_id", "category_id", "segmentation", "mask", "bbox", "area", "iscrowd"),
        *("text", "texts", "split", "abilities"),
    ),
    "expressions": ("id", "image_id", "annotation_ids", "text", "texts", "split", "abilities"),
}
# What COCO's own files have besides; nobody needs to hear of it.
_OTHERS = frozenset({"license", "flickr_url", "coco_url", "date_captured"})
_TOLD = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a file is: the dataset, None if there are problems; problems and warnings by line."""

    path: Path
    dataset: Dataset | None
    problems: tuple[Finding, ...]
    warnings: tuple[Finding, ...]


def check_custom(
    path: Path,
    *,
    images: Path | None = None,
    name: str | None = None,
    shares: Mapping[str, float] = SHARES,
    seed: int = 0,
    progress: Progress | None = None,
) -> Checked:
    """Reads the file `path`, with all pictures and masks that it names, and return everything that is wrong with it.

    `images` is the folder that picture paths start from (None: the file's own); `name` the dataset's (None: the
    file's). Pictures are shared out by `shares`, at random by `seed`, if the file names no split. `progress` is called
    with (done, total or None) entries. Raises `DataError` only if the file cannot be read at all.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder; give the .jsonl or .json file")
    if images is not None and not images.is_dir():
        raise DataError(f"{images} is no folder; give the one that the picture paths start from")
    data = entries.read(path)
    draft = Draft(folder=path.parent, images=images or path.parent)
    if entries.is_document(path, data):
        _read_document(data, draft, progress)
    else:
        _read_lines(data, draft, progress)
    dataset = draft.finish(name=name or path.stem, shares=shares, seed=seed)
    problems, warnings = (
        tuple(sorted(found, key=lambda one: one.line)) for found in (draft.findings.problems, draft.findings.warnings)
    )
    return Checked(path=path, dataset=dataset, problems=problems, warnings=warnings)


def refuse(checked: Checked) -> DataError:
    """Returns the error that tells the first few problems of a file, by line."""
    path, problems = checked.path, checked.problems
    told = "; ".join(f"line {one.line}: {one.message}" for one in problems[:_TOLD])
    more = f"; and {len(problems) - _TOLD:,} more" if len(problems) > _TOLD else ""
    return DataError(f"{path}: {told}{more}. See all with `risctl data check {path}`")


def _read_lines(data: bytes, draft: Draft, progress: Progress | None) -> None:
    total = data.count(b"\n") + 1
    for place, entry in entries.lines(data, draft.findings):
        draft.findings.keys(place, entry, LINE_KEYS)
        if "image" not in entry:
            draft.findings.problem(place, "has no image")
            image = None
        else:
            image = draft.picture(place, entry["image"], image_id=entry.get("image_id"))
        if "mask" not in entry:
            draft.findings.problem(place, "has no mask; for a text about nothing in the picture write null")
        things: list[int] = []
        if image is not None and entry.get("mask") is not None:
            mask = draft.mask(place, image, entry["mask"])
            if mask is not None:
                things.append(draft.annotation(place, image, mask, category=entry.get("category")))
        draft.target(place, image, entry, annotations=things)
        if progress:
            progress(place.line, total)


def _read_document(data: bytes, draft: Draft, progress: Progress | None) -> None:
    lists = entries.document(data, draft.findings)
    if not lists and draft.findings.problems:
        return
    for key in ("images", "annotations"):
        if key not in lists:
            draft.findings.problem(Place(1), f"has no list of {key!r}; expected COCO-style JSON")
    for key, known in DOCUMENT_KEYS.items():
        for place, entry in lists.get(key, []):
            draft.findings.keys(place, entry.keys() - _OTHERS, known)
    _Document(lists, draft, progress).read()


class _Document:
    """The lists of a COCO-style file, which point to each other by ids."""

    def __init__(self, lists: Mapping[str, list[entries.Entry]], draft: Draft, progress: Progress | None) -> None:
        self.lists, self.draft, self.progress = lists, draft, progress
        self.findings = draft.findings
        self.images: dict[Any, tuple[str | None, dict[str, Any]]] = {}
        self.categories: dict[Any, Any] = {}
        self.annotations: dict[Any, tuple[Any, int | None]] = {}

    def read(self) -> None:
        self._read_images()
        for place, entry in self._unique("categories"):
            self.categories[entry["id"]] = entry.get("name")
            if not isinstance(entry.get("name"), str) or not entry["name"].strip():
                self.findings.problem(place, f"name: expected a text, got {entry.get('name')!r:.60}")
        total = sum(len(self.lists.get(key, [])) for key in ("annotations", "expressions"))
        for done, (place, entry) in enumerate(self._unique("annotations"), start=1):
            self._read_annotation(place, entry)
            if self.progress:
                self.progress(done, total)
        for place, entry in self.lists.get("expressions", []):
            self._read_expression(place, entry)

    def _unique(self, key: str) -> Iterable[entries.Entry]:
        """Yields the entries that have an id of their own; note the others."""
        seen: dict[Any, Place] = {}
        for place, entry in self.lists.get(key, []):
            number = entry.get("id")
            if not isinstance(number, int) or isinstance(number, bool):
                self.findings.problem(place, f"id: expected a whole number, got {number!r:.40}")
            elif seen.setdefault(number, place) is not place:
                self.findings.problem(place, f"id {number} is taken already, by {seen[number]}")
            else:
                yield place, entry

    def _read_images(self) -> None:
        for place, entry in self._unique("images"):
            image = self.draft.picture(place, entry.get("file_name"), image_id=entry["id"])
            self.images[entry["id"]] = image, entry
            listed = entry.get("height"), entry.get("width")
            found = self.draft.size(image) if image else listed
            if any(one is not None and one != other for one, other in zip(listed, found, strict=True)):
                self.findings.problem(
                    place,
                    f"is listed with height {listed[0]!r:.12} and width {listed[1]!r:.12}, "
                    f"its file has {found[0]} and {found[1]}",
                )

    def _image_of(self, place: Place, entry: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any]]:
        """Returns the picture that `entry` is about, with the split that goes for it."""
        try:
            image, listed = self.images[entry.get("image_id")]
        except (KeyError, TypeError):
            self.findings.problem(place, f"image_id: there is no image {entry.get('image_id')!r:.40}")
            return None, entry
        return image, {"split": listed.get("split"), **entry}

    def _read_annotation(self, place: Place, entry: dict[str, Any]) -> None:
        image, said = self._image_of(place, entry)
        if ("segmentation" in entry) == ("mask" in entry):
            both = "has both segmentation and mask; keep one" if "mask" in entry else "has no segmentation (or mask)"
            self.findings.problem(place, both)
        category = None
        if entry.get("category_id") is not None:
            try:
                category = self.categories[entry["category_id"]]
            except (KeyError, TypeError):
                self.findings.problem(place, f"category_id: there is no category {entry['category_id']!r:.40}")
        thing = None
        if image is not None:
            mask = self.draft.mask(place, image, entry.get("segmentation", entry.get("mask")))
            if mask is not None:
                thing = self.draft.annotation(
                    place, image, mask, category=category, number=entry["id"], crowd=bool(entry.get("iscrowd"))
                )
        self.annotations[entry["id"]] = entry.get("image_id"), thing
        if "text" in entry or "texts" in entry:
            said = {key: value for key, value in said.items() if key != "id"}
            self.draft.target(place, image, said, annotations=[] if thing is None else [thing])

    def _read_expression(self, place: Place, entry: dict[str, Any]) -> None:
        image, said = self._image_of(place, entry)
        wanted, things = entry.get("annotation_ids"), []
        if not isinstance(wanted, list):
            self.findings.problem(
                place, f"annotation_ids: expected a list, empty if the text is about nothing; got {wanted!r:.40}"
            )
            wanted = []
        for number in wanted:
            try:
                of_image, thing = self.annotations[number]
            except (KeyError, TypeError):
                self.findings.problem(place, f"annotation_ids: there is no annotation {number!r:.40}")
                continue
            if of_image != entry.get("image_id"):
                self.findings.problem(place, f"annotation_ids: annotation {number} is of image {of_image!r:.40}")
            elif thing is not None:
                things.append(thing)
        self.draft.target(place, image, said, annotations=list(dict.fromkeys(things)))
