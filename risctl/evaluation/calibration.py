"""Chooses the thresholds of a model on a store: from which score a phrase has a match, and an instance counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from risctl.data.store.reader import Store, TextField
from risctl.errors import DataError, UsageError
from risctl.inference.batched_inference import sentences_by_image
from risctl.inference.predictor import Predictor
from risctl.metrics.bootstrap import share_interval
from risctl.metrics.overlaps import overlap_of_masks
from risctl.models.calibrated import Calibration, weights_of
from risctl.models.predictor import PromptedPredictor
from risctl.systems.protocols import InstanceScorer
from risctl.vision import rle

Progress = Callable[[int, int], None]

PROTOCOL = (
    "original: compared at original size; gIoU over all phrases: 0 for a target that is missed, for a phrase without a "
    "target 1 where nothing is predicted, else 0 (gRefCOCO); T-acc and N-acc are the shares of phrases with and "
    "without a target that are told right"
)
_TEXTS = 8  # phrases whose masks are kept together: there is one for each score of the grid
_GRID = tuple(round(0.05 * step, 2) for step in range(1, 20))


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a pair of thresholds gives, in per cent."""

    giou: float
    t_acc: float
    n_acc: float


@dataclass(slots=True)
class _Answers:
    """The answers to the phrases of a store, one list entry each."""

    scores: list[float] = field(default_factory=list)
    targeted: list[bool] = field(default_factory=list)
    images: list[int] = field(default_factory=list)
    # Of each phrase its IoU and whether its mask is empty, at each score from which instances belong to the answer.
    ious: list[list[float]] = field(default_factory=list)
    empty: list[list[bool]] = field(default_factory=list)
    unread: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The thresholds that were chosen, and what they give beside the model's own.

    Attributes:
        calibration: The thresholds, ready to be written.
        figures: At these thresholds.
        interval: The 95 % interval of their gIoU over images; None where it was not asked for.
        before: At the model's own thresholds.
        own: The model's own thresholds, of a match and of an instance.
        unread: Phrases without a word, which were left out.
    """

    calibration: Calibration
    figures: Figures
    interval: tuple[float, float] | None
    before: Figures
    own: tuple[float, float | None]
    unread: int


def calibrate(
    predictor: Predictor | PromptedPredictor,
    store: Store,
    *,
    model: str | Path | None,
    split: str,
    text_field: TextField,
    limit: int | None = None,
    progress: Progress | None = None,
    resamples: int = 1000,
) -> Chosen:
    """Chooses the thresholds with the highest gIoU on a split.

    Args:
        predictor: The model, opened; its thresholds are as before afterwards.
        store: A store of images.
        model: Its name.
        split: The split, or `all`.
        text_field: Which form of the text is read.
        limit: Takes the first so many phrases only.
        progress: Called with the numbers of phrases that are done and that there are.
        resamples: How often images are drawn again for the interval; 0 for none.

    Raises:
        DataError: The split lacks phrases with a target, or without one.
        UsageError: The split is unknown.
    """
    sentences = store.sentences(split).tolist()[:limit]
    # Told before the model answers; and again for what it read.
    _check_both_kinds([rle.area(store.mask(store.sentence(row).ref)) > 0 for row in sentences], store, split)
    scorer = predictor.system if isinstance(predictor, Predictor) else predictor
    own_match = float(predictor.no_target_threshold)
    own_score = scorer.min_score if isinstance(scorer, InstanceScorer) and scorer.min_score > 0 else None
    grid = [0.0] if own_score is None else sorted({*_GRID, own_score})
    found = _answers(predictor, store, sentences, grid=grid, text_field=text_field, progress=progress)
    scores, targeted = np.array(found.scores), np.array(found.targeted, dtype=bool)
    _check_both_kinds(found.targeted, store, split)
    ious, empty = np.array(found.ious), np.array(found.empty, dtype=bool)
    # Where all answers are alike whatever is taken, as a chooser's are, there is no score to choose.
    if own_score is not None and len(grid) > 1 and (ious == ious[:, :1]).all() and (empty == empty[:, :1]).all():
        grid, ious, empty, own_score = [0.0], ious[:, :1], empty[:, :1], None
    own_place = 0 if own_score is None else grid.index(own_score)
    best = max(
        (_best_match(scores, targeted, ious[:, place], empty[:, place]), place == own_place, -place)
        for place in range(len(grid))
    )
    (_, threshold), place = best[0], -best[2]
    values = _values(scores, targeted, ious[:, place], empty[:, place], threshold=threshold)
    interval = share_interval(values, np.array(found.images), resamples=resamples) if resamples else None
    figures = _figures(scores, targeted, ious[:, place], empty[:, place], threshold=threshold)
    calibration = Calibration(
        model=str(model or "mini"),
        weights=weights_of(model),
        no_target_threshold=threshold,
        min_score=None if own_score is None else grid[place],
        chosen_on={
            "data": str(store.path),
            "fingerprint": store.fingerprint,
            "split": split,
            "expressions": len(targeted),
            "without_target": int((~targeted).sum()),
            "images": len(set(found.images)),
        },
        figures={"protocol": PROTOCOL, "gIoU": figures.giou, "T-acc": figures.t_acc, "N-acc": figures.n_acc},
    )
    return Chosen(
        calibration=calibration,
        figures=figures,
        interval=None if interval is None else (interval.low, interval.high),
        before=_figures(scores, targeted, ious[:, own_place], empty[:, own_place], threshold=own_match),
        own=(own_match, own_score),
        unread=found.unread,
    )


def _answers(
    predictor: Predictor | PromptedPredictor,
    store: Store,
    sentences: Sequence[int],
    *,
    grid: Sequence[float],
    text_field: TextField,
    progress: Progress | None,
) -> _Answers:
    found, done = _Answers(), 0
    for image, rows in sentences_by_image(store, sentences).items():
        read = [row for row in rows if _is_read(predictor, store.sentence(row).text(text_field))]
        found.unread += len(rows) - len(read)
        if read:
            predictor.set_image(store.pixels(image))
        texts = [store.sentence(row).text(text_field) for row in read]
        for row, (score, masks) in zip(read, _masks(predictor, texts, grid) if read else (), strict=True):
            target = rle.decode(store.mask(store.sentence(row).ref))
            overlaps = [overlap_of_masks(mask, target) for mask in masks]
            found.scores.append(score)
            found.targeted.append(bool(target.any()))
            found.images.append(image)
            found.ious.append([one.intersection / one.union if one.union else 0.0 for one in overlaps])
            found.empty.append([not mask.any() for mask in masks])
        predictor.reset_image()
        done += len(rows)
        if progress is not None:
            progress(done, len(sentences))
    return found


def _check_both_kinds(targeted: Sequence[bool], store: Store, split: str) -> None:
    if all(targeted) or not any(targeted):
        lacking = "refers to nothing" if all(targeted) else "refers to anything"
        raise DataError(
            f"no phrase of the split {split!r} of {store.path} {lacking}: a threshold of no match is chosen on "
            "phrases of both kinds, such as gRefCOCO's; name another store or --split"
        )


def _masks(
    predictor: Predictor | PromptedPredictor, texts: Sequence[str], grid: Sequence[float]
) -> Iterator[tuple[float, list[np.ndarray]]]:
    """Yields the score of each phrase, and its mask at each score of `grid`, as if every phrase had a match."""
    if isinstance(predictor, PromptedPredictor):
        yield from predictor.answers_at(texts, grid)
        return
    for start in range(0, len(texts), _TEXTS):
        yield from _masks_of_system(predictor, texts[start : start + _TEXTS], grid)


def _masks_of_system(
    predictor: Predictor, texts: Sequence[str], grid: Sequence[float]
) -> list[tuple[float, list[np.ndarray]]]:
    """Returns what `_masks` yields; the image is encoded once, and decoded for each score of `grid`."""
    system = predictor.system
    scorer = system if isinstance(system, InstanceScorer) else None
    own = system.no_target_threshold, 0.0 if scorer is None else scorer.min_score
    answers = []
    try:
        system.no_target_threshold = 0.0
        for score in grid:
            if scorer is not None:
                scorer.min_score = score
            answers.append([(one.score, one.mask) for one in predictor.iter_predictions(texts)])
    finally:
        system.no_target_threshold = own[0]
        if scorer is not None:
            scorer.min_score = own[1]
    return [(answers[0][row][0], [one[row][1] for one in answers]) for row in range(len(texts))]


def _is_read(predictor: Predictor | PromptedPredictor, text: str) -> bool:
    try:
        predictor.warnings(text)
    except UsageError:
        return False
    return True


def _values(
    scores: np.ndarray, targeted: np.ndarray, ious: np.ndarray, empty: np.ndarray, *, threshold: float
) -> np.ndarray:
    """Returns what each phrase contributes to gIoU, (N,) in [0, 1]."""
    none = empty | (scores < threshold)
    return np.where(targeted, np.where(none, 0.0, ious), none.astype(np.float64))


def _figures(
    scores: np.ndarray, targeted: np.ndarray, ious: np.ndarray, empty: np.ndarray, *, threshold: float
) -> Figures:
    none = empty | (scores < threshold)
    values = _values(scores, targeted, ious, empty, threshold=threshold)
    return Figures(
        giou=100 * float(values.mean()),
        t_acc=100 * float((~none)[targeted].mean()),
        n_acc=100 * float(none[~targeted].mean()),
    )


def _best_match(scores: np.ndarray, targeted: np.ndarray, ious: np.ndarray, empty: np.ndarray) -> tuple[float, float]:
    """Returns the highest gIoU, and the threshold that gives it: in the middle between the scores of two phrases.

    Of several that give it, the one in the middle of the widest run of them.
    """
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    matched = np.where(targeted, np.where(empty, 0.0, ious), empty.astype(np.float64))[order]
    refused = (~targeted).astype(np.float64)[order]
    # Entry k: the first k phrases by score have no match, the others have one.
    totals = np.concatenate([[0.0], refused.cumsum()]) + np.concatenate([matched[::-1].cumsum()[::-1], [0.0]])
    # Phrases of one score are on one side; the scores are in [0, 1].
    ends = np.concatenate([[0.0], ordered, [1.0]])
    possible = np.concatenate([[True], ordered[1:] > ordered[:-1], [ordered[-1] < 1]])
    highest = totals[possible].max()
    wide = np.where(possible & np.isclose(totals, highest), np.diff(ends), -1.0)
    cut = int(wide.argmax())
    # With none refused, 0 says that every phrase is answered.
    threshold = 0.0 if cut == 0 else float((ends[cut] + ends[cut + 1]) / 2)
    return float(highest), threshold
