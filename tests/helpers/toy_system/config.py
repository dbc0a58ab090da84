"""The `model` section of the toy system."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from risctl.section import ModelSection, Section


class ToyVisualSection(Section):
    """The backbone, which the toy system builds itself."""

    weights: None = None


class ToyTextSection(Section):
    """The word embeddings, learned over the training split's words."""


class ToyModel(ModelSection):
    """One convolution, gated by the mean word."""

    system: Literal["toy"] = Field(description="The system; decides the other keys of `model`.")
    input_size: int = Field(default=32, ge=8, description="Side of the square input in pixels.")
    max_words: int = Field(default=6, ge=1, description="Words read of an expression.")
    channels: int = Field(default=8, ge=1, description="Width of the features.")
    visual: ToyVisualSection = Field(default_factory=ToyVisualSection, description="The backbone.")
    text: ToyTextSection = Field(default_factory=ToyTextSection, description="The words.")
