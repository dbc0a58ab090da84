"""ZSI's `model` section."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from risctl.core.encoders.visual.config import VisualSection
from risctl.core.encoders.visual.registry import VisualInput
from risctl.language.coco_classes import SPLITS
from risctl.section import FileName, ModelSection, Section
from risctl.systems.vocabulary import VectorWords


class ZSIVisualSection(VisualSection):
    """The visual backbone: maps at strides 4, 8, 16 and 32.

    Batch norms keep their statistics and the first stage does not train, except in `small_cnn` and in a `mobilenet_v2`
    with random weights.
    """

    wanted: ClassVar[VisualInput] = VisualInput(norms="scales")

    name: str = Field(default="resnet101", description="The backbone. The published one is `resnet101`.")


class ZSITextSection(Section):
    """The word vectors."""

    tokens: ClassVar[None] = None

    vectors: FileName = Field(
        description="Word vectors: a word2vec, GloVe or fastText file, a compact file made from one, or the name of a "
        "spaCy model."
    )
    vocabulary: FileName | None = Field(
        default=None,
        description="The words that the semantic encoder compares with, a file with one a line; null: the words of the "
        "data and the most frequent ones of the vectors.",
    )
    dim: int = Field(default=300, ge=1, le=4096, description="Width of a word vector.")
    extra_words: int = Field(
        default=20_000,
        ge=0,
        le=2_000_000,
        description="How many of the vectors' most frequent words can be asked for beside those of the data.",
    )


class ZSIModel(ModelSection):
    """ZSI: zero-shot instance segmentation (CVPR 2021)."""

    system: Literal["zsi"] = Field(description="The system; decides the other keys of `model`.")
    split: Literal["48_17", "65_15"] = Field(
        default="48_17", description="Which of COCO's classes are trained on, and which are only asked for."
    )
    conventions: Literal["torchvision", "mmdet1"] = Field(
        default="torchvision", description="What a box is; `mmdet1` for published weights."
    )
    tower: Literal["paper", "reference"] = Field(
        default="paper",
        description="Mask head: `paper`: four convolutions after one another; `reference`: only the last acts, as in "
        "the published code.",
    )
    encoder_kernel: Literal[1, 3] = Field(
        default=1, description="Kernel of the mask head's encoder and decoder: 1 in the paper, 3 in the published code."
    )
    mask_background_sync: Literal["always", "never", "generalised"] = Field(
        default="always",
        description="Whether the mask head takes its background from the region proposals; `generalised`: only when "
        "seen classes are asked for as well, as the published 48/17 has it.",
    )
    unseen_boxes: Literal["nearest", "reference"] = Field(
        default="nearest",
        description="Whose box a class that was not trained gets: that of the seen class whose word is most alike, or "
        "`reference`: of the seen class of the same number, as in the published code.",
    )
    short_side: int = Field(default=800, ge=32, le=4096, description="Pixels that the short side is scaled to.")
    long_side: int = Field(default=1333, ge=32, le=8192, description="Pixels that the long side must not pass.")
    max_words: int = Field(default=20, ge=1, le=200, description="Words read of a phrase; the rest is cut.")
    channels: int = Field(default=256, ge=8, le=2048, description="Channels of the feature pyramid and of the masks.")
    hidden: int = Field(default=1024, ge=8, le=8192, description="Width of the box head.")
    encoder_std: float = Field(
        default=0.001,
        gt=0.0,
        le=1.0,
        description="How far the first weights of the box head's semantic encoder spread; published .001; "
        "short trainings learn more classes from .1 (docs/results.md).",
    )
    vocabulary_words: int = Field(
        default=4717,
        ge=1,
        le=100_000,
        description="How many words the semantic encoder compares with: the first ones of the checkpoint's words.",
    )
    proposals: int = Field(default=1000, ge=1, le=10_000, description="Regions looked at in a picture.")
    regions: int = Field(
        default=512,
        ge=4,
        le=4096,
        description="Regions of a picture that the heads learn from, at most a quarter of them at things.",
    )
    masks: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="In how many of the regions at things masks, which cost most, are learned; null: in all, as "
        "published.",
    )
    visual: ZSIVisualSection = Field(default_factory=ZSIVisualSection, description="The visual backbone.")
    text: ZSITextSection = Field(description="The word vectors.")

    def vocabulary_spec(self) -> VectorWords:
        """Returns what ZSI needs: vectors of its classes and, if a file lists them, of the words it compares with."""
        return VectorWords(
            source=self.text.vectors,
            dim=self.text.dim,
            extra_words=self.text.extra_words,
            first_words=self.text.vocabulary,
            first_count=self.vocabulary_words,
            class_split=SPLITS[self.split],
        )

    @field_validator("long_side")
    @classmethod
    def _long_is_longer(cls, value: int, info: ValidationInfo) -> Any:
        short = info.data.get("short_side")
        if short is not None and value < short:
            raise PydanticCustomError("clash", "no less than `model.short_side` ({short})", {"short": short})
        return value
