"""Defines ReferFormer's `model` section."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from risctl.core.encoders.text.config import TextSection
from risctl.core.encoders.visual.config import VisualSection
from risctl.section import ModelSection, Section, divides


class ReferFormerVisualSection(VisualSection):
    """The visual backbone: maps at strides 4, 8, 16 and 32."""

    name: str = Field(
        default="resnet50",
        description="The backbone; the video Swins encode the frames of a clip together. Published checkpoints are of "
        "resnets from 50 on and of Swins.",
    )


class ReferFormerTextSection(TextSection):
    """The text encoder."""

    name: str = Field(default="roberta", description="The text encoder. The published one is `roberta`.")


Weight = Annotated[float, Field(ge=0.0, le=1.0e3)]


class TermsSection(Section):
    """Weights of the five terms that compare a query with the object; the defaults are the published ones."""

    classes: Weight = Field(default=2.0, description="Focal loss of the class.")
    box: Weight = Field(default=5.0, description="L1 distance of the boxes.")
    giou: Weight = Field(default=2.0, description="Generalised IoU of the boxes.")
    mask: Weight = Field(default=2.0, description="Focal loss of the mask.")
    dice: Weight = Field(default=5.0, description="Dice loss of the mask.")


class ReferFormerModel(ModelSection):
    """ReferFormer: language as queries for referring video object segmentation (Wu et al., CVPR 2022)."""

    system: Literal["referformer"] = Field(description="Name of the system, which decides the other keys of `model`.")
    short_side: int = Field(default=360, ge=32, le=2048, description="Short side of the input in pixels.")
    longest_side: int | None = Field(
        default=None, ge=32, le=4096, description="Upper limit of the long side in pixels; null: no limit."
    )
    centre_only: bool = Field(
        default=False,
        description="Only the centre frame of a clip reaches the transformer, as for A2D-Sentences.",
    )
    window: int = Field(
        default=1,
        ge=1,
        le=100,
        description="Frames around a single annotated one that reach the backbone in evaluation, where the store keeps "
        "them (`risctl prepare a2d --window`); in training `data.frames`. For video backbones with `centre_only`.",
    )
    input_multiple: int = Field(
        default=1,
        ge=1,
        le=128,
        description="Inputs are padded to multiples of it; published: 32 for RefCOCO and A2D, 1 for videos. Training "
        "inputs are padded to multiples of 32 in any case.",
    )
    mask_resize: Literal["bilinear", "nearest"] = Field(
        default="bilinear",
        description="How predicted masks are brought to the image's size. Published: `bilinear` for videos; for "
        "RefCOCO and A2D `nearest`, after the mask was brought to the input's size bilinearly and thresholded.",
    )
    lowercase: bool = Field(
        default=True,
        description="Put expressions in lower case before they are encoded. Published: so in training and for "
        "A2D-Sentences; for Ref-YouTube-VOS and Ref-DAVIS17 they are evaluated as typed (`eval.text_field: raw`).",
    )
    max_words: int = Field(
        default=50,
        ge=3,
        le=512,
        description="Number of tokens, start and end included, after which an expression is truncated.",
    )
    queries: int = Field(default=5, ge=1, le=300, description="Number of queries, shared by all frames.")
    classes: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="Outputs of the class heads: 1: referred or not; otherwise one per category, by its id in the "
        "store (91 for COCO).",
    )
    hidden: int = Field(default=256, ge=32, le=2048, multiple_of=32, description="Width of the transformer.")
    heads: int = Field(default=8, ge=1, le=64, description="Attention heads; they divide `hidden` evenly.")
    encoder_layers: int = Field(default=4, ge=1, le=24, description="Transformer encoder layers.")
    decoder_layers: int = Field(default=4, ge=1, le=24, description="Transformer decoder layers.")
    feed_forward: int = Field(
        default=2048,
        ge=8,
        le=16_384,
        description="Inner width of the feed-forward layers, those of the pyramid included.",
    )
    points: int = Field(default=4, ge=1, le=16, description="Sampling points per head and map.")
    mask_channels: int = Field(default=256, ge=8, le=2048, description="Channels of the mask features.")
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0, description="Dropout within the transformer and the pyramid.")
    pyramid: Literal["cross_modal", "plain"] = Field(
        default="cross_modal",
        description="The feature pyramid of the masks: `cross_modal`: every stage attends to the words; `plain`: none.",
    )
    dynamic_layers: int = Field(default=3, ge=2, le=8, description="Dynamic convolutions of a query's mask.")
    dynamic_channels: int = Field(default=8, ge=1, le=256, description="Channels of the dynamic convolutions.")
    relative_coordinates: bool = Field(
        default=True,
        description="The dynamic convolutions read each cell's offset to the query's centre beside the mask features.",
    )
    box_refinement: bool = Field(
        default=True,
        description="Each decoder layer refines the boxes of the one before, with heads of its own; false: all layers "
        "predict from the initial reference points, with the same heads.",
    )
    auxiliary_losses: bool = Field(
        default=True, description="Train the predictions of every decoder layer; false: those of the last one alone."
    )
    match_weights: TermsSection = Field(
        default_factory=TermsSection, description="Weights of the costs by which a query is matched with the object."
    )
    loss_weights: TermsSection = Field(default_factory=TermsSection, description="Weights of the losses.")
    visual: ReferFormerVisualSection = Field(
        default_factory=ReferFormerVisualSection, description="The visual backbone."
    )
    text: ReferFormerTextSection = Field(default_factory=ReferFormerTextSection, description="The text encoder.")

    @field_validator("window")
    @classmethod
    def _only_the_centre_has_a_window(cls, value: int, info: ValidationInfo) -> int:
        if value > 1 and not info.data.get("centre_only"):
            raise PydanticCustomError("clash", "1 unless `model.centre_only` is true")
        return value

    _heads_divide = field_validator("heads")(divides("hidden", named="model.hidden"))
