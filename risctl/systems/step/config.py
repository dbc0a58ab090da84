"""Defines STEP's `model` section: what its paper states, and every choice that it leaves open."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from risctl.core.encoders.text.config import TextSection
from risctl.core.encoders.visual.config import VisualSection
from risctl.core.encoders.visual.registry import VisualInput, find_visual
from risctl.section import ModelSection, multiple_of

CELL = 8
"""Input pixels per cell of the coarsest map of a dilated backbone."""


def _default_pixels(data: dict[str, Any]) -> Literal["all", "image"]:
    return "image" if data.get("input_fit") == "longest" else "all"


Level = Annotated[int, Field(ge=1, le=5)]


def _default_norms(data: dict[str, Any]) -> bool:
    name = data.get("name")
    return name is not None and data.get("weights") is not None and "frozen_norms" in find_visual(name).options


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
    """STEP: see-through-text embedding and grouping (Chen et al., ICCV 2019)."""

    system: Literal["step"] = Field(description="Name of the system, which decides the other keys of `model`.")
    input_size: int = Field(
        default=320, ge=32, le=2048, description="Longest side of the input in pixels, a multiple of 8."
    )
    input_fit: Literal["square", "longest"] = Field(
        default="square",
        description="`square`: the image is letterboxed into a square of `input_size`; `longest`: its longest side "
        "becomes `input_size`, so that images of several sizes make a batch.",
    )
    coordinates: Literal["signed", "unit", "none"] = Field(
        default="signed",
        description="Range of the corners and the centre among the eight coordinates of a cell: -1 to 1, or 0 to 1; "
        "`none`: the maps have no coordinates.",
    )
    loss_pixels: Literal["all", "image"] = Field(
        default_factory=_default_pixels,
        description="Pixels that the loss is averaged over: all of the input, as the paper says, or those of the image "
        "without padding. Default: `all`, with `input_fit: longest` `image`.",
    )
    upsampled: Literal["probability", "logits"] = Field(
        default="probability",
        description="What the loss resizes to the input's size: the probability of the last step, as the paper says, "
        "or its logits.",
    )
    max_words: int = Field(
        default=20, ge=1, le=200, description="Number of words after which an expression is truncated."
    )
    folds: int = Field(
        default=5, ge=1, le=25, description="K, the number of passes over the levels. The paper uses 1 to 5."
    )
    levels: Annotated[tuple[Level, ...], Field(strict=False, min_length=1, max_length=5)] = Field(
        default=(1, 2, 3, 4, 5), description="The maps used, out of F1 to F5; T = folds times their number."
    )
    order: Literal["F1-F5", "F5-F1"] = Field(
        default="F1-F5", description="Order of the levels within a fold: finest to deepest, or deepest to finest."
    )
    refinement: Literal["convgru", "convrnn", "none"] = Field(
        default="convgru",
        description="`convgru`: a ConvGRU refines the heatmaps, top-down; `convrnn`: the same without gates; `none`: "
        "their running mean replaces it.",
    )
    reweighted_text: bool = Field(
        default=True,
        description="Weight the regions of the text vector by the previous map; false: uniform weights at every step.",
    )
    text_attention: bool = Field(
        default=True,
        description="Regions attend to words; false: the text vector is the mean of the words' states.",
    )
    first_map: Literal["uniform", "centre"] = Field(
        default="uniform",
        description="P_0, which weights the regions at the first step: uniform, or higher at the centre of the image.",
    )
    gru_input: Literal["heatmap", "heatmap_xy"] = Field(
        default="heatmap",
        description="Input of the ConvGRU: the heatmap, or the heatmap and the two centre coordinates.",
    )
    state_stride: Literal[4, 8] = Field(
        default=4, description="Input pixels per cell of the ConvGRU and of its maps P_t: 80 x 80 or 40 x 40 of 320."
    )
    first_state: Literal["zero", "learned"] = Field(
        default="zero", description="h_0, the initial state of the ConvGRU: zero, or one learned number per filter."
    )
    gate_bias: float = Field(
        default=1.0, ge=-10.0, le=10.0, description="Initial value of the biases of both gates of the ConvGRU."
    )
    candidate_bias: float = Field(
        default=0.0, ge=-10.0, le=10.0, description="Initial value of the bias of the ConvGRU's candidate state."
    )
    filters: int = Field(default=32, ge=1, le=512, description="Filters of the ConvGRU.")
    attention: int = Field(default=400, ge=1, le=4096, description="Width of the attention between pixels and words.")
    embedding: int = Field(default=1000, ge=1, le=8192, description="Width of the co-embedding of pixels and text.")
    context_rate: int | None = Field(
        default=3,
        ge=1,
        le=64,
        description="Dilation rate of the atrous convolutions on the maps; null: the maps have no convolution.",
    )
    context_channels: int | None = Field(
        default=None,
        ge=1,
        le=8192,
        description="Output channels of the atrous convolution of each level; null: as many as its input has.",
    )
    context_activation: Literal["relu", "none"] = Field(
        default="relu", description="Activation after the atrous convolutions."
    )
    visual: StepVisualSection = Field(default_factory=StepVisualSection, description="The visual backbone.")
    text: StepTextSection = Field(default_factory=StepTextSection, description="The text encoder.")

    _cells_fill_the_input = field_validator("input_size")(multiple_of(CELL))

    @field_validator("levels")
    @classmethod
    def _levels_rise(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if list(value) != sorted(set(value)):
            raise PydanticCustomError(
                "clash", "levels from 1 to 5 in ascending order, each once; `order` reverses them"
            )
        return value
