"""Questions about known boxes as training items: batches without pictures."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from risctl.data.batch import Batch, Preprocess
from risctl.data.box_grounding import UNKNOWN, BoxPicture, BoxQuestion
from risctl.data.box_noise import Disturbance
from risctl.data.boxes import Boxes, BoxTargets
from risctl.data.datasets.coco_phrases.about_boxes import questions_about
from risctl.errors import DataError, RisctlError

_ITEM = 3  # first entry of every seed: no stream of another training set
_TRIES = 4
_WORD = re.compile(r"[^\W_]")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionItem:
    """A question and its text as `Preprocess.text` gives it."""

    question: BoxQuestion
    words: Tensor
    word_mask: Tensor


class QuestionSet(Dataset[QuestionItem | RisctlError]):
    """Items of questions: `asked` by people about known boxes, `made` ones about known boxes (new phrases in every
    epoch, a number of them), and those about boxes that were `found` in pictures.

    disturbance: of what was asked and made; found boxes are as they are but for the mirror. per_word: numbers a word
    has in the preprocess's ids; classes, appearance: of the boxes. An item depends on (seed, epoch, index) alone.
    Questions without a word ("...") are left out and counted in `left_out`. Raises `DataError` if none is left.
    """

    def __init__(
        self,
        preprocess: Preprocess,
        *,
        asked: Sequence[BoxQuestion] = (),
        made: int = 0,
        found: Sequence[BoxQuestion] = (),
        disturbance: Disturbance,
        per_word: int,
        classes: int,
        appearance: int,
        seed: int,
    ) -> None:
        self.preprocess = preprocess
        self.asked = [one for one in asked if _has_word(one.text)]
        self.found = [one for one in found if _has_word(one.text)]
        pictures = {id(one.picture): one.picture for one in self.asked}
        self.pictures = [one for one in pictures.values() if len(one.kinds) and (one.kinds != UNKNOWN).all()]
        self.made = made if self.pictures else 0
        self.disturbance = disturbance
        self.mirror = Disturbance(flip=disturbance.flip, jitter=0.0, drop=0.0, typo=disturbance.typo)
        self.seed = seed
        self.epoch = 0
        self.left_out = len(asked) - len(self.asked) + len(found) - len(self.found)
        self.classes = classes
        if not len(self):
            raise DataError("there is no question to train on: data.box_grounding names no file and the store has none")
        self.collate: Callable[[Sequence[QuestionItem]], Batch] = partial(
            collate_questions, per_word=per_word, classes=classes, appearance=appearance
        )

    def __len__(self) -> int:
        return len(self.asked) + self.made + len(self.found)

    @property
    def lengths(self) -> np.ndarray:
        """Boxes of each item's picture, so that batches can be made of alike ones."""
        own = [len(one.picture.kinds) for one in self.asked]
        own.extend(len(self._picture(index).kinds) for index in range(self.made))
        own.extend(len(one.picture.kinds) for one in self.found)
        return np.array(own)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of items asked for by a plain index."""
        self.epoch = epoch

    def item(self, epoch: int, index: int) -> QuestionItem:
        """Return item `index` as it is in `epoch`."""
        generator = np.random.default_rng((_ITEM, self.seed, epoch, index))
        disturbance = self.disturbance
        if index < len(self.asked):
            question = self.asked[index]
        elif index < len(self.asked) + self.made:
            question = self._make(index - len(self.asked), random.Random(f"{self.seed} {epoch} {index}"))
        else:
            question, disturbance = self.found[index - len(self.asked) - self.made], self.mirror
        question = disturbance(question, generator, classes=self.classes)
        words, word_mask = self.preprocess.text(question.text)
        return QuestionItem(question=question, words=words, word_mask=word_mask)

    def __getitem__(self, key: int | tuple[int, int]) -> QuestionItem | RisctlError:
        """Return the item of a key (epoch, index), or the error in its place, as `TrainingSet` does."""
        epoch, index = key if isinstance(key, tuple) else (self.epoch, key)
        try:
            return self.item(epoch, index)
        except RisctlError as error:
            return error

    def _picture(self, index: int) -> BoxPicture:
        return self.pictures[index * 7919 % len(self.pictures)]  # a prime: all kinds of pictures come early

    def _make(self, index: int, rng: random.Random) -> BoxQuestion:
        picture = self._picture(index)
        for _ in range(_TRIES):
            made = questions_about(picture, rng, count=1)
            if made:
                return made[0]
        # Nothing tells the things of this picture apart: a question of people stands in.
        return rng.choice(self.asked)


def _has_word(text: str) -> bool:
    return any(map(str.isalnum, text))


def collate_questions(items: Sequence[QuestionItem], *, per_word: int, classes: int, appearance: int) -> Batch:
    """Return the batch of questions: empty images, and `asked`. The texts are cut to the longest of them."""
    words, word_mask = torch.stack([one.words for one in items]), torch.stack([one.word_mask for one in items])
    longest = int(word_mask[:, ::per_word].sum(1).max()) * per_word
    count = len(items)
    return Batch(
        images=torch.zeros(count, 3, 0, 0),
        padding=torch.ones(count, 0, 0, dtype=torch.bool),
        words=words[:, :longest],
        word_mask=word_mask[:, :longest],
        targets=None,
        geometries=(),
        texts=tuple(one.question.text for one in items),
        ids=(None,) * count,
        asked=to_asked([one.question for one in items], classes=classes, appearance=appearance),
    )


def to_asked(questions: Sequence[BoxQuestion], *, classes: int, appearance: int = 0) -> BoxTargets:
    """Return the boxes of questions as tensors. appearance: numbers a box's appearance has, 0 for none."""
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
    return BoxTargets(
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
