"""Lists the families of transformers that can be fine-tuned: to add one, a class with `Family`'s methods and a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from torch import Tensor

from risctl.core.encoders.base import TextFeatures, VisualFeatures
from risctl.data.batch import Batch
from risctl.errors import CheckpointError
from risctl.systems.base import Output


class Family(Protocol):
    """How a system talks to the models of a family. It holds no weights: each method is given the model.

    Attributes:
        finds: "masks" or "boxes": what its answers are made of.
        visual: Names that the parameters of the image encoder begin with.
        text: Names that those of the text encoder begin with.
        attention: Last parts of the names of the linear layers that get an adapter by default.
        min_score: The published score from which an instance is taken as found; None where every phrase is answered.
    """

    finds: str
    visual: tuple[str, ...]
    text: tuple[str, ...]
    attention: tuple[str, ...]
    min_score: float | None

    def unused(self, model: Any) -> tuple[str, ...]:
        """Returns what the names of parameters begin with that no phrase leads to, so that they never train."""

    def caption(self, text: str) -> str:
        """Returns a phrase as the family reads it."""

    def max_tokens(self, config: Any) -> int:
        """Returns how many tokens a model reads, those that mark the ends included."""

    def encode_image(self, model: Any, pixels: Tensor, padding: Tensor) -> tuple[Tensor, ...]:
        """Returns what does not depend on a text, each tensor (B, …).

        Args:
            model: The model.
            pixels: (B, 3, H, W), normalised, 0 where there is no image.
            padding: Bool (B, H, W), True where there is no image.
        """

    def encode_text(self, model: Any, ids: Tensor, mask: Tensor) -> TextFeatures:
        """Returns what does not depend on an image, of token ids (B, L) with mask (B, L)."""

    def decode(self, model: Any, visual: VisualFeatures, text: TextFeatures, *, min_score: float) -> Output:
        """Answers N phrases about N images, row by row."""

    def loss(self, model: Any, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns the loss terms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyEntry:
    """A `model_type` that can be fine-tuned.

    Attributes:
        family: Its family, as `module:class` of this package.
        opened_by: The class of transformers that opens it.
        recipe: The shipped recipe that fine-tunes it, or one like it.
        reads: The class of transformers that reads its configuration; None: the class itself knows.
    """

    family: str
    opened_by: str
    recipe: str
    reads: str | None = None


_GROUNDING = FamilyEntry(
    family="grounding_dino:GroundingDino",
    opened_by="AutoModelForZeroShotObjectDetection",
    recipe="finetune-grounding-dino",
)
_OWL = FamilyEntry(family="owl:Owl", opened_by="AutoModelForZeroShotObjectDetection", recipe="finetune-owlv2")
FAMILIES: Mapping[str, FamilyEntry] = {
    "clipseg": FamilyEntry(
        family="clipseg:ClipSeg", opened_by="CLIPSegForImageSegmentation", recipe="finetune-clipseg"
    ),
    "sam3": FamilyEntry(family="sam3:Sam3", opened_by="Sam3Model", recipe="finetune-sam3"),
    # SAM 3 is published as a model of videos, of which the text's part is one.
    "sam3_video": FamilyEntry(family="sam3:Sam3", opened_by="Sam3Model", recipe="finetune-sam3", reads="Sam3Config"),
    "grounding-dino": _GROUNDING,
    "mm-grounding-dino": _GROUNDING,
    "owlvit": _OWL,
    "owlv2": _OWL,
}
"""The families by `model_type`."""


def entry_of(kind: str, *, source: str) -> FamilyEntry:
    """Returns the entry of a `model_type`.

    Raises:
        CheckpointError: It cannot be fine-tuned; the message says which can.
    """
    if kind not in FAMILIES:
        raise CheckpointError(f"{source} holds a {kind}, which risctl cannot fine-tune; it can: {', '.join(FAMILIES)}")
    return FAMILIES[kind]


def family_of(kind: str, *, source: str) -> Family:
    """Returns the family of a `model_type`. Raises `CheckpointError` as `entry_of` does."""
    module, _, name = entry_of(kind, source=source).family.partition(":")
    family: Family = getattr(import_module(f"risctl.systems.transformers.{module}"), name)()
    return family


def instance_targets(batch: Batch) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Returns the boxes and masks of what each phrase of a batch refers to.

    Returns:
        Boxes (N, 4), centre and size as fractions of each image's own input, and masks, bool (N, h, w) of that input.
        A batch without instances has one a phrase, its target, and none where that is empty.

    Raises:
        ValueError: The batch has no targets.
    """
    from risctl.core.losses.boxes import masks_to_cxcywh

    if batch.targets is None:
        raise ValueError("expected a batch with targets")
    boxes, masks = [], []
    for row, geometry in enumerate(batch.geometries):
        height, width = geometry.padding().shape
        if batch.instances is None:
            own = batch.targets[row : row + 1, :height, :width] > 0.5
        else:
            own = batch.instances[row].masks
        # What is too small to be seen in the input is none.
        own = own[own.flatten(1).any(1)]
        masks.append(own)
        boxes.append(masks_to_cxcywh(own) / own.new_tensor([width, height, width, height], dtype=batch.targets.dtype))
    return boxes, masks
