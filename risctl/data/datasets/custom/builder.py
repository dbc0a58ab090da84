"""Builds a dataset from a user's file, entry by entry, and collects problems with their lines."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from risctl.data import splits
from risctl.data.datasets.custom.images import CustomImage, UprightImages, inspect_image, path_within, read_mask_file
from risctl.data.datasets.custom.issues import Issues, Location
from risctl.data.records import Annotation, Dataset, Expression, Record
from risctl.errors import DataError
from risctl.language.tokens import words_of
from risctl.vision import rle

Key = TypeVar("Key", bound=Hashable)
MAX_ID = 2**62
DEFAULT_CATEGORY = "thing"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    location: Location
    image: str
    annotations: tuple[int, ...]
    texts: tuple[str, ...]
    split: str | None
    abilities: tuple[str, ...]
    number: int | None


class DatasetBuilder:
    """Collects what a file says, and what is wrong with it in `issues`.

    Args:
        folder: The folder that mask paths start from.
        images: The folder that image paths start from.
    """

    def __init__(self, *, folder: Path, images: Path) -> None:
        self.folder, self.images = folder, images
        self.issues = Issues()
        self._images: dict[str, CustomImage | None] = {}
        self._image_ids: dict[str, int] = {}
        self._categories: dict[str, int] = {}
        self._annotations: list[tuple[str, Annotation]] = []
        self._annotation_ids: dict[int, int] = {}
        self._mask_numbers: dict[tuple[str, int, str], int] = {}
        self._targets: list[_Target] = []
        self._numbers: dict[str, dict[int, Location]] = {}

    def add_image(self, location: Location, name: Any, *, image_id: Any = None) -> str | None:
        """Adds the image of the file `name` and returns its key, None if it cannot be used.

        What is wrong with an image is reported once, at the first line that names it.
        """
        try:
            path = path_within(self.images, name)
        except DataError as error:
            self.issues.problem(location, f"image: {error}")
            return None
        key = str(path)
        if key not in self._images:
            try:
                self._images[key] = inspect_image(path, name=str(name).replace("\\", "/"))
            except (DataError, OSError) as error:
                self._images[key] = None
                self.issues.problem(location, f"image: {error}")
        if image_id is not None and image_id != self._image_ids.get(key):
            if key in self._image_ids:
                before = self._image_ids[key]
                self.issues.problem(location, f"image_id {image_id!r:.40}: this picture had {before} before")
            elif self._is_unused_id(location, "image_id", image_id):
                self._image_ids[key] = image_id
        return key if self._images[key] is not None else None

    def size(self, image: str) -> tuple[int, int]:
        """Returns the (height, width) of an image that was added."""
        image_file = self._images[image]
        return (image_file.height, image_file.width) if image_file else (0, 0)

    def read_mask(self, location: Location, image: str, value: Any) -> rle.RLE | None:
        """Returns the mask that `value` describes in any of the ways of the format, None if it cannot be used."""
        image_file = self._images[image]
        if image_file is None:
            return None
        height, width = image_file.height, image_file.width
        try:
            if isinstance(value, str):
                mask = read_mask_file(path_within(self.folder, value), height=height, width=width)
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
        """Adds an instance of an image and returns its index.

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
        self._targets.append(
            _Target(
                location=location,
                image=image or "",
                annotations=tuple(annotations),
                texts=texts,
                split=self._split(location, entry),
                abilities=self._ability_names(location, entry, "abilities"),
                number=number,
            )
        )

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
        before = self._numbers.setdefault(key, {}).setdefault(number, location)
        if before is not location:
            self.issues.problem(location, f"{key} {number} is taken already, by {before}")
        return before is location

    def build(self, *, name: str, shares: Mapping[str, float], seed: int) -> Dataset | None:
        """Returns the dataset, None if there are problems; `issues` then include those of the file as a whole.

        Args:
            name: The dataset's name.
            shares: Split -> its share of the images, used if no entry names a split.
            seed: Decides which image goes to which split.
        """
        if not self._targets and not self.issues.problems:
            self.issues.problem(Location(1), "there is no text, and so nothing to learn or to measure")
        self._check_splits()
        if self.issues.problems:
            return None
        self._warn_of_ambiguous_texts()
        used = sorted({target.image for target in self._targets})
        given = any(target.split is not None for target in self._targets)
        split_of = {} if given else splits.assign_splits(used, shares=shares, seed=seed)
        for split in shares.keys() - split_of.values() if split_of else ():
            self.issues.warn(Location(1), f"no picture falls to split {split}: {len(used)} are too few for its share")
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

    def _check_splits(self) -> None:
        without = [target for target in self._targets if target.split is None]
        if len(without) == len(self._targets):
            return
        for target in without:
            self.issues.problem(target.location, "no split, though others have one; give all of them one, or none")
        first: dict[str, _Target] = {}
        reported = set()
        for target in self._targets:
            before = first.setdefault(target.image, target)
            if before.split != target.split and target.image not in reported:
                reported.add(target.image)
                self.issues.warn(
                    target.location,
                    f"its picture is in split {target.split}, and in {before.split} by {before.location}: "
                    f"what is tested has been trained on",
                )

    def _warn_of_ambiguous_texts(self) -> None:
        """Warns of texts that one image has for two targets: no model can answer both."""
        first: dict[tuple[str, str], _Target] = {}
        for target in self._targets:
            for text in target.texts:
                before = first.setdefault((target.image, " ".join(words_of(text))), target)
                if before.annotations != target.annotations:
                    self.issues.warn(
                        target.location, f"the text {text!r:.60} has another target in this picture ({before.location})"
                    )


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
