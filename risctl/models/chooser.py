"""Chooses among foreign instances with mini's box selector: it reads place, order, relation, colour and number."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.core.encoders.base import TextFeatures
from risctl.core.fusion.box_selector import BoxScores, EncodedBoxes
from risctl.core.fusion.colour_histograms import APPEARANCE, PARTS, looks_of
from risctl.core.heads.detector import DetectionBatch
from risctl.core.heads.roi_ops import nms
from risctl.data.box_grounding.boxes import Boxes
from risctl.errors import UsageError
from risctl.inference.encoded_image import encode_texts
from risctl.language.coco_classes import CLASSES
from risctl.models.batches import encoded_images
from risctl.models.instances import Instances, MaskMaker, PhraseFinder
from risctl.models.networks import DrawnFinder, FoundImage, FromBoxes, Lazy
from risctl.models.nouns import categories_of, nouns_of
from risctl.systems.mini.model import Mini
from risctl.zeroshot.text_prompted import Candidates

_TARGET_PROBABILITY = 0.5  # probability from which an instance beside the best one is chosen too, as in mini
_SLOPE = 11.0  # how fast the trust in a detection grows with its score, as in mini
_MOST = 40  # instances that are chosen among, as in mini
_LONGEST_SIDE = 640  # colours are read from a smaller image: they need no detail
_OVERLAP = 0.7  # of boxes of several nouns that overlap this much, the best alone is kept
_NAMES = tuple(CLASSES[category] for category in sorted(CLASSES))


class Chooser:
    """mini's box selector, fed with the instances of another model."""

    def __init__(self, system: Mini) -> None:
        """Takes the mini whose box selector chooses.

        Args:
            system: The model, in evaluation mode.

        Raises:
            UsageError: Its box selector reads an appearance that only its own detector gives.
        """
        if system.grounding_spec.appearance not in (0, APPEARANCE, PARTS):
            raise UsageError(
                "the box selector of this checkpoint reads features of its own detector and cannot choose among the "
                "instances of another; use the mini that comes with risctl"
            )
        self.system = system
        self.no_target_threshold = system.no_target_threshold

    @torch.no_grad()
    def encode(
        self, instances: Instances, pixels: np.ndarray, *, even_score: float
    ) -> tuple[EncodedBoxes, DetectionBatch]:
        """Encodes the boxes of the first 40 instances of an image, independently of any text.

        Args:
            instances: The instances, best first.
            pixels: The image, uint8 RGB (H, W, 3).
            even_score: The score at which an instance of this finder is there as probably as not.
        """
        height, width = pixels.shape[:2]
        corners = torch.from_numpy(instances.boxes[:_MOST])[None]
        sizes = torch.tensor([width, height, width, height], dtype=torch.float32)
        trust = torch.from_numpy(instances.scores[:_MOST])[None]
        scores = torch.zeros(1, corners.shape[1], self.system.box_selector.classes)
        for row, name in enumerate(instances.names[:_MOST]):
            named = [_NAMES.index(one) for one in categories_of(name, _NAMES)]
            # What COCO does not know is a box without a category, which the selector takes as well.
            scores[0, row, named] = trust[0, row]
        present = torch.ones(1, corners.shape[1], dtype=torch.bool)
        boxes = Boxes(
            corners=corners / sizes,
            classes=scores.square() / scores.square().sum(-1, keepdim=True).clamp(min=1e-6),
            mask=present,
            aspect=torch.tensor([width / height]),
            confidence=((trust - even_score) * _SLOPE).sigmoid(),
            appearance=self._appearance(corners, pixels),
        )
        device = next(self.system.parameters()).device
        detections = DetectionBatch(corners=corners.to(device), scores=scores.to(device), mask=present.to(device))
        return self.system.box_selector.encode_boxes(boxes.to(device)), detections

    @torch.no_grad()
    def choose(
        self, encoded: tuple[EncodedBoxes, DetectionBatch], text: str
    ) -> tuple[np.ndarray, tuple[int, ...], float]:
        """Chooses among the boxes of one image.

        Args:
            encoded: What `encode` returned, of at least one box.
            text: The expression.

        Returns:
            The probability (N,) that each box is referred to, the positions of the chosen ones, the best first, and the
            probability that anything is referred to.
        """
        boxes, detections = encoded
        features: TextFeatures = encode_texts(self.system, [self.system.preprocess.text(text)])
        choice: BoxScores = self.system.box_selector(features.words, features.mask, boxes)
        shares: Tensor = choice.scores[0].sigmoid()
        best = int(choice.scores[0].argmax())
        others = torch.nonzero(shares > _TARGET_PROBABILITY)[:, 0].tolist()
        presence = float(self.system.presence(choice, detections)[0])
        return shares.cpu().numpy(), (best, *(one for one in others if one != best)), presence

    def is_truncated(self, text: str) -> bool:
        """Returns whether `text` has more words than the selector reads."""
        return len(text.split()) > self.system.preprocess.max_words  # type: ignore[attr-defined]

    def _appearance(self, corners: Tensor, pixels: np.ndarray) -> Tensor | None:
        if not self.system.grounding_spec.appearance:
            return None
        image = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float() / 255
        scale = min(1.0, _LONGEST_SIDE / max(pixels.shape[:2]))
        if scale < 1:
            image = torch.nn.functional.interpolate(image, scale_factor=scale, mode="bilinear", antialias=True)
        return looks_of(image, corners * scale, count=self.system.grounding_spec.appearance)


def load_chooser(model: str | Path | None = None, *, device: torch.device | str = "cpu") -> Chooser:
    """Opens the box selector of a mini.

    Args:
        model: As `load_checkpoint` takes it; None for the mini that comes with risctl.
        device: Where it computes.

    Raises:
        CheckpointError: There is no usable checkpoint.
        UsageError: It holds another system, or a box selector that cannot choose among foreign instances.
    """
    system = load_checkpoint(model, device).system
    if not isinstance(system, Mini):
        raise UsageError(f"expected a checkpoint of mini for the chooser, got a {type(system).__name__}")
    return Chooser(system)


class ChosenByCategory:
    """A detector of trained categories, among whose instances the chooser chooses."""

    def __init__(self, found: DrawnFinder, chooser: Chooser) -> None:
        self.name = f"{found.name} + mini's chooser"
        self.min_score = chooser.no_target_threshold
        self.labels = found.finder.labels
        self._found, self._chooser = found, chooser

    def encode(self, pixels: np.ndarray) -> tuple[FoundImage, Any]:
        """Finds the instances of an RGB image, uint8 (H, W, 3), and encodes their boxes."""
        return self.encode_images([pixels])[0]

    def encode_images(self, images: Sequence[np.ndarray]) -> list[tuple[FoundImage, Any]]:
        """Returns what `encode` makes of each image."""
        even = self._found.finder.min_score
        return [
            (found, Lazy(partial(self._chooser.encode, found.instances, pixels, even_score=even)))
            for found, pixels in zip(self._found.encode_images(images), images, strict=True)
        ]

    def find(self, encoded: tuple[FoundImage, Any], texts: Sequence[str]) -> list[Candidates]:
        """Returns the instances as candidates, with those that the chooser chose for each text."""
        found, boxes = encoded
        return [_candidates(self._chooser, found, boxes, text) for text in texts]

    def is_truncated(self, text: str) -> bool:
        """Returns whether `text` has more words than the chooser reads."""
        return self._chooser.is_truncated(text)


class ChosenByPhrase:
    """A detector that is asked for the nouns of a phrase, among whose boxes the chooser chooses."""

    def __init__(self, finder: PhraseFinder, masks: MaskMaker, chooser: Chooser) -> None:
        self.name = f"{finder.name} + {masks.name} + mini's chooser"
        self.min_score = chooser.no_target_threshold
        self._finder, self._masks, self._chooser = finder, masks, chooser

    def encode(self, pixels: np.ndarray) -> tuple[np.ndarray, Any, Lazy]:
        """Prepares an RGB image, uint8 (H, W, 3), for the detector and the segmenter."""
        return self.encode_images([pixels])[0]

    def encode_images(self, images: Sequence[np.ndarray]) -> list[tuple[np.ndarray, Any, Lazy]]:
        """Returns what `encode` makes of each image."""
        return [
            (pixels, one, Lazy(partial(self._masks.encode, pixels)))
            for pixels, one in zip(images, encoded_images(self._finder, images), strict=True)
        ]

    def find(self, encoded: tuple[np.ndarray, Any, Lazy], texts: Sequence[str]) -> list[Candidates]:
        """Asks for the nouns of all texts at once, and chooses among those of each text."""
        pixels, image, embedding = encoded
        nouns = [nouns_of(text) for text in texts]
        asked = list(dict.fromkeys(noun for some in nouns for noun in some))
        boxes = dict(zip(asked, self._finder.find(image, asked), strict=True))
        results = []
        for text, some in zip(texts, nouns, strict=True):
            instances = _together([boxes[noun] for noun in some])
            found = FoundImage(instances=instances, draw=FromBoxes(instances.boxes, self._masks, embedding))
            make = partial(self._chooser.encode, instances, pixels, even_score=self._finder.min_score)
            results.append(_candidates(self._chooser, found, Lazy(make), text))
        return results

    def is_truncated(self, text: str) -> bool:
        """Returns whether `text` has more words than the chooser reads."""
        return self._chooser.is_truncated(text)


def _candidates(chooser: Chooser, found: FoundImage, boxes: Lazy, text: str) -> Candidates:
    """Returns the instances of an image with those that the chooser chose for a text."""
    if not len(found.instances):
        return Candidates(scores=np.zeros(0, dtype=np.float32), draw=found.draw, chosen=(), presence=0.0)
    shares, chosen, presence = chooser.choose(boxes(), text)
    return Candidates(scores=shares, draw=found.draw, chosen=chosen, presence=presence)


def _together(found: Sequence[Instances]) -> Instances:
    """Returns the boxes of several nouns, best first; of boxes that overlap much, the best alone."""
    boxes = np.concatenate([one.boxes for one in found])
    scores = np.concatenate([one.scores for one in found])
    names = [name for one in found for name in one.names]
    kept = nms(torch.from_numpy(boxes), torch.from_numpy(scores), _OVERLAP)[:_MOST].tolist()
    return Instances(boxes=boxes[kept], scores=scores[kept], names=tuple(names[row] for row in kept))
