"""What a detector does to boxes, made up: so that a choice learned on known boxes holds on found ones.

The shares are those of the mini model's finder on pictures with known things: big things are found nearly always, small
ones rarely; what is found has doubt; false boxes come in, most of them near true ones and with little sureness.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from risctl.data.box_grounding import UNKNOWN, BoxPicture, BoxQuestion
from risctl.vision.colour_names import NAMES

# How often the names come up in photographs, roughly, in the order of NAMES.
_COLOUR_SHARES = np.array([25, 18, 20, 6, 4, 3, 6, 9, 2, 3, 14], dtype=np.float64) / 110
_MOST_FALSE = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """How much questions are disturbed for training; each a probability unless said otherwise.

    flip: left and right exchanged; jitter: of corners, a share of the box's sides (not a probability); drop: that some
    boxes are left out; detector: that boxes are made to look found; colours: that an appearance is made up; typo:
    that a word loses or exchanges letters.
    """

    flip: float = 0.5
    jitter: float = 0.03
    drop: float = 0.1
    detector: float = 0.0
    colours: float = 0.0
    typo: float = 0.0

    def __call__(self, question: BoxQuestion, generator: np.random.Generator, *, classes: int) -> BoxQuestion:
        """Return `question` disturbed."""
        if generator.random() < self.drop and len(question.picture.kinds) > 3:
            question = _kept(question, generator.random(len(question.picture.kinds)) > 0.15)
        if generator.random() < self.detector and (question.picture.kinds != UNKNOWN).all():
            question = as_found(question, generator, classes=classes)
        elif self.jitter:
            question = replace(question, picture=_jittered(question.picture, generator, share=self.jitter))
        if generator.random() < self.flip:
            question = question.mirrored()
        if generator.random() < self.colours:
            question = with_colours(question, generator)
        if generator.random() < self.typo:
            question = replace(question, text=_mistyped(question.text, generator))
        return question


def as_found(question: BoxQuestion, generator: np.random.Generator, *, classes: int) -> BoxQuestion:
    """Return `question` about boxes as a detector would give them; what it means is always found."""
    x1, y1, x2, y2 = question.picture.corners.T
    area = ((x2 - x1) * (y2 - y1)).clip(min=1e-6)
    found = generator.random(len(area)) < (0.35 + 0.16 * np.log(area / 0.0005)).clip(0.15, 0.97)
    question = _kept(question, found)
    picture = _jittered(question.picture, generator, share=0.05)
    count = len(picture.kinds)
    corners, kinds = _false_boxes(picture, generator, classes=classes)
    sureness = np.concatenate([generator.beta(2.2, 1.0, count), generator.beta(0.6, 4.5, len(kinds))])
    total = count + len(kinds)
    found_picture = replace(
        picture,
        corners=np.concatenate([picture.corners, corners]),
        kinds=np.concatenate([picture.kinds, kinds]),
        sureness=sureness.astype(np.float32),
        blend=generator.beta(5.0, 1.2, total).astype(np.float32),
        other=generator.integers(0, classes, total),
    )
    return replace(question, picture=found_picture)


def with_colours(question: BoxQuestion, generator: np.random.Generator) -> BoxQuestion:
    """Return `question` with made-up appearances: what is meant has the colour that is said of it, others mostly not.

    Where the phrase names colours but it is not plain of what, no appearance is made up.
    """
    if question.colours is None or (question.colours and not question.targets):
        return question
    said = NAMES.index(question.colours[0]) if question.colours else None
    rows = [
        _shares(
            generator,
            own=said if index in question.targets else None,
            rare=None if index in question.targets else said,
        )
        for index in range(len(question.picture.kinds))
    ]
    appearance = np.stack(rows) if rows else np.zeros((0, 2 * len(NAMES)), dtype=np.float32)
    return replace(question, picture=replace(question.picture, appearance=appearance))


def _kept(question: BoxQuestion, keep: np.ndarray) -> BoxQuestion:
    keep = keep.copy()
    keep[list(question.targets)] = True
    return question.keep(np.flatnonzero(keep))


def _jittered(picture: BoxPicture, generator: np.random.Generator, *, share: float) -> BoxPicture:
    sides = np.tile(picture.corners[:, 2:] - picture.corners[:, :2], 2)
    corners = picture.corners + generator.normal(0, share, picture.corners.shape) * sides
    corners[:, 2:] = np.maximum(corners[:, 2:], corners[:, :2] + 0.005)
    return replace(picture, corners=corners.clip(0, 1).astype(np.float32))


def _false_boxes(picture: BoxPicture, generator: np.random.Generator, *, classes: int) -> tuple[np.ndarray, np.ndarray]:
    count = int(generator.integers(0, _MOST_FALSE))
    middles, sides = generator.random((count, 2)), generator.uniform(0.02, 0.6, (count, 2))
    kinds = generator.integers(0, classes, count)
    if len(picture.kinds):
        beside = generator.random(count) < 0.6
        model = generator.integers(0, len(picture.kinds), count)
        low, high = picture.corners[model, :2], picture.corners[model, 2:]
        near = (low + high) / 2 + generator.normal(0, 0.4, (count, 2)) * (high - low)
        size = (high - low) * np.exp(generator.normal(-0.2, 0.5, (count, 2)))
        middles, sides = np.where(beside[:, None], near, middles), np.where(beside[:, None], size, sides)
        kinds = np.where(beside & (generator.random(count) < 0.6), picture.kinds[model], kinds)
    corners = np.concatenate([middles - sides / 2, middles + sides / 2], 1).clip(0, 1).astype(np.float32)
    sized = ((corners[:, 2:] - corners[:, :2]) > 0.01).all(1)
    return corners[sized], kinds[sized]


def _shares(generator: np.random.Generator, *, own: int | None, rare: int | None) -> np.ndarray:
    """Return made-up shares of the colour names, upper half and lower half; `own` is plainly there, `rare` is not."""
    shares = np.zeros((2, len(NAMES)), dtype=np.float32)
    for half in shares:
        count = int(generator.integers(1, 4))
        weights = generator.dirichlet(np.full(count + 1, 0.8))  # the last part has no sure name
        for weight, colour in zip(weights, generator.choice(len(NAMES), count, p=_COLOUR_SHARES), strict=False):
            if colour != rare or generator.random() < 0.1:
                half[colour] += weight
    if own is not None:
        first = 0 if generator.random() < 0.75 else 1
        weight = generator.uniform(0.3, 0.95)
        shares[first] *= 1 - weight
        shares[first, own] += weight
        if generator.random() < 0.4:
            shares[1 - first] *= 0.6
            shares[1 - first, own] += 0.35
    return shares.reshape(-1)


def _mistyped(text: str, generator: np.random.Generator) -> str:
    words = text.split()
    place = int(generator.integers(len(words))) if words else 0
    if not words or len(words[place]) < 4 or not words[place].isalnum():
        return text
    word = words[place]
    at = int(generator.integers(1, len(word) - 1))
    lost = generator.random() < 0.5
    words[place] = word[:at] + word[at + 1 :] if lost else word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return " ".join(words)
