"""The `model` section: which system, and its numbers. `system` decides which keys the section has."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from risctl.section import FileName, Fraction, ModelSection, Section, divides, imagenet_has_it, multiple_of

STRIDE = 32
"""Input pixels per cell of the coarsest map of every visual backbone."""

DARKNET_FROZEN = 56
"""How many of Darknet-53's convolutions the published VLT trains without."""

VisualName = Literal["darknet53", "small_cnn", "resnet18", "resnet50", "resnet101"]


def _default_frozen(data: dict[str, Any]) -> int:
    return DARKNET_FROZEN if data.get("name") == "darknet53" else 0


class VisualSection(Section):
    """The visual backbone."""

    name: VisualName = Field(default="darknet53", description="Which backbone sees the picture.")
    frozen_convolutions: int = Field(
        default_factory=_default_frozen,
        ge=0,
        le=58,
        description="How many of the first convolutions are not trained; darknet53 only. Default: 56 for darknet53, "
        "0 for every other backbone.",
    )
    weights: FileName | None = Field(
        default=None,
        description="Trained weights to begin with: a file, `imagenet` (resnets only), or null for random weights.",
    )
    frozen: bool = Field(default=False, description="Train no parameter of the backbone at all.")

    _weights = field_validator("weights")(imagenet_has_it)

    @field_validator("frozen_convolutions")
    @classmethod
    def _only_darknet_counts(cls, value: int, info: ValidationInfo) -> int:
        name = info.data.get("name")
        if value and name is not None and name != "darknet53":
            raise PydanticCustomError(
                "clash", "0, as only darknet53 counts convolutions; `frozen: true` freezes the whole backbone"
            )
        return value


class TextSection(Section):
    """The words and what reads them."""

    tokens: ClassVar[None] = None

    hidden: int = Field(default=1024, ge=8, le=8192, description="Width of the recurrent text encoder, each direction.")
    vectors: FileName | None = Field(
        default=None,
        description="Word vectors: a GloVe or word2vec file, a compact file made from one, or the name of a spaCy "
        "model with vectors; null: embeddings learned over the words of the training split.",
    )
    dim: int = Field(default=300, ge=1, le=4096, description="Width of a word vector.")
    freeze_vectors: bool = Field(
        default=True, description="Keep the word vectors as read; learned embeddings always train."
    )
    dropout: Fraction = Field(default=0.1, description="Dropout on the words and on the attention over them.")
    extra_words: int = Field(
        default=20_000,
        ge=0,
        le=2_000_000,
        description="With `vectors`: how many of their most frequent words join the vocabulary beside the training "
        "words, so that a checkpoint knows more words than its training set.",
    )


class VLTModel(ModelSection):
    """VLT: vision-language transformer with query generation (ICCV 2021)."""

    system: Literal["vlt"] = Field(description="The system; decides the other keys of `model`.")
    variant: Literal["reference", "paper"] = Field(
        default="reference",
        description="`reference`: query generation and attention as the published code has them; `paper`: the plain "
        "form the paper describes.",
    )
    input_size: int = Field(
        default=416, ge=64, le=2048, description="Side of the square input in pixels, a multiple of 32."
    )
    max_words: int = Field(default=15, ge=1, le=200, description="Words read of a sentence; the rest is cut.")
    queries: int = Field(default=16, ge=1, le=256, description="Queries generated for a sentence (Nq).")
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
        default=256, ge=8, le=2048, description="Channels of the mask head's convolutions; they cost the most."
    )
    fusion_channels: int = Field(
        default=512,
        ge=8,
        le=4096,
        multiple_of=2,
        description="Width of the fusion; twice and half of it appear as well.",
    )
    norm_momentum: float = Field(
        default=0.01,
        gt=0.0,
        le=1.0,
        description="Share of a batch in the running statistics of the batch norms; the published 0.01 needs some "
        "hundred steps to settle, short runs want 0.1.",
    )
    weight_penalty: float = Field(default=5.0e-4, ge=0.0, le=1.0, description="L2 penalty on all convolution kernels.")
    visual: VisualSection = Field(default_factory=VisualSection, description="The visual backbone.")
    text: TextSection = Field(default_factory=TextSection, description="The words and what reads them.")

    _cells_fill_the_input = field_validator("input_size")(multiple_of(STRIDE))
    _heads_divide = field_validator("heads")(divides("hidden", named="model.hidden"))
