"""Defines mini's `model` section."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from risctl.core.encoders.visual.config import VisualSection, default_weights
from risctl.section import FileName, Fraction, ModelSection, Section
from risctl.systems.vocabulary import HashedWords


class MiniVisualSection(VisualSection):
    """The detector's backbone: maps at strides 4, 8, 16 and 32."""

    name: str = Field(default="shufflenet", description="The detector's backbone. The shipped model's is `shufflenet`.")
    weights: FileName | None = Field(
        default_factory=default_weights,
        description="Pretrained weights: of `shufflenet` a file of the detector's backbone, neck and head; of others "
        "as in every system; null: random weights.",
    )
    frozen: bool = Field(default=False, description="Train no parameter of the detector except those of its masks.")


class MiniTextSection(Section):
    """The word embeddings: one row per known word plus hashed character n-grams, all learned."""

    name: Literal["hashed_words"] = Field(
        default="hashed_words", description="The only text encoder that the box selector takes."
    )
    buckets: int = Field(
        default=4096, ge=16, le=1_000_000, description="Number of buckets that the n-grams are hashed into."
    )
    word_dropout: Fraction = Field(
        default=0.05, description="Share of the words replaced by the unknown word in training."
    )
    vectors: FileName | None = Field(
        default=None,
        description="Published word vectors, a GloVe or word2vec file: words that training does not meet then mean "
        "what similar ones do; null: these are spelt by n-grams alone.",
    )
    dim: int = Field(default=50, ge=1, le=4096, description="With `vectors`: their width.")
    extra_words: int = Field(
        default=0,
        ge=0,
        le=2_000_000,
        description="With `vectors`: how many of their most frequent words join the vocabulary.",
    )
    row_dropout: Fraction = Field(
        default=0.3,
        description="With `vectors`: share of the words that have only their vector in training, not their own row.",
    )


class MiniModel(ModelSection):
    """mini: detects all objects, then selects the referred one. The model that the package ships."""

    system: Literal["mini"] = Field(description="Name of the system, which decides the other keys of `model`.")
    input_size: int = Field(default=416, ge=32, le=4096, description="Side of the square input, in pixels.")
    max_words: int = Field(
        default=20, ge=1, le=200, description="Number of words after which an expression is truncated."
    )
    max_count: int = Field(
        default=40, ge=1, le=1000, description="Detections of an image that the box selector sees, at most."
    )
    score_threshold: Fraction = Field(default=0.05, description="Lowest score of a detection that it sees.")
    iou_threshold: Fraction = Field(
        default=0.6, description="Overlap above which the lower-scored of two detections is suppressed, of any classes."
    )
    even_score: Fraction = Field(
        default=0.4,
        description="Score at which a detection is taken to be an instance as probably as not: of `nanodet` 0.4, of "
        "`nanodet-plus` 0.45.",
    )
    no_target_threshold: Fraction = Field(
        default=0.0,
        description="Score below which the expression is taken to refer to nothing in the image; the mask is then "
        "empty.",
    )
    detector: Literal["nanodet", "nanodet-plus"] = Field(
        default="nanodet",
        description="The detector's neck and head: NanoDet-m's, or NanoDet-Plus-m's with ghost blocks and a fourth "
        "level, which detects better and takes a little longer.",
    )
    no_target_score: Literal["product", "logistic"] = Field(
        default="product",
        description="What says that the expression refers to anything: `product`: the box selector's probability times "
        "the evidence that the named category was detected; `logistic`: the logistic function of a weighted sum of "
        "both.",
    )
    no_target_scale: float = Field(default=1.0, gt=0, le=100, description="`logistic`: weight of the selector's logit.")
    no_target_evidence: float = Field(
        default=0.0, ge=0, le=100, description="`logistic`: weight of the evidence's logarithm."
    )
    no_target_shift: float = Field(default=0.0, ge=-100, le=100, description="`logistic`: added to the sum.")
    no_target_weight: float = Field(
        default=0.1, ge=0, le=100, description="Weight of the loss of that score; the selection's has 1."
    )
    neck: int = Field(default=96, ge=8, le=1024, description="Channels of the detector's feature pyramid.")
    mask_channels: int = Field(default=64, ge=8, le=1024, description="Channels of the mask features.")
    channels: int = Field(default=128, ge=8, le=2048, description="Width of the box selector.")
    colours: Literal["halves", "parts"] = Field(
        default="halves",
        description="What the box selector knows of a box's look: `halves`: how much of its upper and lower half has "
        "each of eleven clear colour names; `parts`: how probable each name is there and at its top.",
    )
    layers: int = Field(default=3, ge=1, le=24, description="Layers of the box selector.")
    heads: int = Field(default=4, ge=1, le=64, description="Attention heads of the box selector.")
    dropout: Fraction = Field(default=0.1, description="Of the box selector.")
    visual: MiniVisualSection = Field(default_factory=MiniVisualSection, description="The detector.")
    text: MiniTextSection = Field(default_factory=MiniTextSection, description="The word embeddings.")

    @field_validator("input_size")
    @classmethod
    def _whole_cells(cls, value: int) -> int:
        if value % 32:
            raise PydanticCustomError("clash", "a multiple of 32, the coarsest map's stride")
        return value

    @field_validator("heads")
    @classmethod
    def _heads_divide(cls, value: int, info: ValidationInfo) -> Any:
        channels = info.data.get("channels")
        if channels is not None and channels % value:
            raise PydanticCustomError("clash", "a divisor of `model.channels` ({channels})", {"channels": channels})
        return value

    def vocabulary_spec(self) -> HashedWords:
        """Returns what mini needs: words that occur at least twice; others are spelt by hashed n-grams."""
        return HashedWords(vectors=self.text.vectors, dim=self.text.dim, extra_words=self.text.extra_words)
