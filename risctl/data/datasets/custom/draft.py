"""A dataset in the making: what a user's file says, checked piece by piece, problems noted with their lines."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from risctl.data import splits
from risctl.data.datasets.custom.findings import Findings, Place
from risctl.data.datasets.custom.images import Picture, Records, inside, look_at, read_mask_file
from risctl.data.records import Annotation, Dataset, Expression, Record
from risctl.errors import DataError
from risctl.language.tokens import words_of
from risctl.vision import rle

Key = TypeVar("Key", bound=Hashable)
LARGEST_ID = 2**62
DEFAULT_CATEGORY = "thing"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    place: Place
    image: str
    annotations: tuple[int, ...]
    texts: tuple[str, ...]
    split: str | None
    abilities: tuple[str, ...]
    number: int | None


class Draft:
    """What has been taken from the file so far. `folder` holds its masks, `images` its pictures."""

    def __init__(self, *, folder: Path, images: Path) -> None:
        self.folder, self.images = folder, images
        self.findings = Findings()
        self._pictures: dict[str, Picture | None] = {}
        self._image_ids: dict[str, int] = {}
        self._categories: dict[str, int] = {}
        self._annotations: list[tuple[str, Annotation]] = []
        self._annotation_ids: dict[int, int] = {}
        self._known_masks: dict[tuple[str, int, str], int] = {}
        self._targets: list[_Target] = []
        self._numbers: dict[str, dict[int, Place]] = {}

    # One piece after another.

    def picture(self, place: Place, name: Any, *, image_id: Any = None) -> str | None:
        """Takes the picture `name`; return what it is known by here, None if it cannot be used.

        What is wrong with a picture is noted once, at the first line that names it.
        """
        try:
            path = inside(self.images, name)
        except DataError as error:
            self.findings.problem(place, f"image: {error}")
            return None
        key = str(path)
        if key not in self._pictures:
            try:
                self._pictures[key] = look_at(path, name=str(name).replace("\\", "/"))
            except (DataError, OSError) as error:
                self._pictures[key] = None
                self.findings.problem(place, f"image: {error}")
        if image_id is not None and image_id != self._image_ids.get(key):
            if key in self._image_ids:
                before = self._image_ids[key]
                self.findings.problem(place, f"image_id {image_id!r:.40}: this picture had {before} before")
            elif self._is_own(place, "image_id", image_id):
                self._image_ids[key] = image_id
        return key if self._pictures[key] is not None else None

    def size(self, image: str) -> tuple[int, int]:
        """Returns the (height, width) of a picture that was taken."""
        picture = self._pictures[image]
        return (picture.height, picture.width) if picture else (0, 0)

    def mask(self, place: Place, image: str, value: Any) -> rle.RLE | None:
        """Returns the mask that `value` describes in any of the ways of the format, None if it cannot be used."""
        picture = self._pictures[image]
        if picture is None:
            return None
        height, width = picture.height, picture.width
        try:
            if isinstance(value, str):
                mask = read_mask_file(inside(self.folder, value), height=height, width=width)
            else:
                mask = rle.from_segmentation(_as_segmentation(value), height=height, width=width)
        except DataError as error:
            self.findings.problem(place, f"mask: {error}")
            return None
        area = rle.area(mask)
        if area == 0:
            self.findings.problem(place, "mask: no pixel of the picture is in it; for a text about nothing write null")
            return None
        if area == height * width:
            self.findings.warn(place, "mask: it is the whole picture")
        return mask

    def annotation(
        self, place: Place, image: str, mask: rle.RLE, *, category: Any = None, number: Any = None, crowd: bool = False
    ) -> int:
        """Takes a thing of the picture, with its own id if `number` is one; return where it is kept.

        Without ids, the same mask of the same category is the same thing.
        """
        category = DEFAULT_CATEGORY if category is None else category
        if not isinstance(category, str) or not category.strip():
            self.findings.problem(place, f"category: expected a text, got {category!r:.60}")
            category = DEFAULT_CATEGORY
        category_id = self._categories.setdefault(category.strip(), len(self._categories) + 1)
        known = (image, category_id, mask["counts"])
        if number is None and known in self._known_masks:
            return self._known_masks[known]
        one = Annotation(
            annotation_id=0, image_id=0, category_id=category_id, box=rle.box(mask), mask=mask, crowd=crowd
        )
        if number is not None and self._is_own(place, "annotation id", number):
            self._annotation_ids[len(self._annotations)] = number
        self._known_masks[known] = len(self._annotations)
        self._annotations.append((image, one))
        return self._known_masks[known]

    def target(self, place: Place, image: str | None, entry: Mapping[str, Any], *, annotations: Sequence[int]) -> None:
        """Takes what `entry` says of a target beside its picture and masks: texts, split, abilities, id.

        `image` is None if there was a problem with it, so that the rest can be checked all the same.
        """
        texts = self._texts(place, entry)
        number = entry.get("id")
        if number is not None and not self._is_own(place, "id", number):
            number = None
        self._targets.append(
            _Target(
                place=place,
                image=image or "",
                annotations=tuple(annotations),
                texts=texts,
                split=self.split(place, entry),
                abilities=self._names(place, entry, "abilities"),
                number=number,
            )
        )

    def split(self, place: Place, entry: Mapping[str, Any]) -> str | None:
        """Returns the split that `entry` names, None if it names none that can be used."""
        value = entry.get("split")
        if value is None:
            return None
        if not isinstance(value, str) or not value.strip() or len(value) > 64 or not value.isprintable():
            self.findings.problem(place, f"split: expected a name such as train, got {value!r:.60}")
            return None
        if value.strip() == "all":
            self.findings.problem(place, "split: all means every split together; choose another name")
            return None
        return value.strip()

    def _texts(self, place: Place, entry: Mapping[str, Any]) -> tuple[str, ...]:
        if ("text" in entry) == ("texts" in entry):
            both = "has both text and texts; keep one" if "text" in entry else "has no text (or texts)"
            self.findings.problem(place, both)
            return ()
        value = entry["texts"] if "texts" in entry else [entry["text"]]
        if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in value):
            expected = "a list of texts" if "texts" in entry else "a text"
            self.findings.problem(place, f"expected {expected}, got {entry.get('texts', entry.get('text'))!r:.60}")
            return ()
        if not all(text.strip() for text in value):
            self.findings.problem(place, "a text is empty")
        if any("\ud800" <= sign <= "\udfff" for text in value for sign in text):
            self.findings.problem(place, "a text has half of a character (a lone surrogate)")
        return tuple(value)

    def _names(self, place: Place, entry: Mapping[str, Any], key: str) -> tuple[str, ...]:
        value = entry.get(key) or []
        if not isinstance(value, list) or not all(isinstance(one, str) and one.strip() for one in value):
            self.findings.problem(place, f"{key}: expected a list of names, got {value!r:.60}")
            return ()
        return tuple(dict.fromkeys(one.strip() for one in value))

    def _is_number(self, place: Place, key: str, value: Any) -> bool:
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST_ID:
            return True
        self.findings.problem(place, f"{key}: expected a whole number, got {value!r:.40}")
        return False

    def _is_own(self, place: Place, key: str, number: Any) -> bool:
        """Says whether `number` is an id that nothing of its kind has had before."""
        if not self._is_number(place, key, number):
            return False
        before = self._numbers.setdefault(key, {}).setdefault(number, place)
        if before is not place:
            self.findings.problem(place, f"{key} {number} is taken already, by {before}")
        return before is place

    # The whole.

    def finish(self, *, name: str, shares: Mapping[str, float], seed: int) -> Dataset | None:
        """Returns the dataset; None if there are problems, which now include those of the whole.

        Pictures without a split are shared out by `shares`, at random by `seed`.
        """
        if not self._targets and not self.findings.problems:
            self.findings.problem(Place(1), "there is no text, and so nothing to learn or to measure")
        self._check_splits()
        if self.findings.problems:
            return None
        self._warn_of_likes()
        used = sorted({target.image for target in self._targets})
        given = any(target.split is not None for target in self._targets)
        split_of = {} if given else splits.shared_out(used, shares=shares, seed=seed)
        for split in shares.keys() - split_of.values() if split_of else ():
            self.findings.warn(Place(1), f"no picture falls to split {split}: {len(used)} are too few for its share")
        ids = _numbered(used, self._image_ids)
        annotation_ids = _numbered(range(len(self._annotations)), self._annotation_ids)
        return Dataset(
            name=name,
            split_by="given" if given else f"picture, seed {seed}",
            categories={number: category for category, number in self._categories.items()},
            images=Records({ids[key]: one for key, one in self._pictures.items() if key in ids and one is not None}),
            annotations={
                annotation_ids[where]: replace(one, annotation_id=annotation_ids[where], image_id=ids[image])
                for where, (image, one) in enumerate(self._annotations)
                if image in ids
            },
            records=list(self._records(ids, annotation_ids, split_of)),
        )

    def _records(
        self, ids: Mapping[str, int], annotation_ids: Mapping[int, int], split_of: Mapping[str, str]
    ) -> Iterator[Record]:
        given = {where: one.number for where, one in enumerate(self._targets) if one.number is not None}
        numbers, sentence_ids = _numbered(range(len(self._targets)), given), count(1)
        for where, target in enumerate(self._targets):
            yield Record(
                ref_id=numbers[where],
                image_id=ids[target.image],
                split=target.split or split_of[target.image],
                annotation_ids=tuple(annotation_ids[one] for one in target.annotations),
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
            self.findings.problem(target.place, "no split, though others have one; give all of them one, or none")
        first: dict[str, _Target] = {}
        told = set()
        for target in self._targets:
            before = first.setdefault(target.image, target)
            if before.split != target.split and target.image not in told:
                told.add(target.image)
                self.findings.warn(
                    target.place,
                    f"its picture is in split {target.split}, and in {before.split} by {before.place}: "
                    f"what is tested has been trained on",
                )

    def _warn_of_likes(self) -> None:
        """Warn of texts that one picture has for two targets: no model can answer both."""
        first: dict[tuple[str, str], _Target] = {}
        for target in self._targets:
            for text in target.texts:
                before = first.setdefault((target.image, " ".join(words_of(text))), target)
                if before.annotations != target.annotations:
                    self.findings.warn(
                        target.place, f"the text {text!r:.60} has another target in this picture ({before.place})"
                    )


def _numbered(keys: Iterable[Key], given: Mapping[Key, int]) -> dict[Key, int]:
    """Returns a number for each key: its own where given, else the next ones above all."""
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
