"""Defines STEP's `model` section: what its paper states, and every choice that it leaves open."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from risctl.core.encoders.text.config import TextSection
from risctl.core.encoders.visual.config import VisualSection
from risctl.core.encoders.visual.registry import VisualInput
from risctl.section import ModelSection, multiple_of

CELL = 8
"""Input pixels per cell of the coarsest map of a dilated backbone."""

Level = Annotated[int, Field(ge=1, le=5)]


def _default_norms(data: dict[str, Any]) -> bool:
    return data.get("weights") is not None and "frozen_norms" in VisualSection.options_of(data)


class StepVisualSection(VisualSection):
    """The visual backbone. ResNets are dilated instead of strided in their last two stages: five maps F1 to F5."""

    wanted: ClassVar[VisualInput] = VisualInput(strides=(), dilated=True)

    name: str = Field(
        default="deeplab_resnet101",
        description="The backbone. `deeplab_resnet101`: DeepLab v2 as in Caffe and TensorFlow; `resnet*`: in "
        "torchvision's form, dilated; `small_cnn`: light enough to train from scratch on a CPU, dilated. Others have "
        "the maps that they have, which `levels` counts.",
    )
    frozen_norms: bool = Field(
        default_factory=_default_norms,
        description="Dilated backbones only: keep the statistics of the batch norms as loaded, as small batches need "
        "it. Default: true with `weights`, false without.",
    )


class StepTextSection(TextSection):
    """The text encoder."""

    name: str = Field(default="bilstm", description="The text encoder. The paper's is `bilstm`.")


class StepModel(ModelSection):
    """STEP: see-through-text grouping (ICCV 2019)."""

    system: Literal["step"] = Field(description="The system; decides the other keys of `model`.")
    input_size: int = Field(
        default=320, ge=32, le=2048, description="Longest side of the input in pixels, a multiple of 8."
    )
    input_fit: Literal["square", "longest"] = Field(
        default="square",
        description="`square`: the picture in a square of `input_size`, the rest zero; `longest`: the picture alone, "
        "its longest side `input_size`, so that a batch holds several sizes.",
    )
    coordinates: Literal["signed", "unit"] = Field(
        default="signed",
        description="The corners and the centre among the eight coordinates of a cell: from -1 to 1, or from 0 to 1.",
    )
    max_words: int = Field(default=20, ge=1, le=200, description="Words read of a sentence; the rest is cut.")
    folds: int = Field(
        default=5, ge=1, le=25, description="K: how often the levels are gone through. The paper's: 1 to 5."
    )
    levels: Annotated[tuple[Level, ...], Field(strict=False, min_length=1, max_length=5)] = Field(
        default=(1, 2, 3, 4, 5), description="Which of the maps F1 to F5 are seen; T = folds times their number."
    )
    order: Literal["F1-F5", "F5-F1"] = Field(
        default="F1-F5", description="Whether a fold goes from the finest level to the deepest, or back."
    )
    refinement: Literal["convgru", "none"] = Field(
        default="convgru",
        description="`convgru`: the heatmaps refine a recurrent state, top down; `none`: their running mean stands in "
        "for it.",
    )
    reweighted_text: bool = Field(
        default=True,
        description="Weigh the regions of the text vector by the previous map; false: all alike at every step.",
    )
    first_map: Literal["uniform", "centre"] = Field(
        default="uniform",
        description="P_0, by which the first step weighs the regions: all alike, or the middle of the picture more.",
    )
    gru_input: Literal["heatmap", "heatmap_xy"] = Field(
        default="heatmap", description="What the ConvGRU reads: the heatmap, or with it the two centre coordinates."
    )
    state_stride: Literal[4, 8] = Field(
        default=4, description="Input pixels per cell of the ConvGRU and of its maps P_t: 80 x 80 or 40 x 40 of 320."
    )
    first_state: Literal["zero", "learned"] = Field(
        default="zero", description="h_0, what the ConvGRU begins with: nothing, or a number a filter that is learned."
    )
    gate_bias: float = Field(
        default=1.0, ge=-10.0, le=10.0, description="What the biases of both gates of the ConvGRU begin as."
    )
    candidate_bias: float = Field(
        default=0.0, ge=-10.0, le=10.0, description="What the bias of the candidate of the ConvGRU begins as."
    )
    filters: int = Field(default=32, ge=1, le=512, description="Filters of the ConvGRU.")
    attention: int = Field(default=400, ge=1, le=4096, description="Width in which pixels and words are compared.")
    embedding: int = Field(default=1000, ge=1, le=8192, description="Width of the co-embedding of pixels and text.")
    context_rate: int = Field(default=3, ge=1, le=64, description="Rate of the atrous convolutions on the maps.")
    context_channels: int | None = Field(
        default=None,
        ge=1,
        le=8192,
        description="Channels that the atrous convolution of each level gives; null: as many as it reads.",
    )
    context_activation: Literal["relu", "none"] = Field(
        default="relu", description="What follows the atrous convolutions on the maps."
    )
    visual: StepVisualSection = Field(default_factory=StepVisualSection, description="The visual backbone.")
    text: StepTextSection = Field(default_factory=StepTextSection, description="The text encoder.")

    _cells_fill_the_input = field_validator("input_size")(multiple_of(CELL))

    @field_validator("levels")
    @classmethod
    def _levels_rise(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if list(value) != sorted(set(value)):
            raise PydanticCustomError("clash", "levels from 1 to 5 in rising order, each once; `order` turns them")
        return value
