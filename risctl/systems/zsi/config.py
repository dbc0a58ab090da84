"""Defines ZSI's `model` section."""

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

    name: Literal["word_vectors"] = Field(
        default="word_vectors", description="The only text encoder that fits: categories are compared by word vectors."
    )
    vectors: FileName = Field(
        description="Word vectors: a word2vec, GloVe or fastText file, a compact file made from one, or the name of a "
        "spaCy model."
    )
    vocabulary: FileName | None = Field(
        default=None,
        description="A file with the words that the semantic encoder compares with, one per line; null: the words of "
        "the data and the most frequent ones of the vectors.",
    )
    dim: int = Field(default=300, ge=1, le=4096, description="Width of a word vector.")
    extra_words: int = Field(
        default=20_000,
        ge=0,
        le=2_000_000,
        description="How many of the vectors' most frequent words join the vocabulary beside those of the data.",
    )


class ZSIModel(ModelSection):
    """ZSI: zero-shot instance segmentation (Zheng et al., CVPR 2021)."""

    system: Literal["zsi"] = Field(description="Name of the system, which decides the other keys of `model`.")
    split: Literal["48_17", "65_15"] = Field(
        default="48_17", description="Which of COCO's classes are seen in training, and which are unseen."
    )
    conventions: Literal["torchvision", "mmdet1"] = Field(
        default="torchvision", description="Convention of box coordinates; `mmdet1` for published weights."
    )
    tower: Literal["paper", "reference"] = Field(
        default="paper",
        description="Mask head: `paper`: four convolutions in sequence; `reference`: only the last one has an effect, "
        "as in the published code.",
    )
    encoder_kernel: Literal[1, 3] = Field(
        default=1, description="Kernel of the mask head's encoder and decoder: 1 in the paper, 3 in the published code."
    )
    background_rpn: bool = Field(
        default=True,
        description="The region proposal network works in the space of words and learns a background vector (BA-RPN); "
        "false: a plain one, and every head keeps the background vector that it has at first.",
    )
    box_background_sync: bool = Field(
        default=True,
        description="The box head uses the background vector of the region proposal network (Sync-bg).",
    )
    box_decoder: bool = Field(
        default=True, description="The box head has a decoder T_d and its reconstruction loss L_R."
    )
    mask_decoder: bool = Field(
        default=True, description="The mask head has a decoder D and its reconstruction loss L_R."
    )
    class_vectors: Literal["words", "one_hot"] = Field(
        default="words",
        description="What stands for a category: the vector of its word, or one number of `text.dim`, alike to none.",
    )
    mask_background_sync: Literal["always", "never", "generalised"] = Field(
        default="always",
        description="Whether the mask head uses the background vector of the region proposal network; `generalised`: "
        "only when seen classes are detected as well, as in the published 48/17 model.",
    )
    unseen_boxes: Literal["nearest", "reference"] = Field(
        default="nearest",
        description="Which seen class regresses the box of an unseen one: `nearest`: the one with the most similar "
        "word vector; `reference`: the one of the same index, as in the published code.",
    )
    short_side: int = Field(default=800, ge=32, le=4096, description="Short side of the input in pixels.")
    long_side: int = Field(default=1333, ge=32, le=8192, description="Upper limit of the long side in pixels.")
    max_words: int = Field(
        default=20, ge=1, le=200, description="Number of words after which an expression is truncated."
    )
    channels: int = Field(default=256, ge=8, le=2048, description="Channels of the feature pyramid and of the masks.")
    hidden: int = Field(default=1024, ge=8, le=8192, description="Width of the box head.")
    encoder_std: float = Field(
        default=0.001,
        gt=0.0,
        le=1.0,
        description="Standard deviation of the initial weights of the box head's semantic encoder; published: .001; "
        "short trainings learn more classes with .1 (docs/results.md).",
    )
    vocabulary_words: int = Field(
        default=4717,
        ge=1,
        le=100_000,
        description="Number of words that the semantic encoder compares with: the first of the vocabulary.",
    )
    proposals: int = Field(default=1000, ge=1, le=10_000, description="Number of region proposals per image.")
    training_proposals: int = Field(
        default=2000,
        ge=1,
        le=10_000,
        description="Number of region proposals per image in training, of which `regions` are drawn.",
    )
    border_anchors: bool = Field(
        default=False,
        description="Train anchors that reach across the border of the image, too; the published code leaves them out.",
    )
    loss_pooling: Literal["batch", "image"] = Field(
        default="batch",
        description="`batch`: losses are means over the anchors and regions of all images of a device's batch, as "
        "published; `image`: means of the means of each image.",
    )
    regions: int = Field(
        default=512,
        ge=4,
        le=4096,
        description="Number of regions per image that the heads are trained on, at most a quarter of them positive.",
    )
    masks: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="Number of positive regions that masks, the most expensive part, are trained on; null: all, as "
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
