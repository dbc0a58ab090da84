"""Defines ReLA's `model` section."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from risctl.core.encoders.text.config import TextSection
from risctl.core.encoders.visual.config import VisualSection
from risctl.core.encoders.visual.registry import VISUAL_ENCODERS, VisualInput
from risctl.section import Fraction, ModelSection, divides, multiple_of

STRIDE = 32
"""Input pixels per cell of the coarsest map."""


class ReLAVisualSection(VisualSection):
    """The visual backbone: maps at strides 4, 8, 16 and 32."""

    # As published: all layers of a ResNet train, its batch norms keep their statistics, scales and shifts.
    wanted: ClassVar[VisualInput] = VisualInput(norms="frozen", trained_stem=True)

    name: str = Field(
        default="swin_b", description="The backbone. Published checkpoints are of `swin_t`, `swin_b` and `resnet50`."
    )


class ReLATextSection(TextSection):
    """The text encoder."""

    name: str = Field(default="bert", description="The text encoder. The published one is `bert`.")


def _gated_by_default(data: dict[str, Any]) -> bool:
    visual = data.get("visual")
    return visual is not None and visual.name.startswith("swin_")


class ReLAModel(ModelSection):
    """ReLA: generalised referring expression segmentation, of several targets or none (Liu et al., CVPR 2023)."""

    protocol: ClassVar[str] = "rela"

    system: Literal["rela"] = Field(description="Name of the system, which decides the other keys of `model`.")
    input_size: int = Field(
        default=480,
        ge=64,
        le=2048,
        description="Side of the square input in pixels, a multiple of 32; the aspect ratio is not kept.",
    )
    max_words: int = Field(
        default=20,
        ge=3,
        le=512,
        description="Tokens of every expression, start and end included. A longer one is cut, its end token too, as "
        "published; a shorter one is padded, and the regions read the padding as well.",
    )
    regions: int = Field(
        default=10, ge=2, le=64, description="Regions along each side of the image: 10 for the published 100."
    )
    hidden: int = Field(default=256, ge=32, le=2048, multiple_of=32, description="Width of regions and maps.")
    heads: int = Field(default=8, ge=1, le=64, description="Attention heads; they divide `hidden` evenly.")
    pixel_layers: int = Field(default=6, ge=1, le=24, description="Deformable layers of the pixel decoder.")
    pixel_feed_forward: int = Field(
        default=1024, ge=8, le=16_384, description="Inner width of the pixel decoder's feed-forward."
    )
    points: int = Field(default=4, ge=1, le=16, description="Sampling points per head and map.")
    mask_channels: int = Field(default=256, ge=8, le=2048, description="Channels of the mask features.")
    layers: int = Field(
        default=9, ge=1, le=24, description="Layers of the region decoder; each reads one of three maps in turn."
    )
    feed_forward: int = Field(
        default=2048, ge=8, le=16_384, description="Inner width of the region decoder's feed-forward."
    )
    language_weight: Fraction = Field(
        default=0.1,
        description="Constant factor of the region-language attention. Published: 0.1, whatever the configuration's "
        "LANG_ATT_WEIGHT says, which the code never reads.",
    )
    no_target_threshold: Fraction = Field(
        default=0.5,
        description="Expressions whose score is below it get an empty mask; published: 0.5, the more probable of "
        "target and none. 0: every expression gets its mask.",
    )
    visual: ReLAVisualSection = Field(default_factory=ReLAVisualSection, description="The visual backbone.")
    language_gates: bool = Field(
        default_factory=_gated_by_default,
        description="Whether the backbone reads the words after each stage, as LAVT's does. Published: so with Swin, "
        "not with ResNet. Default: true for Swin.",
    )
    text: ReLATextSection = Field(default_factory=ReLATextSection, description="The text encoder.")

    _cells_fill_the_input = field_validator("input_size")(multiple_of(STRIDE))
    _heads_divide = field_validator("heads")(divides("hidden", named="model.hidden"))

    @field_validator("language_gates")
    @classmethod
    def _gates_stand_between_stages(cls, value: bool, info: ValidationInfo) -> bool:
        visual = info.data.get("visual")
        if value and visual is not None and not getattr(VISUAL_ENCODERS.get(visual.name), "staged", False):
            staged = [name for name, entry in VISUAL_ENCODERS.items() if entry.staged]
            raise PydanticCustomError(
                "clash",
                "false with {name}: gates stand between the stages of {staged}",
                {"name": visual.name, "staged": ", ".join(staged)},
            )
        return value
