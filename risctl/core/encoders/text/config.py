"""Defines the `model.text` section of a recipe, which all systems that read a sequence of words share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from risctl.core.encoders.section import ANY_PRETRAINED, EncoderSection, default_of
from risctl.core.encoders.text.registry import TEXT_ENCODERS, find_text
from risctl.section import FileName, Fraction, divides

_OFF: dict[str, Any] = {
    **dict.fromkeys(option for entry in TEXT_ENCODERS.values() for option in entry.options),
    "config": None,
    "extra_words": 0,
    "freeze_vectors": False,
    "frozen": False,
    "frozen_dropout": False,
}
"""What the fields of other encoders hold."""

Width = Annotated[int, Field(ge=1, le=16_384)]


def _default(option: str) -> Callable[[dict[str, Any]], Any]:
    return default_of(option, find_text, off=_OFF[option])


class TextSection(EncoderSection):
    """The text encoder. A field that the named encoder does not take is null, or off."""

    off: ClassVar[Mapping[str, Any]] = _OFF

    name: str = Field(
        description="The text encoder: `bigru` as in VLT, `bilstm` as in STEP, `roberta` as in ReferFormer, "
        "`bert` as in LAVT and ReLA, `clip` as in CRIS, or `hf:FOLDER_OR_ID` for any text encoder of transformers "
        "(BERT, RoBERTa, …).",
        examples=[*TEXT_ENCODERS, ANY_PRETRAINED],
    )
    vectors: FileName | None = Field(
        default_factory=_default("vectors"),
        description="bigru, bilstm: word vectors, a GloVe or word2vec file, a compact file made from one, or the name "
        "of a spaCy model with vectors; null: embeddings learned over the words of the training split.",
    )
    dim: Width | None = Field(default_factory=_default("dim"), description="bigru, bilstm: width of a word vector.")
    freeze_vectors: bool = Field(
        default_factory=_default("freeze_vectors"),
        description="bigru, bilstm: keep the word vectors as read; learned embeddings always train.",
    )
    extra_words: int = Field(
        default_factory=_default("extra_words"),
        ge=0,
        le=2_000_000,
        description="bigru, bilstm, with `vectors`: how many of their most frequent words join the vocabulary beside "
        "the training words, so that a checkpoint knows more words than its training set.",
    )
    hidden: Width | None = Field(
        default_factory=_default("hidden"), description="bigru, bilstm: width of the recurrence, each direction."
    )
    directions: Literal["concatenated", "summed"] | None = Field(
        default_factory=_default("directions"),
        description="bilstm: how the states of the two directions are combined.",
    )
    tokens: FileName | None = Field(
        default_factory=_default("tokens"),
        description="roberta, bert, clip, `hf:`: the tokenizer, a folder or hub id; of bert also a vocab.txt, of clip "
        "OpenAI's bpe_simple_vocab_16e6.txt.gz. With roberta, bert or clip null: the words of the training split.",
    )
    weights: FileName | None = Field(
        default_factory=_default("weights"),
        description="roberta, bert, `hf:`: pretrained weights, a folder or hub id; clip: OpenAI's .pt; null: random "
        "weights.",
    )
    layers: Annotated[int, Field(ge=1, le=48)] | None = Field(
        default_factory=_default("layers"), description="roberta, bert, clip: transformer layers."
    )
    width: Width | None = Field(
        default_factory=_default("width"), description="roberta, bert, clip: width of the layers."
    )
    heads: Annotated[int, Field(ge=1, le=64)] | None = Field(
        default_factory=_default("heads"),
        description="roberta, bert, clip: attention heads; they divide `width` evenly.",
    )
    feed_forward: Width | None = Field(
        default_factory=_default("feed_forward"), description="roberta, bert, clip: inner width of the feed-forward."
    )
    projection: Width | None = Field(
        default_factory=_default("projection"),
        description="clip: width of CLIP's embedding, that of the sentence: 1024 with RN50, 512 with RN101.",
    )
    dropout: Fraction | None = Field(
        default_factory=_default("dropout"),
        description="Dropout: bigru: on the words and the attention over them; bilstm: on the word vectors and the "
        "states; roberta: within it and after the resizer; bert: within it; `hf:`: after the resizer.",
    )
    frozen: bool = Field(
        default=False,
        description="roberta, bert, clip, `hf:`: do not train the transformer; a resizer after it always trains.",
    )
    frozen_dropout: bool = Field(
        default_factory=_default("frozen_dropout"),
        description="roberta: dropout acts in training within a frozen transformer too, as published for ReferFormer. "
        "False: its output never changes, and `risctl prepare features` can compute it once.",
    )
    config: dict[str, Any] | None = Field(
        default=None,
        description="`hf:` only: the model's configuration; read from the folder or hub when null, and stored in "
        "checkpoints.",
    )

    _heads_divide = field_validator("heads")(divides("width", named="model.text.width"))

    @field_validator("weights")
    @classmethod
    def _words_have_no_weights(cls, value: str | None, info: ValidationInfo) -> str | None:
        if (
            value is not None
            and info.data.get("name") in ("roberta", "bert", "clip")
            and info.data.get("tokens") is None
        ):
            raise PydanticCustomError("clash", "null: with `tokens: null` there are no weights for the words")
        return value

    @classmethod
    def encoders(cls) -> list[str]:
        """Returns the names of all text encoders."""
        return [*TEXT_ENCODERS, ANY_PRETRAINED]

    @classmethod
    def options_of(cls, name: str) -> Mapping[str, Any]:
        """Returns the fields that an encoder takes, with their defaults."""
        return find_text(name).options

    @classmethod
    def read_config(cls, source: str) -> dict[str, Any]:
        """Reads the configuration of a text encoder of transformers from its folder or the hub."""
        from risctl.core.encoders.text.transformers_text import read_config

        return read_config(source)
