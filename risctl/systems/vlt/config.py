"""Defines VLT's `model` section."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from risctl.core.encoders.text.config import TextSection
from risctl.core.encoders.visual.config import VisualSection
from risctl.core.encoders.visual.registry import VisualInput
from risctl.section import ModelSection, divides, multiple_of

STRIDE = 32
"""Input pixels per cell of the coarsest map."""


class VLTVisualSection(VisualSection):
    """The visual backbone: maps at strides 8, 16 and 32."""

    wanted: ClassVar[VisualInput] = VisualInput(strides=(8, 16, 32), norms="trained")

    name: str = Field(default="darknet53", description="The backbone. The published one is `darknet53`.")


class VLTTextSection(TextSection):
    """The text encoder."""

    name: str = Field(default="bigru", description="The text encoder. The published one is `bigru`.")


class VLTModel(ModelSection):
    """VLT: vision-language transformer with query generation (Ding et al., ICCV 2021)."""

    system: Literal["vlt"] = Field(description="Name of the system, which decides the other keys of `model`.")
    variant: Literal["reference", "paper"] = Field(
        default="reference",
        description="`reference`: query generation and attention as in the published code; `paper`: the simpler form "
        "that the paper describes.",
    )
    input_size: int = Field(
        default=416, ge=64, le=2048, description="Side of the square input in pixels, a multiple of 32."
    )
    max_words: int = Field(
        default=15, ge=1, le=200, description="Number of words after which an expression is truncated."
    )
    queries: int = Field(default=16, ge=1, le=256, description="Number of queries generated for an expression (Nq).")
    query_source: Literal["generated", "learned"] = Field(
        default="generated",
        description="`generated`: queries are generated from words and image; `learned`: they are parameters, the same "
        "for every expression.",
    )
    query_balance: bool = Field(
        default=True, description="Weight the response to each query by its confidence; false: all count alike."
    )
    convolutions: int | None = Field(
        default=None,
        ge=1,
        le=24,
        description="Number of 3x3 convolutions on the fused map that replace queries, transformer and balance; null: "
        "the transformer.",
    )
    hidden: int = Field(
        default=256, ge=8, le=2048, multiple_of=2, description="Width of the transformer and of the masks."
    )
    heads: int = Field(default=8, ge=1, le=64, description="Attention heads; they divide `hidden` evenly.")
    encoder_layers: int = Field(default=2, ge=1, le=24, description="Transformer encoder layers.")
    decoder_layers: int = Field(default=2, ge=1, le=24, description="Transformer decoder layers.")
    feed_forward: int = Field(
        default=256, ge=8, le=16_384, description="Inner width of the transformer's feed-forward."
    )
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0, description="Dropout within the transformer.")
    head_channels: int = Field(
        default=256, ge=8, le=2048, description="Channels of the mask head's convolutions, the most expensive part."
    )
    fusion_channels: int = Field(
        default=512,
        ge=8,
        le=4096,
        multiple_of=2,
        description="Width of the fusion; its layers also have twice and half of it.",
    )
    norm_momentum: float = Field(
        default=0.01,
        gt=0.0,
        le=1.0,
        description="Momentum of the batch norms; the published 0.01 needs a few hundred steps to settle, short runs "
        "want 0.1.",
    )
    weight_penalty: float = Field(default=5.0e-4, ge=0.0, le=1.0, description="L2 penalty on all convolution kernels.")
    visual: VLTVisualSection = Field(default_factory=VLTVisualSection, description="The visual backbone.")
    text: VLTTextSection = Field(default_factory=VLTTextSection, description="The text encoder.")

    _cells_fill_the_input = field_validator("input_size")(multiple_of(STRIDE))
    _heads_divide = field_validator("heads")(divides("hidden", named="model.hidden"))
