"""Lists the text encoders that a recipe can name, and builds them.

Every system that reads a sequence of words builds its text encoder here; `channels` is the width that its fusion takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from risctl.core.encoders.section import PRETRAINED, is_pretrained
from risctl.errors import RecipeError, UsageError, unknown_name

if TYPE_CHECKING:  # reading a recipe must not import torch
    import numpy as np
    from torch import nn

    from risctl.language.vocabulary import Vocabulary

TextSection = Any
"""`risctl.core.encoders.text.config.TextSection`, which is checked by the entries below and stands above them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextBuild:
    """What a text encoder is built from.

    Attributes:
        section: The recipe's `model.text` section.
        vocabulary: The words or tokens.
        vectors: float32 (len(vocabulary), dim), the vectors of the words, or None.
        channels: The width of words and sentence that the fusion takes; None: any.
        pretrained: Whether to read weights; False where a checkpoint follows.
    """

    section: TextSection
    vocabulary: Vocabulary
    vectors: np.ndarray | None
    channels: int | None
    pretrained: bool

    def options(self, *names: str) -> dict[str, Any]:
        """Returns the fields `names` of the section."""
        return {name: getattr(self.section, name) for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEntry:
    """One encoder of the registry.

    Attributes:
        build: Builds it.
        options: The recipe fields that it takes beside `name`, with their defaults.
        narrows: Whether it gives any width that a fusion asks for by itself.
    """

    build: Callable[[TextBuild], nn.Module]
    options: Mapping[str, Any]
    narrows: bool = False


def build_text(
    section: TextSection,
    vocabulary: Vocabulary,
    *,
    vectors: np.ndarray | None = None,
    channels: int | None = None,
    sentence_apart: bool = False,
    pretrained: bool = True,
) -> nn.Module:
    """Builds the text encoder of a recipe's `model.text` section. On the meta device no weights are read.

    Args:
        section: The section.
        vocabulary: The words or tokens that the encoder reads.
        vectors: float32 (len(vocabulary), dim), word vectors; None: learned ones, or zeros for a checkpoint to fill in.
        channels: The width of words and sentence that the system's fusion takes; None: whatever the encoder has. An
            encoder of another width is followed by a linear layer and a layer norm.
        sentence_apart: Whether the fusion takes a sentence of another width than the words have, as CLIP's can be.
        pretrained: Whether to read pretrained weights; False where a checkpoint follows.

    Returns:
        A module with `channels`, see `risctl.core.encoders.base`.

    Raises:
        UsageError: The word vectors have another shape.
        CheckpointError: The weights cannot be read, or are those of another encoder.
        MachineError: The weights cannot be downloaded.
    """
    entry = find_text(section.name)
    encoder = entry.build(
        TextBuild(section=section, vocabulary=vocabulary, vectors=vectors, channels=channels, pretrained=pretrained)
    )
    wanted = encoder.channels if channels is None else channels
    fits = sentence_apart or getattr(encoder, "sentence_channels", wanted) == wanted
    if entry.narrows or (encoder.channels == wanted and fits):
        return encoder
    from risctl.core.encoders.text.resized import ResizedText

    return ResizedText(encoder, wanted)  # type: ignore[arg-type]


def read_tokenizer(name: str, source: str) -> Vocabulary:
    """Reads the tokenizer of the text encoder `name` from a folder or the hub.

    Raises:
        CheckpointError: The files are missing or damaged.
        MachineError: The hub cannot be reached.
    """
    if name == "bert":
        from risctl.language.wordpiece import read_wordpiece

        return read_wordpiece(source)
    if name == "clip":
        from risctl.language.clip_vocabulary import ClipVocabulary

        return ClipVocabulary.load(source)
    if not is_pretrained(name):
        from risctl.language.byte_pairs import BytePairs

        return BytePairs.load(source)
    from risctl.core.encoders.text.transformers_text import read_tokens

    return read_tokens(source)


def find_text(name: str) -> TextEntry:
    """Returns the entry of an encoder. Raises `RecipeError` for a name that there is not."""
    if is_pretrained(name):
        return _TRANSFORMERS
    if name not in TEXT_ENCODERS:
        raise RecipeError(unknown_name("text encoder", name, TEXT_ENCODERS))
    return TEXT_ENCODERS[name]


def _word_vectors(given: TextBuild) -> nn.Module:
    """Returns what maps word ids (B, L) to vectors (B, L, dim)."""
    import torch

    from risctl.core.encoders.text.embedding import FrozenVectors, LearnedVectors

    section, vectors = given.section, given.vectors
    shape = (len(given.vocabulary), int(section.dim or 0))
    initial: torch.Tensor | None = None
    if vectors is not None:
        if vectors.shape != shape:
            raise UsageError(f"expected word vectors (words, model.text.dim) = {shape}, got {vectors.shape}")
        initial = torch.as_tensor(vectors, dtype=torch.float32)
    elif section.vectors is not None:
        initial = torch.zeros(shape)
    if initial is not None and section.freeze_vectors:
        return FrozenVectors(initial.clone())
    return LearnedVectors(*shape, initial=initial)


def _bigru(given: TextBuild) -> nn.Module:
    from risctl.core.encoders.text.bigru import BiGRUEncoder

    return BiGRUEncoder(embedding=_word_vectors(given), **given.options("dim", "hidden", "dropout"))


def _bilstm(given: TextBuild) -> nn.Module:
    from risctl.core.encoders.text.bilstm import BiLSTMEncoder

    summed = given.section.directions == "summed"
    return BiLSTMEncoder(embedding=_word_vectors(given), summed=summed, **given.options("dim", "hidden", "dropout"))


def _roberta(given: TextBuild) -> nn.Module:
    from risctl.core.encoders.load_weights import load_state
    from risctl.core.encoders.text.roberta import RobertaEncoder, roberta_state

    section = given.section
    encoder = RobertaEncoder(
        vocabulary=len(given.vocabulary),
        channels=given.channels or int(section.width or 0),
        **given.options("layers", "width", "heads", "feed_forward", "dropout", "frozen", "frozen_dropout"),
    )
    if given.pretrained and section.weights is not None and not next(encoder.parameters()).is_meta:
        load_state(encoder.roberta, roberta_state(section.weights), source=section.weights)
    return encoder


def _bert(given: TextBuild) -> nn.Module:
    from risctl.core.encoders.load_weights import load_state
    from risctl.core.encoders.text.bert import BertEncoder, bert_state

    section = given.section
    encoder = BertEncoder(
        vocabulary=len(given.vocabulary),
        **given.options("layers", "width", "heads", "feed_forward", "dropout", "frozen"),
    )
    if given.pretrained and section.weights is not None and not next(encoder.parameters()).is_meta:
        load_state(encoder.bert, bert_state(section.weights), source=section.weights)
    return encoder


def _clip(given: TextBuild) -> nn.Module:
    from risctl.core.encoders.load_weights import load_state
    from risctl.core.encoders.text.clip_encoder import CLIPTextEncoder, clip_text_state

    section = given.section
    options = given.options("layers", "width", "heads", "feed_forward", "projection", "frozen")
    encoder = CLIPTextEncoder(vocabulary=len(given.vocabulary), **options)
    if given.pretrained and section.weights is not None and not next(encoder.parameters()).is_meta:
        load_state(encoder.clip, clip_text_state(section.weights), source=section.weights)
    return encoder


def _transformers(given: TextBuild) -> nn.Module:
    from risctl.core.encoders.model_config import check_fits
    from risctl.core.encoders.text.transformers_text import TransformersText, read_config

    section = given.section
    config = section.config or read_config(section.name.removeprefix(PRETRAINED))
    build = partial(TransformersText, config, channels=given.channels, **given.options("dropout", "frozen"))
    if given.pretrained and section.weights is not None:
        check_fits(section.weights, build, option="model.text.weights")
    encoder = build()
    if given.pretrained and section.weights is not None and not next(encoder.parameters()).is_meta:
        encoder.load(section.weights)
    return encoder


_WORDS = {"vectors": None, "dim": 300, "freeze_vectors": True, "extra_words": 20_000}
_TRANSFORMERS = TextEntry(
    build=_transformers,
    options={"tokens": None, "weights": None, "dropout": 0.1, "frozen": False, "config": None},
    narrows=True,
)

TEXT_ENCODERS: dict[str, TextEntry] = {
    "bigru": TextEntry(build=_bigru, options={**_WORDS, "hidden": 1024, "dropout": 0.1}),
    "bilstm": TextEntry(
        build=_bilstm, options={**_WORDS, "hidden": 1000, "directions": "concatenated", "dropout": 0.0}
    ),
    "roberta": TextEntry(
        build=_roberta,
        options={
            "tokens": "roberta-base",
            "weights": "roberta-base",
            "layers": 12,
            "width": 768,
            "heads": 12,
            "feed_forward": 3072,
            "dropout": 0.1,
            "frozen": False,
            "frozen_dropout": True,
        },
        narrows=True,
    ),
    "bert": TextEntry(
        build=_bert,
        options={
            "tokens": "bert-base-uncased",
            "weights": "bert-base-uncased",
            "layers": 12,
            "width": 768,
            "heads": 12,
            "feed_forward": 3072,
            "dropout": 0.1,
            "frozen": False,
        },
    ),
    "clip": TextEntry(
        build=_clip,
        options={
            "tokens": "openai/clip-vit-base-patch32",
            "weights": None,
            "layers": 12,
            "width": 512,
            "heads": 8,
            "feed_forward": 2048,
            "projection": 1024,
            "frozen": False,
        },
    ),
}
"""The text encoders by the name that `model.text.name` holds."""
