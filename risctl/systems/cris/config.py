"""Defines CRIS's `model` section."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from risctl.core.encoders.text.config import TextSection
from risctl.core.encoders.visual.config import VisualSection
from risctl.core.encoders.visual.registry import VisualInput
from risctl.section import ModelSection, divides, multiple_of

STRIDE = 32
"""Input pixels per cell of the coarsest map."""


class CRISVisualSection(VisualSection):
    """The visual backbone: maps at strides 8, 16 and 32, the last one of CLIP's ResNets through their pool."""

    wanted: ClassVar[VisualInput] = VisualInput(strides=(8, 16, 32), norms="trained", pooled=True)

    name: str = Field(
        default="clip_resnet50",
        description="The backbone. Published are `clip_resnet50` and `clip_resnet101`, whose `weights` are OpenAI's "
        "RN50.pt and RN101.pt.",
    )


class CRISTextSection(TextSection):
    """The text encoder."""

    name: str = Field(default="clip", description="The text encoder. The published one is `clip`.")


class CRISModel(ModelSection):
    """CRIS: CLIP-driven referring image segmentation (Wang et al., CVPR 2022)."""

    protocol: ClassVar[str] = "cris"

    system: Literal["cris"] = Field(description="Name of the system, which decides the other keys of `model`.")
    input_size: int = Field(
        default=416, ge=64, le=2048, description="Side of the square input in pixels, a multiple of 32."
    )
    max_words: int = Field(
        default=17,
        ge=3,
        le=77,
        description="Number of tokens, start and end included, after which an expression is truncated: 17 for RefCOCO "
        "and RefCOCO+, 22 for RefCOCOg.",
    )
    hidden: int = Field(
        default=512,
        ge=16,
        le=4096,
        multiple_of=4,
        description="Width of the fused map and of the decoder; parts of the neck have twice and half of it.",
    )
    heads: int = Field(default=8, ge=1, le=64, description="Attention heads; they divide `hidden` evenly.")
    decoder_layers: int = Field(default=3, ge=1, le=24, description="Layers of the decoder.")
    feed_forward: int = Field(default=2048, ge=8, le=16_384, description="Inner width of the decoder's feed-forward.")
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0, description="Dropout within the decoder.")
    visual: CRISVisualSection = Field(default_factory=CRISVisualSection, description="The visual backbone.")
    text: CRISTextSection = Field(default_factory=CRISTextSection, description="The text encoder.")

    _cells_fill_the_input = field_validator("input_size")(multiple_of(STRIDE))
    _heads_divide = field_validator("heads")(divides("hidden", named="model.hidden"))
