"""Perturbs annotated boxes as a detector would, so that a box selector trained on them also works on detected ones.

The probabilities are those of the mini model's detector on images with annotated objects: large objects are nearly
always found and small ones rarely; detections have uneven confidence; false boxes come in, most of them near true ones
and with low confidence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from risctl.data.box_grounding.records import DetectorRecords
from risctl.data.box_grounding.samples import UNKNOWN, BoxGroundingSample, ImageBoxes
from risctl.vision.colour_names import NAMES

# How often the names come up in photographs, roughly, in the order of NAMES.
_COLOUR_FREQUENCIES = np.array([25, 18, 20, 6, 4, 3, 6, 9, 2, 3, 14], dtype=np.float64) / 110
_MAX_FALSE_BOXES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxNoise:
    """How strongly samples are perturbed; each a probability per sample unless said otherwise.

    Attributes:
        flip: Left and right are exchanged.
        jitter: Standard deviation of corner noise as a fraction of the box's sides (not a probability).
        drop: Some boxes are left out.
        detector: Boxes are made to look detected.
        colours: Appearances are made up.
        typo: A word of the expression loses a letter or has two exchanged.
    """

    flip: float = 0.5
    jitter: float = 0.03
    drop: float = 0.1
    detector: float = 0.0
    colours: float = 0.0
    typo: float = 0.0

    def __call__(
        self,
        sample: BoxGroundingSample,
        generator: np.random.Generator,
        *,
        classes: int,
        records: DetectorRecords | None = None,
        parts: int = 2,
    ) -> BoxGroundingSample:
        """Returns `sample` perturbed.

        Args:
            sample: The sample.
            generator: The only source of random draws.
            classes: The number of classes, for false boxes.
            records: What a detector found; boxes that are made to look detected then look like these.
            parts: Parts of a box that made-up appearances have: upper and lower half, top.

        Returns:
            A new sample that refers to the same boxes.
        """
        if generator.random() < self.drop and len(sample.boxes) > 3:
            sample = _keep(sample, generator.random(len(sample.boxes)) > 0.15)
        if generator.random() < self.detector and (sample.boxes.category_ids != UNKNOWN).all():
            if records is None:
                sample = with_detector_noise(sample, generator, classes=classes)
            else:
                sample = records(sample, generator)
        elif self.jitter:
            sample = replace(sample, boxes=_jittered(sample.boxes, generator, std=self.jitter))
        if generator.random() < self.flip:
            sample = sample.mirrored()
        # Boxes of `records` have their own colours.
        if generator.random() < self.colours and sample.boxes.appearance is None:
            sample = with_colours(sample, generator, parts=parts)
        if generator.random() < self.typo:
            sample = replace(sample, text=_with_typo(sample.text, generator))
        return sample


def with_detector_noise(
    sample: BoxGroundingSample, generator: np.random.Generator, *, classes: int
) -> BoxGroundingSample:
    """Returns `sample` with its boxes as a detector of `classes` classes would find them; targets are always found."""
    x1, y1, x2, y2 = sample.boxes.corners.T
    area = ((x2 - x1) * (y2 - y1)).clip(min=1e-6)
    found = generator.random(len(area)) < (0.35 + 0.16 * np.log(area / 0.0005)).clip(0.15, 0.97)
    sample = _keep(sample, found)
    boxes = _jittered(sample.boxes, generator, std=0.05)
    corners, category_ids = _false_boxes(boxes, generator, classes=classes)
    confidence = np.concatenate([generator.beta(2.2, 1.0, len(boxes)), generator.beta(0.6, 4.5, len(category_ids))])
    total = len(boxes) + len(category_ids)
    detected = replace(
        boxes,
        corners=np.concatenate([boxes.corners, corners]),
        category_ids=np.concatenate([boxes.category_ids, category_ids]),
        confidence=confidence.astype(np.float32),
        category_share=generator.beta(5.0, 1.2, total).astype(np.float32),
        second_category_ids=generator.integers(0, classes, total),
    )
    return replace(sample, boxes=detected)


def with_colours(sample: BoxGroundingSample, generator: np.random.Generator, *, parts: int = 2) -> BoxGroundingSample:
    """Returns `sample` with made-up appearances: its targets have the colour it names, other boxes mostly do not.

    Where the expression names colours but it is unclear of which object, no appearance is made up.
    """
    if sample.colours is None or (sample.colours and not sample.targets):
        return sample
    named = NAMES.index(sample.colours[0]) if sample.colours else None
    rows = [
        _colour_shares(
            generator,
            dominant=named if index in sample.targets else None,
            rare=None if index in sample.targets else named,
            parts=parts,
        )
        for index in range(len(sample.boxes))
    ]
    appearance = np.stack(rows) if rows else np.zeros((0, parts * len(NAMES)), dtype=np.float32)
    return replace(sample, boxes=replace(sample.boxes, appearance=appearance))


def _keep(sample: BoxGroundingSample, mask: np.ndarray) -> BoxGroundingSample:
    mask = mask.copy()
    mask[list(sample.targets)] = True
    return sample.keep(np.flatnonzero(mask))


def _jittered(boxes: ImageBoxes, generator: np.random.Generator, *, std: float) -> ImageBoxes:
    sides = np.tile(boxes.corners[:, 2:] - boxes.corners[:, :2], 2)
    corners = boxes.corners + generator.normal(0, std, boxes.corners.shape) * sides
    corners[:, 2:] = np.maximum(corners[:, 2:], corners[:, :2] + 0.005)
    return replace(boxes, corners=corners.clip(0, 1).astype(np.float32))


def _false_boxes(boxes: ImageBoxes, generator: np.random.Generator, *, classes: int) -> tuple[np.ndarray, np.ndarray]:
    count = int(generator.integers(0, _MAX_FALSE_BOXES))
    centres, sides = generator.random((count, 2)), generator.uniform(0.02, 0.6, (count, 2))
    category_ids = generator.integers(0, classes, count)
    if len(boxes):
        near_a_box = generator.random(count) < 0.6
        neighbour = generator.integers(0, len(boxes), count)
        low, high = boxes.corners[neighbour, :2], boxes.corners[neighbour, 2:]
        near = (low + high) / 2 + generator.normal(0, 0.4, (count, 2)) * (high - low)
        size = (high - low) * np.exp(generator.normal(-0.2, 0.5, (count, 2)))
        centres, sides = np.where(near_a_box[:, None], near, centres), np.where(near_a_box[:, None], size, sides)
        same_class = near_a_box & (generator.random(count) < 0.6)
        category_ids = np.where(same_class, boxes.category_ids[neighbour], category_ids)
    corners = np.concatenate([centres - sides / 2, centres + sides / 2], 1).clip(0, 1).astype(np.float32)
    large_enough = ((corners[:, 2:] - corners[:, :2]) > 0.01).all(1)
    return corners[large_enough], category_ids[large_enough]


def _colour_shares(generator: np.random.Generator, *, dominant: int | None, rare: int | None, parts: int) -> np.ndarray:
    """Returns made-up shares of the colour names in the parts of a box, (parts * len(NAMES),)."""
    shares = np.zeros((parts, len(NAMES)), dtype=np.float32)
    for half in shares:
        count = int(generator.integers(1, 4))
        weights = generator.dirichlet(np.full(count + 1, 0.8))  # the last share has no certain name
        for weight, colour in zip(weights, generator.choice(len(NAMES), count, p=_COLOUR_FREQUENCIES), strict=False):
            if colour != rare or generator.random() < 0.1:
                half[colour] += weight
    if dominant is not None:
        first = 0 if generator.random() < 0.75 else 1
        weight = generator.uniform(0.3, 0.95)
        shares[first] *= 1 - weight
        shares[first, dominant] += weight
        if generator.random() < 0.4:
            shares[1 - first] *= 0.6
            shares[1 - first, dominant] += 0.35
    return shares.reshape(-1)


def _with_typo(text: str, generator: np.random.Generator) -> str:
    words = text.split()
    position = int(generator.integers(len(words))) if words else 0
    if not words or len(words[position]) < 4 or not words[position].isalnum():
        return text
    word = words[position]
    at = int(generator.integers(1, len(word) - 1))
    lost = generator.random() < 0.5
    words[position] = word[:at] + word[at + 1 :] if lost else word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return " ".join(words)
