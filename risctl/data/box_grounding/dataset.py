"""Serves box-grounding samples as training items and collates them into batches without images."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from risctl.data.batch import Batch, Preprocess
from risctl.data.box_grounding.absent import AbsentTexts
from risctl.data.box_grounding.boxes import Boxes, BoxTargets
from risctl.data.box_grounding.noise import BoxNoise
from risctl.data.box_grounding.records import DetectorRecords
from risctl.data.box_grounding.samples import UNKNOWN, BoxGroundingSample, ImageBoxes
from risctl.data.datasets.coco_phrases.about_boxes import phrases_about
from risctl.data.loading.loader import KeyedDataset
from risctl.errors import DataError
from risctl.vision.colour_names import NAMES

_ITEM_STREAM = 3  # first entry of every seed: no other dataset draws from this stream
_TRIES = 4
_ABSENT_LENGTH = 20  # boxes of an image, roughly: which one it is is drawn with the item


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxGroundingItem:
    """A sample and its text as `Preprocess.text` encodes it."""

    sample: BoxGroundingSample
    words: Tensor
    word_mask: Tensor


class BoxGroundingDataset(KeyedDataset[BoxGroundingItem]):
    """Training items about boxes: annotated by people, with generated expressions, or about detected boxes.

    An item depends only on (seed, epoch, index). Samples without a word ("...") are left out and counted in `left_out`.
    """

    def __init__(
        self,
        preprocess: Preprocess,
        *,
        annotated: Sequence[BoxGroundingSample] = (),
        generated: int = 0,
        detected: Sequence[BoxGroundingSample] = (),
        layouts: Sequence[ImageBoxes] = (),
        records: DetectorRecords | None = None,
        made: int = 0,
        absent: int = 0,
        noise: BoxNoise,
        per_word: int,
        classes: int,
        appearance: int,
        seed: int,
    ) -> None:
        """Creates the dataset.

        Args:
            preprocess: Encodes the texts.
            annotated: Samples that people wrote about annotated boxes.
            generated: Number of items with generated expressions about those boxes, new ones in every epoch.
            detected: Samples about boxes that a detector found; only `noise.flip` and `noise.typo` apply to them.
            layouts: Boxes of known classes without expressions: where given, `generated` items are about these.
            records: What a detector found; takes the place of `noise`'s detector.
            made: Number of items with generated expressions about the detections of `records`, new ones in every epoch.
            absent: Number of items with an annotated expression about what another image does not show.
            noise: How annotated and generated samples are perturbed.
            per_word: Ids per word in what the preprocess returns.
            classes: The number of classes of boxes.
            appearance: Appearance features per box.
            seed: Seed of all random draws.

        Raises:
            DataError: No sample is left.
        """
        self.preprocess = preprocess
        self.annotated = [sample for sample in annotated if _has_word(sample.text)]
        self.detected = [sample for sample in detected if _has_word(sample.text)]
        images = {id(sample.boxes): sample.boxes for sample in self.annotated}
        self.images = [boxes for boxes in images.values() if len(boxes) and (boxes.category_ids != UNKNOWN).all()]
        annotated_images = self.images
        self.images = list(layouts) or self.images
        self.generated = generated if self.images else 0
        self.records = records
        self.made = made if records is not None else 0
        self.absent = absent
        self._absent_texts = AbsentTexts(self.annotated, annotated_images) if absent else None
        self.noise = noise
        self.detected_noise = BoxNoise(flip=noise.flip, jitter=0.0, drop=0.0, typo=noise.typo)
        self.seed = seed
        self.left_out = len(annotated) - len(self.annotated) + len(detected) - len(self.detected)
        self.classes = classes
        self.parts = max(appearance // len(NAMES), 2)
        if not len(self):
            raise DataError("there is no sample to train on: data.box_grounding names no file and the store has none")
        self.collate: Callable[[Sequence[BoxGroundingItem]], Batch] = partial(
            collate_box_grounding, per_word=per_word, classes=classes, appearance=appearance
        )

    def __len__(self) -> int:
        return len(self.annotated) + self.generated + len(self.detected) + self.made + self.absent

    @property
    def lengths(self) -> np.ndarray:
        """Number of boxes of each item, so that similar ones can be batched together."""
        lengths = [len(sample.boxes) for sample in self.annotated]
        lengths.extend(len(self._image(index)) for index in range(self.generated))
        lengths.extend(len(sample.boxes) for sample in self.detected)
        lengths.extend(len(self.records.detections(self._picture(index))) for index in range(self.made) if self.records)
        lengths.extend([_ABSENT_LENGTH] * self.absent)
        return np.array(lengths)

    def item(self, epoch: int, index: int) -> BoxGroundingItem:
        """Returns item `index` as it is in `epoch`."""
        generator = np.random.default_rng((_ITEM_STREAM, self.seed, epoch, index))
        sample, noise = self._sample(index, random.Random(f"{self.seed} {epoch} {index}"))
        sample = noise(sample, generator, classes=self.classes, records=self.records, parts=self.parts)
        words, word_mask = self.preprocess.text(sample.text)
        return BoxGroundingItem(sample=sample, words=words, word_mask=word_mask)

    def _sample(self, index: int, rng: random.Random) -> tuple[BoxGroundingSample, BoxNoise]:
        """Returns the sample of an item and the noise that it gets."""
        if index < len(self.annotated):
            return self.annotated[index], self.noise
        index -= len(self.annotated)
        if index < self.generated:
            return self._generate(index, rng), self.noise
        index -= self.generated
        if index < len(self.detected):
            return self.detected[index], self.detected_noise
        index -= len(self.detected)
        if index >= self.made and self._absent_texts is not None:
            return self._absent_texts.draw(rng), self.noise
        return self._make(index, rng)

    def _picture(self, index: int) -> int:
        return index * 7919 % len(self.records) if self.records is not None else 0

    def _make(self, index: int, rng: random.Random) -> tuple[BoxGroundingSample, BoxNoise]:
        for _ in range(_TRIES):
            made = None if self.records is None else self.records.made(self._picture(index), rng)
            if made is not None:
                return made, self.detected_noise
            index += 1
        return rng.choice(self.annotated), self.noise

    def _image(self, index: int) -> ImageBoxes:
        return self.images[index * 7919 % len(self.images)]  # a prime, so that all kinds of images come early

    def _generate(self, index: int, rng: random.Random) -> BoxGroundingSample:
        boxes = self._image(index)
        for _ in range(_TRIES):
            generated = phrases_about(boxes, rng, count=1)
            if generated:
                return generated[0]
        # Nothing distinguishes the objects of this image: an annotated sample takes its place.
        return rng.choice(self.annotated)


def _has_word(text: str) -> bool:
    return any(map(str.isalnum, text))


def collate_box_grounding(items: Sequence[BoxGroundingItem], *, per_word: int, classes: int, appearance: int) -> Batch:
    """Collates items into a batch with empty images and `box_targets`; texts are cut to the longest of them."""
    words, word_mask = torch.stack([item.words for item in items]), torch.stack([item.word_mask for item in items])
    longest = int(word_mask[:, ::per_word].sum(1).max()) * per_word
    count = len(items)
    return Batch(
        images=torch.zeros(count, 3, 0, 0),
        padding=torch.ones(count, 0, 0, dtype=torch.bool),
        words=words[:, :longest],
        word_mask=word_mask[:, :longest],
        targets=None,
        geometries=(),
        texts=tuple(item.sample.text for item in items),
        ids=(None,) * count,
        box_targets=to_box_targets([item.sample for item in items], classes=classes, appearance=appearance),
    )


def to_box_targets(samples: Sequence[BoxGroundingSample], *, classes: int, appearance: int = 0) -> BoxTargets:
    """Converts samples to tensors, padded to the largest number of boxes.

    Args:
        samples: B samples.
        classes: The number of classes.
        appearance: Appearance features per box, 0 for none.

    Returns:
        The boxes and targets of the samples.
    """
    shape = (len(samples), max((len(sample.boxes) for sample in samples), default=0))
    corners, mask = np.zeros((*shape, 4), dtype=np.float32), np.zeros(shape, dtype=bool)
    category_ids, second_ids = np.full(shape, UNKNOWN), np.zeros(shape, dtype=np.int64)
    category_share, confidence = np.ones(shape, dtype=np.float32), np.ones(shape, dtype=np.float32)
    features, has_appearance = np.zeros((*shape, appearance), dtype=np.float32), np.zeros(shape, dtype=bool)
    is_target = np.zeros(shape, dtype=np.float32)
    for row, sample in enumerate(samples):
        boxes, count = sample.boxes, len(sample.boxes)
        corners[row, :count], category_ids[row, :count], mask[row, :count] = boxes.corners, boxes.category_ids, True
        is_target[row, list(sample.targets)] = 1
        if boxes.confidence is not None:
            confidence[row, :count] = boxes.confidence
        if boxes.category_share is not None and boxes.second_category_ids is not None:
            category_share[row, :count], second_ids[row, :count] = boxes.category_share, boxes.second_category_ids
        if boxes.appearance is not None and appearance:
            features[row, :count], has_appearance[row, :count] = boxes.appearance, True
    categories, share = torch.from_numpy(category_ids), torch.from_numpy(category_share)[..., None]
    scores = torch.zeros(*shape, classes)
    scores.scatter_(2, categories.clamp(min=0)[..., None], share)
    scores.scatter_add_(2, torch.from_numpy(second_ids)[..., None], 1 - share)
    return BoxTargets(
        boxes=Boxes(
            corners=torch.from_numpy(corners),
            classes=scores * (categories != UNKNOWN)[..., None],
            mask=torch.from_numpy(mask),
            aspect=torch.tensor([sample.boxes.aspect for sample in samples], dtype=torch.float32),
            confidence=torch.from_numpy(confidence),
            appearance=torch.from_numpy(features) if has_appearance.any() else None,
            has_appearance=torch.from_numpy(has_appearance) if has_appearance.any() else None,
        ),
        is_target=torch.from_numpy(is_target),
        category_ids=categories,
    )
