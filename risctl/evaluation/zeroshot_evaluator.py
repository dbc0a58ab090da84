"""Evaluates zero-shot models on a split.

Each image's proposals and features are computed once for all its refs and sentences.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from risctl.data.store.reader import Store, TextField
from risctl.errors import DataError
from risctl.evaluation.report import Report, Result
from risctl.evaluation.target_attributes import attributes_of
from risctl.inference.batched_inference import sentences_by_image
from risctl.metrics.accumulator import Accumulator
from risctl.metrics.figures import ratio
from risctl.metrics.protocols import Protocol
from risctl.vision import rle
from risctl.zeroshot.predictor import ZeroShotModel, ZeroShotPredictor
from risctl.zeroshot.proposals.base import InputImage, Proposals

DEFINITIONS = (
    "MC-Acc: share of samples whose chosen mask has the target's category, which is that of the annotation it overlaps "
    "most by IoU; CC-oIoU: oIoU over these samples; upper bound: the best proposal for each sample. None of them has "
    "public code: these are this project's definitions"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroShotReport:
    """An evaluation of a zero-shot model.

    Attributes:
        report: The figures by protocol.
        answerer: The model, in words.
        extra: Further figures by name, in percent; NaN where there was nothing to measure.
        without_proposals: Images, refs and sentences without a proposal.
        skipped: Whether these are left out of the figures; otherwise they count as IoU 0.
        proposals_per_image: The mean number of proposals.
        seconds: Per image, by part.
        unchanged: How many choices were the same fast and exactly, and how many were compared; None if none were.
        cut: How many texts were longer than the model reads.
    """

    report: Report
    answerer: str
    extra: dict[str, float]
    without_proposals: dict[str, int]
    skipped: bool
    proposals_per_image: float
    seconds: dict[str, float]
    unchanged: tuple[int, int] | None
    cut: int

    def to_dict(self) -> dict[str, Any]:
        """Returns the report, ready for JSON; null where there was nothing to measure."""
        return self.report.to_dict() | self.extra_to_dict()

    def extra_to_dict(self) -> dict[str, Any]:
        """Returns what only zero-shot evaluations report, ready for JSON."""
        extra = {name: None if np.isnan(value) else value for name, value in self.extra.items()}
        return {
            "answerer": self.answerer,
            "zeroshot": extra,
            "definitions": DEFINITIONS,
            "without_proposals": self.without_proposals,
            "without_proposals_are": "skipped" if self.skipped else "counted as IoU 0",
            "proposals_per_image": self.proposals_per_image,
            "seconds_per_image": self.seconds,
            "unchanged_choices": None if self.unchanged is None else list(self.unchanged),
            "cut_texts": self.cut,
        }

    def to_text(self) -> str:
        """Returns the report as plain text."""
        lines = [self.report.to_text(), "", f"zero-shot: {self.answerer}"]
        lines += [f"  {name:<20} {value:6.2f}" for name, value in self.extra.items()]
        lines.append(f"  ({DEFINITIONS})")
        missing = self.without_proposals
        lines.append(
            f"  no proposal: {missing['images']} images, {missing['refs']} refs, {missing['sentences']} sentences, "
            f"{'skipped' if self.skipped else 'counted as IoU 0'}; {self.proposals_per_image:.1f} proposals an image"
        )
        parts = ", ".join(f"{name} {value:.3f}" for name, value in self.seconds.items())
        lines.append(f"  seconds an image: {parts}")
        if self.unchanged is not None:
            same, every = self.unchanged
            lines.append(f"  choices unchanged by --fast: {same} of {every} ({100 * same / every:.1f} %)")
        if self.cut:
            lines.append(f"  warning: {self.cut} texts are longer than the model reads and were cut")
        return "\n".join(lines)


@dataclass(slots=True)
class _Sums:
    """What is summed up beside the protocols' rows."""

    right: int = 0
    samples: int = 0
    shared: int = 0
    either: int = 0
    best_shared: int = 0
    best_either: int = 0
    best_iou: float = 0.0
    proposals: int = 0
    cut: int = 0
    same: int = 0
    compared: int = 0
    missing: Counter[str] = field(default_factory=Counter)

    def extra(self, *, bounded: bool) -> dict[str, float]:
        """Returns the further figures; `bounded`: there are proposals, the best of which are an upper bound."""
        figures = {
            "MC-Acc": 100 * ratio(self.right, self.samples),
            "CC-oIoU": 100 * ratio(self.shared, self.either),
        }
        if not bounded:
            return figures
        return figures | {
            "upper bound oIoU": 100 * ratio(self.best_shared, self.best_either),
            "upper bound mIoU": 100 * ratio(self.best_iou, self.samples),
        }


def evaluate_zero_shot(
    answerer: ZeroShotModel,
    store: Store,
    *,
    split: str,
    protocols: Sequence[Protocol],
    text_field: TextField = "sent",
    limit: int | None = None,
    skip_without_proposals: bool = False,
    compare: int = 0,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> ZeroShotReport:
    """Evaluates a zero-shot model on a split of a store.

    Refs without a target are predicted too, and count as the protocols say.

    Args:
        answerer: The model.
        store: A store of images.
        split: The split.
        protocols: The protocols.
        text_field: Which form of the sentences is read.
        limit: Evaluates the first so many images only.
        skip_without_proposals: Leaves images without a proposal out of the figures, as the published code does,
            instead of counting IoU 0.
        compare: On how many images the choices of `--fast` are compared with the exact ones, outside the seconds.
        device: The device to report.
        progress: Called with the numbers of images that are done and that there are.

    Raises:
        UsageError: The split is unknown.
        DataError: The split has no sentence, or all images are skipped.
    """
    began = time.monotonic()
    images = store.images(split)[:limit]
    by_image: dict[int, list[int]] = {int(row): [] for row in images}
    for row in store.refs(split):
        image = store.ref(int(row)).image
        if image in by_image:
            by_image[image].append(int(row))
    if not any(by_image.values()):
        raise DataError(f"the split {split!r} of {store.path} has no sentence to evaluate")
    accumulator, sums = Accumulator(list(protocols)), _Sums()
    for done, (image, refs) in enumerate(by_image.items(), start=1):
        _one_image(
            answerer,
            store,
            image,
            refs,
            accumulator,
            sums,
            text_field,
            skip=skip_without_proposals,
            compare=done <= compare,
        )
        if progress is not None:
            progress(done, len(by_image))
    if skip_without_proposals and sums.missing["images"] == len(by_image):
        raise DataError(f"no image of the split {split!r} has a proposal, so there is nothing to evaluate")
    report = Report.of(
        store,
        [Result.of(accumulator.rows(protocol.name), protocol) for protocol in protocols],
        split=split,
        text_field=text_field,
        checkpoint=None,
        seconds=time.monotonic() - began,
        device=device,
    )
    return ZeroShotReport(
        report=replace(report, images=len(by_image), refs=sum(map(len, by_image.values()))),
        answerer=answerer.describe(),
        extra=sums.extra(bounded=isinstance(answerer, ZeroShotPredictor)),
        skipped=skip_without_proposals,
        without_proposals={name: sums.missing[name] for name in ("images", "refs", "sentences")},
        proposals_per_image=sums.proposals / len(by_image),
        seconds={name: answerer.seconds[name] / len(by_image) for name in ("proposals", "visual", "text")},
        unchanged=(sums.same, sums.compared) if sums.compared else None,
        cut=sums.cut,
    )


def answered_masks(
    answerer: ZeroShotModel, store: Store, sentences: Sequence[int], *, text_field: TextField
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (row, bool mask (H, W)) for the sentences of these rows, image by image."""
    for image, rows in sentences_by_image(store, sentences).items():
        input_image = _input_image(store, image)
        answerer.set_image(input_image)
        texts = {row: store.sentence(row).text(text_field) for row in rows}
        known = [row for row in rows if texts[row].strip()]
        answers = answerer.predict([texts[row] for row in known]) if known else []
        found = {row: answer.prediction.mask for row, answer in zip(known, answers, strict=True)}
        for row in rows:
            yield row, found.get(row, np.zeros(input_image.size, dtype=bool))


def _input_image(store: Store, image: int) -> InputImage:
    row = store.image(image)
    return InputImage(pixels=store.pixels(image), name=row.file_name, image_id=row.image_id, row=image)


def _one_image(
    answerer: ZeroShotModel,
    store: Store,
    image: int,
    refs: Sequence[int],
    accumulator: Accumulator,
    sums: _Sums,
    text_field: TextField,
    *,
    skip: bool,
    compare: bool,
) -> None:
    input_image = _input_image(store, image)
    proposals = answerer.set_image(input_image)
    sums.proposals += len(proposals)
    tasks = [(ref, int(one)) for ref in refs for one in store.ref(ref).sentences]
    texts = [store.sentence(sentence).text(text_field) for _, sentence in tasks]
    # A sentence without a word means nothing: it gets an empty mask, as in `risctl eval`.
    known = [position for position, text in enumerate(texts) if text.strip()]
    answers = dict(zip(known, answerer.predict([texts[position] for position in known]), strict=True)) if known else {}
    sums.cut += sum(answerer.is_truncated(texts[position]) for position in known)
    needs_proposals = isinstance(answerer, ZeroShotPredictor)
    if needs_proposals and not len(proposals):
        sums.missing.update(images=1, refs=len(refs), sentences=len(tasks))
        if skip:
            return
    annotations = [store.annotation(int(annotation)) for annotation in store.annotations_of(image)]
    masks = [(annotation.category_id, rle.decode(annotation.mask)) for annotation in annotations]
    targets = {ref: np.ascontiguousarray(rle.decode(store.mask(ref))) for ref in refs}
    best = {ref: _best(proposals, target) for ref, target in targets.items()}
    facts = {
        ref: attributes_of(store, store.ref(ref), pixels=int(np.count_nonzero(target)))
        for ref, target in targets.items()
    }
    nothing = np.zeros(input_image.size, dtype=bool)
    for position, (ref, sentence) in enumerate(tasks):
        answer = answers.get(position)
        mask = nothing if answer is None else answer.prediction.mask
        about = store.ref(ref)
        accumulator.add(
            mask,
            targets[ref],
            key=sentence,
            image_id=about.image_id,
            ref_id=about.ref_id,
            sentence_id=store.sentence(sentence).sentence_id,
            text=texts[position],
            abilities=store.sentence(sentence).abilities,
            score=0.0 if answer is None else answer.prediction.score,
            targeted=bool(about.annotations),
            first=sentence == int(about.sentences[0]),
            facts=facts[ref],
        )
        if about.annotations:
            _add(sums, mask, targets[ref], _category(mask, masks), about.category_ids, best[ref])
    if (
        compare
        and isinstance(answerer, ZeroShotPredictor)
        and answerer.shortlist is not None
        and len(proposals)
        and known
    ):
        exact = answerer.exact_choices([texts[position] for position in known])
        sums.compared += len(known)
        sums.same += sum(answers[one].chosen == choice for one, choice in zip(known, exact, strict=True))


def _add(
    sums: _Sums,
    mask: np.ndarray,
    target: np.ndarray,
    category: int | None,
    wanted: Sequence[int],
    best: tuple[int, int],
) -> None:
    shared, either = int((mask & target).sum()), int((mask | target).sum())
    sums.samples += 1
    if category in wanted:
        sums.right += 1
        sums.shared += shared
        sums.either += either
    sums.best_shared += best[0]
    sums.best_either += best[1]
    sums.best_iou += best[0] / best[1] if best[1] else 0.0


def _category(mask: np.ndarray, annotations: Sequence[tuple[int, np.ndarray]]) -> int | None:
    """Returns the category of the annotation that `mask` overlaps most; None if it overlaps none."""
    ious = [int((mask & one).sum()) / max(1, int((mask | one).sum())) for _, one in annotations]
    best = int(np.argmax(ious)) if ious else 0
    return annotations[best][0] if ious and ious[best] > 0 else None


def _best(proposals: Proposals, target: np.ndarray) -> tuple[int, int]:
    """Returns (intersection, union) of the proposal with the largest IoU; without any, (0, the target's pixels)."""
    size = int(target.sum())
    if not len(proposals):
        return 0, size
    shared = np.count_nonzero(proposals.masks & target, axis=(1, 2))
    either = np.count_nonzero(proposals.masks, axis=(1, 2)) + size - shared
    one = int(np.argmax(shared / np.maximum(either, 1)))
    return int(shared[one]), int(either[one])
