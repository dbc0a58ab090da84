"""Training and measuring the choice among boxes, apart from finding them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from risctl.core.encoders.text.hashed_words import WordIds
from risctl.core.fusion.choose import Boxes, Chooser
from risctl.data.box_noise import Disturbance
from risctl.data.box_questions import UNKNOWN, BoxQuestion
from risctl.engine.running_mean import RunningMean

_CHUNK = 16  # batches whose questions are sorted by their number of boxes, so that few are padding


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxBatch:
    """Questions as tensors: ids (B, L, 1 + GRAMS); boxes; meant (B, N) float; kinds (B, N), -1 where unknown."""

    ids: Tensor
    boxes: Boxes
    meant: Tensor
    kinds: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceTraining:
    """How long and how a chooser is trained. Terms are weights of the loss beside the choice itself: `each` box by
    itself, `presence`, and the `noun` (the class that the phrase alone speaks of)."""

    epochs: int
    batch_size: int = 96
    rate: float = 6e-4
    warmup: int = 200
    weight_decay: float = 0.05
    smoothing: float = 0.05
    mean: float = 0.999
    each: float = 0.3
    presence: float = 0.1
    noun: float = 0.3
    seed: int = 0
    half: bool = True


def to_batch(questions: Sequence[BoxQuestion], *, word_ids: WordIds, classes: int, appearance: int = 0) -> BoxBatch:
    """Return questions as one batch. appearance: numbers a box's appearance has, 0 for none."""
    count, most = len(questions), max((len(one.picture.kinds) for one in questions), default=0)
    corners, mask = np.zeros((count, most, 4), dtype=np.float32), np.zeros((count, most), dtype=bool)
    kinds, other = np.full((count, most), UNKNOWN), np.zeros((count, most), dtype=np.int64)
    blend, sureness = np.ones((count, most), dtype=np.float32), np.ones((count, most), dtype=np.float32)
    looks, seen = np.zeros((count, most, appearance), dtype=np.float32), np.zeros((count, most), dtype=bool)
    meant = np.zeros((count, most), dtype=np.float32)
    for row, question in enumerate(questions):
        picture, own = question.picture, len(question.picture.kinds)
        corners[row, :own], kinds[row, :own], mask[row, :own] = picture.corners, picture.kinds, True
        meant[row, list(question.targets)] = 1
        if picture.sureness is not None:
            sureness[row, :own] = picture.sureness
        if picture.blend is not None and picture.other is not None:
            blend[row, :own], other[row, :own] = picture.blend, picture.other
        if picture.appearance is not None and appearance:
            looks[row, :own], seen[row, :own] = picture.appearance, True
    kind, share = torch.from_numpy(kinds), torch.from_numpy(blend)[..., None]
    scores = torch.zeros(count, most, classes)
    scores.scatter_(2, kind.clamp(min=0)[..., None], share)
    scores.scatter_add_(2, torch.from_numpy(other)[..., None], 1 - share)
    ids = torch.stack([word_ids(one.text) for one in questions])
    longest = max(int((ids[..., 0] > 0).sum(1).max()), 1)
    return BoxBatch(
        ids=ids[:, :longest],
        boxes=Boxes(
            corners=torch.from_numpy(corners),
            classes=scores * (kind != UNKNOWN)[..., None],
            mask=torch.from_numpy(mask),
            aspect=torch.tensor([one.picture.aspect for one in questions], dtype=torch.float32),
            certainty=torch.from_numpy(sureness),
            appearance=torch.from_numpy(looks) if seen.any() else None,
            seen=torch.from_numpy(seen) if seen.any() else None,
        ),
        meant=torch.from_numpy(meant),
        kinds=kind,
    )


def choice_losses(chooser: Chooser, batch: BoxBatch, *, settings: ChoiceTraining) -> dict[str, Tensor]:
    """Return the weighted terms "choice", "each", "presence" and "noun"."""
    choice = chooser(*chooser.read(batch.ids), batch.boxes)
    scores, mask = choice.scores.float(), batch.boxes.mask
    there = batch.meant.any(1)
    logs = scores.log_softmax(1).masked_fill(~mask, 0)[there]
    wanted = batch.meant[there] / batch.meant[there].sum(1, keepdim=True)
    even = mask[there] / mask[there].sum(1, keepdim=True)
    wanted = (1 - settings.smoothing) * wanted + settings.smoothing * even
    first = batch.kinds.gather(1, batch.meant.argmax(1, keepdim=True))[:, 0].masked_fill(~there, UNKNOWN)
    known = first != UNKNOWN
    zero = scores.new_zeros(())
    return {
        "choice": -(wanted * logs).sum(1).mean() if len(logs) else zero,
        "each": settings.each * functional.binary_cross_entropy_with_logits(scores[mask], batch.meant[mask]),
        "presence": settings.presence
        * functional.binary_cross_entropy_with_logits(choice.presence.float(), there.float()),
        "noun": settings.noun * functional.cross_entropy(choice.noun[known].float(), first[known])
        if known.any()
        else zero,
    }


def train_chooser(
    chooser: Chooser,
    questions_of: Callable[[int], Sequence[BoxQuestion]],
    *,
    word_ids: WordIds,
    settings: ChoiceTraining,
    disturbance: Disturbance,
    appearance: int = 0,
    report: Callable[[int, dict[str, float]], None] | None = None,
) -> None:
    """Train `chooser` on the questions of each epoch, `questions_of(epoch)`, and leave the running mean in it.

    The number of questions must not change from epoch to epoch by much: the rate's schedule (a cosine) counts on the
    first's. `report` is called with (epoch, means of the terms) after each epoch. The same seed gives the same weights.
    """
    torch.manual_seed(settings.seed)
    optimizer = _optimizer(chooser, settings)
    mean = RunningMean(chooser, decay=settings.mean)
    steps = settings.epochs * math.ceil(len(questions_of(0)) / settings.batch_size)
    step = 0
    for epoch in range(settings.epochs):
        generator = np.random.default_rng((settings.seed, epoch))
        totals: dict[str, float] = {}
        count = 0
        chooser.train()
        for some in _batches(questions_of(epoch), settings.batch_size, generator):
            rate = settings.rate * min(1.0, (step + 1) / settings.warmup)
            for group in optimizer.param_groups:
                group["lr"] = rate * (0.5 + 0.5 * math.cos(math.pi * min(step / steps, 1.0))) + 1e-6
            disturbed = [disturbance(one, generator, classes=chooser.classes) for one in some]
            batch = to_batch(disturbed, word_ids=word_ids, classes=chooser.classes, appearance=appearance)
            with torch.autocast("cpu", torch.bfloat16, enabled=settings.half):
                terms = choice_losses(chooser, batch, settings=settings)
            optimizer.zero_grad()
            torch.stack(list(terms.values())).sum().backward()
            torch.nn.utils.clip_grad_norm_(chooser.parameters(), 1.0)
            optimizer.step()
            mean.update(chooser, updates=step + 1)
            step, count = step + 1, count + 1
            for name, term in terms.items():
                totals[name] = totals.get(name, 0.0) + term.item()
        if report:
            report(epoch, {name: total / count for name, total in totals.items()})
    chooser.load_state_dict(mean.tensors, strict=False)


@torch.inference_mode()
def choice_accuracy(
    chooser: Chooser, questions: Sequence[BoxQuestion], *, word_ids: WordIds, batch_size: int = 256
) -> float:
    """Return the share of `questions` whose best box is meant, chosen among all boxes of the picture, no pixels."""
    chooser.eval()
    right = 0
    ordered = sorted(questions, key=lambda one: len(one.picture.kinds))
    for start in range(0, len(ordered), batch_size):
        batch = to_batch(ordered[start : start + batch_size], word_ids=word_ids, classes=chooser.classes)
        boxes = replace(batch.boxes, certainty=None)
        best = chooser(*chooser.read(batch.ids), boxes).scores.argmax(1, keepdim=True)
        right += int(batch.meant.gather(1, best).sum())
    return right / max(len(ordered), 1)


def _optimizer(chooser: Chooser, settings: ChoiceTraining) -> torch.optim.AdamW:
    decayed: list[Tensor] = []
    rest: list[Tensor] = []
    for name, parameter in chooser.named_parameters():
        # Rows of words that are rarely seen would wither.
        (rest if parameter.ndim < 2 or name.startswith("words.") else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.rate, betas=(0.9, 0.98))


def _batches(
    questions: Sequence[BoxQuestion], size: int, generator: np.random.Generator
) -> Iterator[list[BoxQuestion]]:
    shuffled = [questions[index] for index in generator.permutation(len(questions))]
    found: list[list[BoxQuestion]] = []
    for start in range(0, len(shuffled), size * _CHUNK):
        alike = sorted(shuffled[start : start + size * _CHUNK], key=lambda one: len(one.picture.kinds))
        found.extend(alike[first : first + size] for first in range(0, len(alike), size))
    for index in generator.permutation(len(found)):
        yield found[index]
