"""Builds a dataset from a user's file, entry by entry, and collects problems with their lines."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from risctl.data import splits
from risctl.data.datasets.custom.comparisons import Comparisons, Target, warn_of_empty_splits
from risctl.data.datasets.custom.images import CustomImage, UprightImages, inspect_image, path_within, read_mask_file
from risctl.data.datasets.custom.issues import Issues, Location
from risctl.data.datasets.custom.register import MemoryRegister, Register, number_of
from risctl.data.download.addresses import AddressedFiles, is_address, joined, shown_name
from risctl.data.records import Annotation, Dataset, Expression, Record
from risctl.errors import DataError
from risctl.language.tokens import words_of
from risctl.vision import rle

Key = TypeVar("Key", bound=Hashable)
MAX_ID = 2**62
DEFAULT_CATEGORY = "thing"


class DatasetBuilder:
    """Collects what a file says, and what is wrong with it in `issues`.

    Args:
        folder: The folder, or the address of one, that mask paths start from.
        images: The same for image paths.
        files: Fetches the files of addresses.
        register: Remembers what must be compared; in memory by default.
        keep: Whether a dataset will be built; else the file is only checked, and memory does not grow with it but for
            what `register` keeps there.
    """

    def __init__(
        self,
        *,
        folder: Path | str,
        images: Path | str,
        files: AddressedFiles | None = None,
        register: Register | None = None,
        keep: bool = True,
    ) -> None:
        self.folder, self.images = folder, images
        self.issues = Issues()
        self._files = files or AddressedFiles(Path("data/remote"))
        self._register = register or MemoryRegister()
        self.keep = keep
        self._comparisons = Comparisons(self._register)
        # What a dataset is made of; nothing of it is kept where a file is only checked.
        self._images: dict[str, CustomImage | None] = {}
        self._image_ids: dict[str, int] = {}
        self._categories: dict[str, int] = {}
        self._annotations: list[tuple[str, Annotation]] = []
        self._annotation_ids: dict[int, int] = {}
        self._mask_numbers: dict[tuple[str, int, str], int] = {}
        self._targets: list[Target] = []

    def add_image(self, location: Location, name: Any, *, image_id: Any = None) -> str | None:
        """Adds the image of the file `name` and returns its key, None if it cannot be used.

        What is wrong with an image is reported once, at the first line that names it.
        """
        try:
            key = self._place(self.images, name)
        except DataError as error:
            self.issues.problem(location, f"image: {error}")
            return None
        known = self._register.get("image", key)
        if known is None:
            found = self._inspected(location, key, name)
            size = (found.height, found.width) if found else (0, 0)
            known = self._register.first("image", key, (location, *size))
            if self.keep:
                self._images[key] = found
        if image_id is not None:
            self._set_image_id(location, key, image_id)
        return key if known[1] else None

    def _place(self, base: Path | str, name: Any) -> str:
        """Returns the path or address of a file that is named from a folder or its address."""
        if is_address(name):
            return str(name)
        if isinstance(base, str):
            return joined(base, name if isinstance(name, str) else "")
        return str(path_within(base, name))

    def _local(self, place: str) -> Path:
        return self._files.local(place) if is_address(place) else Path(place)

    def _inspected(self, location: Location, place: str, name: Any) -> CustomImage | None:
        try:
            shown = shown_name(place) if is_address(place) else str(name).replace("\\", "/")
            return inspect_image(self._local(place), name=shown)
        except (DataError, OSError) as error:
            self.issues.problem(location, f"image: {error}")
            return None

    def _set_image_id(self, location: Location, image: str, image_id: Any) -> None:
        before = self._register.get("id of image", image)
        if before is not None:
            if before[1] != image_id:
                self.issues.problem(location, f"image_id {image_id!r:.40}: this picture had {before[1]} before")
        elif self._is_unused_id(location, "image_id", image_id):
            self._register.first("id of image", image, (location, image_id, 0))
            if self.keep:
                self._image_ids[image] = image_id

    def size(self, image: str) -> tuple[int, int]:
        """Returns the (height, width) of an image that was added."""
        known = self._register.get("image", image)
        return (known[1], known[2]) if known else (0, 0)

    def read_mask(self, location: Location, image: str, value: Any) -> rle.RLE | None:
        """Returns the mask that `value` describes in any of the ways of the format, None if it cannot be used."""
        height, width = self.size(image)
        try:
            if isinstance(value, str):
                mask = read_mask_file(self._local(self._place(self.folder, value)), height=height, width=width)
            else:
                mask = rle.from_segmentation(_as_segmentation(value), height=height, width=width)
        except DataError as error:
            self.issues.problem(location, f"mask: {error}")
            return None
        area = rle.area(mask)
        if area == 0:
            self.issues.problem(location, "mask: no pixel of the picture is in it; for a text about nothing write null")
            return None
        if area == height * width:
            self.issues.warn(location, "mask: it is the whole picture")
        return mask

    def add_annotation(
        self,
        location: Location,
        image: str,
        mask: rle.RLE,
        *,
        category: Any = None,
        number: Any = None,
        crowd: bool = False,
    ) -> int:
        """Adds an instance of an image and returns its index, or another number of its own where none is kept.

        Args:
            location: Where the file names it.
            image: The key of the image.
            mask: Its mask.
            category: Its category's name, None for the default.
            number: Its id; without one, the same mask of the same category is the same instance.
            crowd: Whether it is a crowd.
        """
        category = DEFAULT_CATEGORY if category is None else category
        if not isinstance(category, str) or not category.strip():
            self.issues.problem(location, f"category: expected a text, got {category!r:.60}")
            category = DEFAULT_CATEGORY
        if not self.keep:
            return number_of(f"{category.strip()}\0{mask['counts']}")
        category_id = self._categories.setdefault(category.strip(), len(self._categories) + 1)
        known = (image, category_id, mask["counts"])
        if number is None and known in self._mask_numbers:
            return self._mask_numbers[known]
        one = Annotation(
            annotation_id=0, image_id=0, category_id=category_id, box=rle.box(mask), mask=mask, crowd=crowd
        )
        if number is not None and self._is_unused_id(location, "annotation id", number):
            self._annotation_ids[len(self._annotations)] = number
        self._mask_numbers[known] = len(self._annotations)
        self._annotations.append((image, one))
        return self._mask_numbers[known]

    def add_target(
        self, location: Location, image: str | None, entry: Mapping[str, Any], *, annotations: Sequence[int]
    ) -> None:
        """Adds a target: the texts, split, abilities and id of `entry`.

        Args:
            location: Where the file names it.
            image: The key of its image; None if that has a problem, so that the rest is checked all the same.
            entry: The entry.
            annotations: The indices of its instances.
        """
        texts = self._texts(location, entry)
        number = entry.get("id")
        if number is not None and not self._is_unused_id(location, "id", number):
            number = None
        target = Target(
            location=location,
            image=image or "",
            annotations=tuple(annotations),
            texts=texts,
            split=self._split(location, entry),
            abilities=self._ability_names(location, entry, "abilities"),
            number=number,
        )
        self._comparisons.add(target)
        if self.keep:
            self._targets.append(target)
        elif image is not None:
            self._comparisons.count(target)

    def _split(self, location: Location, entry: Mapping[str, Any]) -> str | None:
        """Returns the split that `entry` names, None if it names none that can be used."""
        value = entry.get("split")
        if value is None:
            return None
        if not isinstance(value, str) or not value.strip() or len(value) > 64 or not value.isprintable():
            self.issues.problem(location, f"split: expected a name such as train, got {value!r:.60}")
            return None
        if value.strip() == "all":
            self.issues.problem(location, "split: all means every split together; choose another name")
            return None
        return value.strip()

    def _texts(self, location: Location, entry: Mapping[str, Any]) -> tuple[str, ...]:
        if ("text" in entry) == ("texts" in entry):
            both = "has both text and texts; keep one" if "text" in entry else "has no text (or texts)"
            self.issues.problem(location, both)
            return ()
        value = entry["texts"] if "texts" in entry else [entry["text"]]
        if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in value):
            expected = "a list of texts" if "texts" in entry else "a text"
            self.issues.problem(location, f"expected {expected}, got {entry.get('texts', entry.get('text'))!r:.60}")
            return ()
        if not all(text.strip() for text in value):
            self.issues.problem(location, "a text is empty")
        if any("\ud800" <= sign <= "\udfff" for text in value for sign in text):
            self.issues.problem(location, "a text has half of a character (a lone surrogate)")
        return tuple(value)

    def _ability_names(self, location: Location, entry: Mapping[str, Any], key: str) -> tuple[str, ...]:
        value = entry.get(key) or []
        if not isinstance(value, list) or not all(isinstance(one, str) and one.strip() for one in value):
            self.issues.problem(location, f"{key}: expected a list of names, got {value!r:.60}")
            return ()
        return tuple(dict.fromkeys(one.strip() for one in value))

    def _is_number(self, location: Location, key: str, value: Any) -> bool:
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < MAX_ID:
            return True
        self.issues.problem(location, f"{key}: expected a whole number, got {value!r:.40}")
        return False

    def _is_unused_id(self, location: Location, key: str, number: Any) -> bool:
        """Returns whether `number` is an id that no entry of the same list has had before."""
        if not self._is_number(location, key, number):
            return False
        row = (location, 0, 0)
        before = self._register.first(key, str(number), row)
        if before is not row:
            self.issues.problem(location, f"{key} {number} is taken already, by {before[0]}")
        return before is row

    def build(self, *, name: str, shares: Mapping[str, float], seed: int) -> Dataset | None:
        """Returns the dataset, None if there are problems; `issues` then include those of the file as a whole.

        Args:
            name: The dataset's name.
            shares: Split -> its share of the images, used if no entry names a split.
            seed: Decides which image goes to which split.
        """
        if not self._comparisons.finish(self.issues):
            return None
        used = sorted({target.image for target in self._targets})
        given = any(target.split is not None for target in self._targets)
        split_of = {} if given else splits.assign_splits(used, shares=shares, seed=seed)
        if not given:
            warn_of_empty_splits(self.issues, len(used), shares.keys() - split_of.values())
        ids = _numbered(used, self._image_ids)
        annotation_ids = _numbered(range(len(self._annotations)), self._annotation_ids)
        return Dataset(
            name=name,
            split_by="given" if given else f"picture, seed {seed}",
            categories={number: category for category, number in self._categories.items()},
            images=UprightImages(
                {ids[key]: one for key, one in self._images.items() if key in ids and one is not None}
            ),
            annotations={
                annotation_ids[index]: replace(one, annotation_id=annotation_ids[index], image_id=ids[image])
                for index, (image, one) in enumerate(self._annotations)
                if image in ids
            },
            records=list(self._records(ids, annotation_ids, split_of)),
        )

    def _records(
        self, ids: Mapping[str, int], annotation_ids: Mapping[int, int], split_of: Mapping[str, str]
    ) -> Iterator[Record]:
        given = {index: one.number for index, one in enumerate(self._targets) if one.number is not None}
        numbers, sentence_ids = _numbered(range(len(self._targets)), given), count(1)
        for index, target in enumerate(self._targets):
            yield Record(
                ref_id=numbers[index],
                image_id=ids[target.image],
                split=target.split or split_of[target.image],
                annotation_ids=tuple(annotation_ids[annotation] for annotation in target.annotations),
                expressions=tuple(
                    Expression(
                        sentence_id=next(sentence_ids),
                        raw=text,
                        sent=" ".join(words_of(text)),
                        tokens=tuple(words_of(text)),
                        abilities=target.abilities,
                    )
                    for text in target.texts
                ),
            )

    def counts(self, *, shares: Mapping[str, float], seed: int) -> Mapping[str, Mapping[str, int]] | None:
        """Returns what `Dataset.counts` of a checked file would, None if there are problems; see `build`."""
        if not self._comparisons.finish(self.issues):
            return None
        return self._comparisons.counts(self.issues, shares=shares, seed=seed)


def _numbered(keys: Iterable[Key], given: Mapping[Key, int]) -> dict[Key, int]:
    """Returns a number for each key: its own index given, else the next ones above all."""
    following = count(max([0, *given.values()]) + 1)
    return {key: given[key] if key in given else next(following) for key in keys}


def _as_segmentation(value: Any) -> Any:
    """Returns a mask that is no path as COCO's segmentation has it: points joined, one polygon made a list."""
    if not isinstance(value, list) or not value:
        return value
    if not any(isinstance(part, list | dict) for part in value):
        return [value]
    if all(isinstance(part, list) and len(part) == 2 for part in value):
        return [[number for point in value for number in point]]
    return value
