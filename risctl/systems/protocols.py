"""Defines what only some systems can do, one protocol per ability; callers ask with `isinstance`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from risctl.core.encoders.base import VisualFeatures
from risctl.data.box_grounding.boxes import Boxes
from risctl.errors import UsageError
from risctl.language.coco_classes import ClassSplit
from risctl.results import Detection
from risctl.systems.base import Output
from risctl.vision.geometry import Geometry


@runtime_checkable
class Detector(Protocol):
    """Detects instances of named categories."""

    def detect(
        self, features: VisualFeatures, groups: Sequence[Sequence[str]], *, geometry: Geometry, min_score: float
    ) -> list[Detection]:
        """Detects instances in one encoded image.

        Args:
            features: What `encode_image` returned for the one image.
            groups: Groups of category names. Each group is ranked and limited alone, so that categories of one group
                do not displace those of another.
            geometry: How the image lies in the network's input.
            min_score: Only detections that score above it are returned.

        Returns:
            The detections, group by group, each group by falling score.

        Raises:
            UsageError: A name is unknown.
        """


@runtime_checkable
class ZeroShotDetector(Detector, Protocol):
    """A detector trained on the seen categories of a split, also for its unseen ones."""

    class_split: ClassSplit


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxGroundingSpec:
    """The shapes that a box grounder expects.

    Attributes:
        ids_per_word: Ids that `preprocess.text` returns per word.
        categories: Category scores per box in `Boxes.classes`.
        appearance: Appearance features per box in `Boxes.appearance`; 0 for none.
    """

    ids_per_word: int
    categories: int
    appearance: int


@runtime_checkable
class BoxGrounder(Protocol):
    """Grounds expressions by choosing among boxes that it finds, or that it is given."""

    grounding_spec: BoxGroundingSpec

    def boxes_of(self, features: VisualFeatures) -> Boxes:
        """Returns the boxes of encoded images, among which expressions choose."""


@runtime_checkable
class QuerySelector(Protocol):
    """Decodes several object queries, the best of which is the answer."""

    def select_query(self, output: Output, query: Tensor) -> Output:
        """Returns `output` with other queries as answers.

        Args:
            output: An output with the map "query_scores" (B, T, Q).
            query: The query of each row, int64 (B,), in place of the one with the highest mean score.
        """


@runtime_checkable
class VideoSystem(Protocol):
    """Can encode clips (B, T, 3, H, W), its logits then being (B, T, h, w).

    Attributes:
        takes_clips: Whether this instance decodes all frames of a clip; False if only the middle one.
    """

    takes_clips: bool


@runtime_checkable
class WindowEncoder(Protocol):
    """Encodes a frame together with those around it, and decodes that frame alone.

    Attributes:
        window: Frames that are encoded together when predicting; 1: the frame alone.
    """

    window: int

    def encode_window(self, images: Tensor, padding: Tensor, frame: Tensor) -> VisualFeatures:
        """Encodes clips (B, T, 3, H, W) with padding (B, H, W); the features are of the frames `frame` (B,) alone."""


@runtime_checkable
class InstanceLearner(Protocol):
    """Can be trained on all annotated instances of an image (`Batch.instances`), without expressions.

    Attributes:
        instances_only: Whether it is always trained so, whatever `data.items` says.
    """

    instances_only: bool


@runtime_checkable
class PhraseInstanceLearner(Protocol):
    """Can be trained on each of the instances that an expression refers to, apart from their union.

    Attributes:
        learns_phrase_instances: Whether this one is.
    """

    learns_phrase_instances: bool


@runtime_checkable
class InstanceScorer(Protocol):
    """Answers an expression with all instances that score enough.

    Attributes:
        no_target_threshold: The score from which there is an answer.
        min_score: The score from which an instance belongs to it; 0: there are no instances to choose among.
    """

    no_target_threshold: float
    min_score: float


@runtime_checkable
class CategoryLearner(Protocol):
    """Learns the category of the referred object.

    Attributes:
        num_categories: Category ids 0 to `num_categories` - 1 are told apart; 1: referred or not.
    """

    num_categories: int


def takes_clips(system: object) -> bool:
    """Returns whether `system` encodes clips and decodes every frame of them."""
    return isinstance(system, VideoSystem) and system.takes_clips


def window_of(system: object) -> int:
    """Returns how many frames `system` is given to predict a single one."""
    return system.window if isinstance(system, WindowEncoder) else 1


def as_detector(system: object) -> Detector:
    """Returns `system` as a detector.

    Raises:
        UsageError: It only segments expressions.
    """
    if not isinstance(system, Detector):
        raise UsageError(
            f"{type(system).__name__} answers phrases only; categories are detected by the model that comes with "
            "risctl, or by a ZSI checkpoint"
        )
    return system


def as_box_grounder(system: object) -> BoxGrounder:
    """Returns `system` as a box grounder.

    Raises:
        UsageError: It does not choose among boxes.
    """
    if not isinstance(system, BoxGrounder):
        raise UsageError(f"{type(system).__name__} does not choose among boxes")
    return system
