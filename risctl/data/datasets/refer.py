"""Reading RefCOCO, RefCOCO+ and RefCOCOg as REFER publishes them: `refs(SPLITBY).p` and `instances.json`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from risctl.data.datasets.coco_instances import InstanceImage, Instances, Progress, rasterise, read_instances
from risctl.data.datasets.problems import OnMissing, Problems
from risctl.data.datasets.refer_layout import SPLIT_BY, find_annotations, find_images
from risctl.data.pickles import read_pickle
from risctl.data.records import Annotation, Dataset, Expression, ImageRecord, Record
from risctl.errors import DataError
from risctl.vision import rle
from risctl.vision.images import image_size

# Far above any published set; a crafted pickle can repeat one list a great many times at no cost of its own.
MAX_SENTENCES = 5_000_000


def read_refer(
    root: Path,
    *,
    name: str,
    split_by: str | None = None,
    images: Path | None = None,
    on_missing: OnMissing = "refuse",
    progress: Progress | None = None,
) -> Dataset:
    """Read the set `name` ("refcoco", "refcoco+", "refcocog") from the published files under `root`.

    `split_by` is "unc", "google" or "umd" (None: the set's usual one); `images` the folder of COCO train2014, looked
    for around `root` if None. The dataset holds the pictures that refs are about and all annotations of these. Repeated
    ids are renumbered and counted in its notes. Refs whose picture or annotation is missing, damaged or of another size
    are refused, or with `on_missing="drop"` left out and counted. `progress` is called with (done, total) annotations.

    Raises `DataError` naming the file, and for a loss the number and the first few; `UsageError` for an unknown set.
    """
    split_by = split_by or SPLIT_BY.get(name, ("unc",))[0]
    refs_path, instances_path = find_annotations(root, name=name, split_by=split_by)
    problems = Problems()
    instances = read_instances(instances_path, problems)
    refs = list(_parsed(read_pickle(refs_path), source=str(refs_path), problems=problems))
    wanted = {ref["image_id"] for ref in refs}
    listed = [image for image in instances.images.values() if image.image_id in wanted]
    folder = find_images(
        root, annotations=instances_path.parent, images=images, sample=[one.file_name for one in listed[:64]]
    )
    if folder is None and listed:
        raise DataError(
            f"no pictures of COCO train2014 around {root} (such as images/train2014/{listed[0].file_name}); "
            f"name their folder with --images"
        )
    usable = {one.image_id: one for one in listed if folder and _is_usable(folder / one.file_name, one, problems)}
    annotations, broken = rasterise(instances, of_images=usable.keys(), progress=progress)
    records = _records(refs, instances=instances, usable=usable, annotations=annotations, problems=problems)
    if on_missing == "refuse":
        problems.refuse_losses(f"{name} ({split_by})")
    if not records:
        raise DataError(
            f"{refs_path}: nothing is left of its {len(refs)} refs; check that --images is the right folder"
        )
    _note_annotations(refs, annotations=annotations, broken=broken, problems=problems)
    _note_shared_images(records, problems)
    kept = {record.image_id for record in records}
    return Dataset(
        name=name,
        split_by=split_by,
        categories=instances.categories,
        images={
            one.image_id: ImageRecord(
                image_id=one.image_id,
                file_name=one.file_name,
                height=one.height,
                width=one.width,
                path=folder / one.file_name if folder else None,
            )
            for one in listed
            if one.image_id in kept
        },
        annotations={key: one for key, one in annotations.items() if one.image_id in kept},
        records=records,
        notes=problems.notes(),
    )


def _is_usable(path: Path, image: InstanceImage, problems: Problems) -> bool:
    """Say whether the picture is there and of the size its annotations were made for."""
    if not path.is_file():
        problems.lose("pictures missing", path)
        return False
    try:
        found = image_size(path)
    except DataError:
        problems.lose("files that are no pictures", path)
        return False
    if found != (image.height, image.width):
        wanted = f"{image.height}x{image.width}"
        problems.lose("pictures of another size than annotated", f"{path}: {found[0]}x{found[1]}, annotated {wanted}")
        return False
    return True


def _parsed(refs: Any, *, source: str, problems: Problems) -> Iterator[dict[str, Any]]:
    """Yield each published ref, checked and reduced to what is used: ids unique, sentences as `Expression`s."""
    if not isinstance(refs, list) or not refs:
        raise DataError(f"{source} is not a list of refs; expected REFER's refs(SPLITBY).p")
    ref_ids, sentence_ids = _Numbering(), _Numbering()
    for ref in refs:
        if isinstance(ref, dict) and isinstance(ref.get("sentences"), list):
            ref_ids.reserve(ref.get("ref_id"))
            sentence_ids.reserve(*(one.get("sent_id") for one in ref["sentences"] if isinstance(one, dict)))
    for place, ref in enumerate(refs):
        where = f"{source}: refs[{place}]"
        if not isinstance(ref, dict):
            raise DataError(f"{where} is no dict; expected REFER's refs(SPLITBY).p")
        published = _field(ref, "ref_id", int, where)
        ref_id = ref_ids.unique(published)
        if ref_id != published:
            problems.repair("repeated ref ids, renumbered", published)
        expressions = []
        for sentence in _field(ref, "sentences", list, where):
            expression = _expression(sentence, where, numbering=sentence_ids, problems=problems)
            if expression:
                expressions.append(expression)
        if expressions:
            yield {
                "ref_id": ref_id,
                "image_id": _field(ref, "image_id", int, where),
                "annotation_id": _field(ref, "ann_id", int, where),
                "category_id": _field(ref, "category_id", int, where),
                "split": _field(ref, "split", str, where),
                "expressions": tuple(expressions),
            }
        else:
            problems.repair("refs without a sentence, dropped", published)


def _expression(sentence: Any, where: str, *, numbering: _Numbering, problems: Problems) -> Expression | None:
    if not isinstance(sentence, dict):
        raise DataError(f"{where} has a sentence that is no dict: {sentence!r:.60}")
    published = _field(sentence, "sent_id", int, where)
    raw, sent = _clean(_field(sentence, "raw", str, where)), _clean(_field(sentence, "sent", str, where))
    if not sent.strip():
        if not raw.strip():
            problems.repair("sentences without a word, dropped", published)
            return None
        problems.repair("sentences without a normalised form, taken from the raw one", published)
        sent = raw.lower().strip()
    tokens = sentence.get("tokens")
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens) or not tokens:
        problems.repair("sentences without tokens, split at spaces", published)
        tokens = sent.split()
    sentence_id = numbering.unique(published)
    if sentence_id != published:
        problems.repair("repeated sentence ids, renumbered", published)
    return Expression(sentence_id=sentence_id, raw=raw, sent=sent, tokens=tuple(_clean(token) for token in tokens))


class _Numbering:
    """Keeps ids unique: the first of equals keeps its number, the others get the next free ones above all."""

    def __init__(self) -> None:
        self._taken: set[int] = set()
        self._next = 0
        self._reserved = 0

    def reserve(self, *numbers: Any) -> None:
        """Keep published `numbers` free for those who have them."""
        self._reserved += len(numbers)
        if self._reserved > MAX_SENTENCES:
            raise DataError(f"more than {MAX_SENTENCES:,} sentences: this is no published set of referring expressions")
        self._next = max([self._next, *(number + 1 for number in numbers if isinstance(number, int))])

    def unique(self, number: int) -> int:
        """Return `number`, or a free one if it is taken."""
        if number in self._taken:
            number, self._next = self._next, self._next + 1
        self._taken.add(number)
        return number


def _field(entry: dict[Any, Any], key: str, kind: type, where: str) -> Any:
    value = entry.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DataError(f"{where} has {key} {value!r:.60}; expected {kind.__name__}")
    if isinstance(value, int) and abs(value) >= 2**62:
        raise DataError(f"{where} has {key} {value!r:.60}; expected an id")
    return value


def _clean(text: str) -> str:
    """Return the text without halves of surrogate pairs, which no file or terminal takes."""
    return text.encode("utf-8", errors="replace").decode("utf-8")


def _records(
    refs: list[dict[str, Any]],
    *,
    instances: Instances,
    usable: dict[int, InstanceImage],
    annotations: dict[int, Annotation],
    problems: Problems,
) -> list[Record]:
    records = []
    for ref in refs:
        annotation_id, image_id = ref["annotation_id"], ref["image_id"]
        entry = instances.annotations.get(annotation_id)
        if image_id not in instances.images:
            problems.lose("refs to a picture that instances.json lacks", f"ref {ref['ref_id']} to {image_id}")
        elif entry is None:
            problems.lose("refs to an annotation that instances.json lacks", f"ref {ref['ref_id']} to {annotation_id}")
        elif entry["image_id"] != image_id:
            problems.lose("refs to an annotation of another picture", f"ref {ref['ref_id']} to {annotation_id}")
        elif image_id in usable and annotation_id not in annotations:
            problems.lose("refs to an annotation without a valid mask", f"ref {ref['ref_id']} to {annotation_id}")
        elif image_id in usable:
            if entry["category_id"] != ref["category_id"]:
                problems.repair("categories of refs unlike the annotation's, which is taken", f"ref {ref['ref_id']}")
            records.append(
                Record(
                    ref_id=ref["ref_id"],
                    image_id=image_id,
                    split=ref["split"],
                    annotation_ids=(annotation_id,),
                    expressions=ref["expressions"],
                )
            )
    return records


def _note_annotations(
    refs: list[dict[str, Any]], *, annotations: dict[int, Annotation], broken: dict[int, str], problems: Problems
) -> None:
    referred = {ref["annotation_id"] for ref in refs}
    for annotation_id in sorted(broken.keys() - referred):
        problems.repair("annotations without a valid mask, dropped", f"{annotation_id}: {broken[annotation_id]}")
    for annotation_id in sorted(referred & annotations.keys()):
        if rle.area(annotations[annotation_id].mask) == 0:
            problems.repair("refs whose mask has no pixel, kept", annotation_id)


def _note_shared_images(records: list[Record], problems: Problems) -> None:
    """Note pictures that are both trained on and tested on: Google's ways of splitting share them."""
    trained = {record.image_id for record in records if record.split == "train"}
    for image_id in sorted({record.image_id for record in records if record.split != "train"} & trained):
        problems.repair("pictures shared by train and another split, kept", image_id)
