"""The `model` section of STEP: what its paper states, and every choice that it leaves open."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from risctl.section import FileName, Fraction, ModelSection, Section, multiple_of
from risctl.systems.vlt.config import TextSection

CELL = 8
"""Input pixels per cell of the coarsest map: the backbone is dilated, not strided, beyond it."""

DilatedName = Literal["deeplab_resnet101", "resnet101", "resnet50", "resnet18", "small_cnn"]
Level = Annotated[int, Field(ge=1, le=5)]


def _default_norms(data: dict[str, Any]) -> bool:
    return data.get("weights") is not None


class StepVisualSection(Section):
    """The backbone, whose last two stages are dilated instead of strided: five maps F1 to F5."""

    name: DilatedName = Field(
        default="deeplab_resnet101",
        description="Which backbone sees the picture. `deeplab_resnet101`: DeepLab v2 as Caffe and TensorFlow have it; "
        "`resnet*`: torchvision's form; `small_cnn`: light enough to train from nothing on a CPU.",
    )
    weights: FileName | None = Field(
        default=None,
        description="Trained weights to begin with: a file, `imagenet` (resnet18, 50, 101), `deeplabv3` (resnet50, 101:"
        " torchvision's, trained on COCO with VOC labels), or null for random weights.",
    )
    frozen_stages: int = Field(
        default=0, ge=0, le=5, description="How many of the five stages, from the first on, are not trained."
    )
    frozen_norms: bool = Field(
        default_factory=_default_norms,
        description="Keep the statistics of the batch norms as loaded, as small batches need it. Default: true with "
        "`weights`, false without.",
    )

    @field_validator("weights")
    @classmethod
    def _named_weights_fit_the_backbone(cls, value: str | None, info: ValidationInfo) -> str | None:
        name = info.data.get("name")
        having = {"imagenet": ("resnet18", "resnet50", "resnet101"), "deeplabv3": ("resnet50", "resnet101")}
        if value in having and name is not None and name not in having[value]:
            raise PydanticCustomError(
                "clash",
                "a file or null: {weights} weights there are for {names} only",
                {"weights": value, "names": ", ".join(having[value])},
            )
        return value


class StepTextSection(TextSection):
    """The words and what reads them: a bidirectional LSTM."""

    hidden: int = Field(default=1000, ge=8, le=8192, description="Width of the LSTM, each direction.")
    directions: Literal["concatenated", "summed"] = Field(
        default="concatenated", description="How the states of the two directions become one."
    )
    dropout: Fraction = Field(default=0.0, description="Dropout on the word vectors and on the states of the LSTM.")


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
    text: StepTextSection = Field(default_factory=StepTextSection, description="The words and what reads them.")

    _cells_fill_the_input = field_validator("input_size")(multiple_of(CELL))

    @field_validator("levels")
    @classmethod
    def _levels_rise(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if list(value) != sorted(set(value)):
            raise PydanticCustomError("clash", "levels from 1 to 5 in rising order, each once; `order` turns them")
        return value
