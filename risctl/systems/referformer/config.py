"""The `model` section of ReferFormer."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from risctl.section import FileName, Fraction, ModelSection, Section, divides

BackboneName = Literal[
    "resnet18",
    "resnet50",
    "resnet101",
    "swin_t",
    "swin_s",
    "swin_b",
    "swin_l",
    "video_swin_t",
    "video_swin_s",
    "video_swin_b",
    "small_cnn",
]


class ReferFormerVisualSection(Section):
    """The visual backbone: maps at strides 4, 8, 16 and 32."""

    name: BackboneName = Field(
        default="resnet50",
        description="Which backbone sees the frames; the video ones see them together. `small_cnn` and `resnet18` are "
        "light, and of no published checkpoint.",
    )
    weights: FileName | None = Field(
        default=None,
        description="Trained weights to begin with: a file, `imagenet` (resnets only), or null for random weights.",
    )
    frozen: bool = Field(default=False, description="Train no parameter of the backbone at all.")
    drop_path: Fraction = Field(default=0.2, description="Stochastic depth of the last Swin block, growing to it.")


class RobertaSection(Section):
    """RoBERTa, as large as the numbers say; the defaults are roberta-base."""

    vectors: ClassVar[None] = None
    extra_words: ClassVar[int] = 0
    dim: ClassVar[int] = 0

    tokens: FileName | None = Field(
        default="roberta-base",
        description="RoBERTa's byte pairs: a hub id or a folder with vocab.json and merges.txt; null: the words of the "
        "training split.",
    )
    weights: FileName | None = Field(
        default="roberta-base",
        description="Trained weights to begin with: a hub id or a folder of transformers; null for random weights.",
    )
    layers: int = Field(default=12, ge=1, le=48, description="Transformer layers.")
    width: int = Field(default=768, ge=8, le=4096, description="Width of the layers.")
    heads: int = Field(default=12, ge=1, le=64, description="Attention heads; they divide `width` evenly.")
    feed_forward: int = Field(default=3072, ge=8, le=16_384, description="Inner width of the feed-forward.")
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0, description="Dropout within RoBERTa and after the resizer.")
    frozen: bool = Field(default=False, description="Do not train RoBERTa; the resizer after it always trains.")

    _heads_divide = field_validator("heads")(divides("width", named="model.text.width"))

    @field_validator("weights")
    @classmethod
    def _words_have_no_weights(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and "tokens" in info.data and info.data["tokens"] is None:
            raise PydanticCustomError("clash", "null: with `tokens: null` there are no trained weights for the words")
        return value


class ReferFormerModel(ModelSection):
    """ReferFormer: language as queries for referring video object segmentation (CVPR 2022)."""

    system: Literal["referformer"] = Field(description="The system; decides the other keys of `model`.")
    short_side: int = Field(default=360, ge=32, le=2048, description="Short side of the input in pixels.")
    longest_side: int | None = Field(
        default=None, ge=32, le=4096, description="What the other side may not pass; null: no limit."
    )
    centre_only: bool = Field(
        default=False,
        description="Of a clip, only the centre frame reaches the transformer, as for A2D-Sentences.",
    )
    max_words: int = Field(default=50, ge=3, le=512, description="Tokens read of a sentence, its ends among them.")
    queries: int = Field(default=5, ge=1, le=300, description="Queries, shared by all frames.")
    classes: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="Outputs of the class heads: 1, referred or not; else one a category, by its number in the store: "
        "91 for COCO's.",
    )
    hidden: int = Field(default=256, ge=32, le=2048, multiple_of=32, description="Width of the transformer.")
    heads: int = Field(default=8, ge=1, le=64, description="Attention heads; they divide `hidden` evenly.")
    encoder_layers: int = Field(default=4, ge=1, le=24, description="Transformer encoder layers.")
    decoder_layers: int = Field(default=4, ge=1, le=24, description="Transformer decoder layers.")
    feed_forward: int = Field(
        default=2048, ge=8, le=16_384, description="Inner width of the feed-forwards, of the pyramid's as well."
    )
    points: int = Field(default=4, ge=1, le=16, description="Points a head reads of each map.")
    mask_channels: int = Field(default=256, ge=8, le=2048, description="Channels of the mask features.")
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0, description="Dropout within the transformer and the pyramid.")
    visual: ReferFormerVisualSection = Field(
        default_factory=ReferFormerVisualSection, description="The visual backbone."
    )
    text: RobertaSection = Field(default_factory=RobertaSection, description="The text encoder.")

    _heads_divide = field_validator("heads")(divides("hidden", named="model.hidden"))
