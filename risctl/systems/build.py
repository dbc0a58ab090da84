"""From the `model` section of a recipe to a system: which names there are, and what each is built of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from risctl.core.encoders.text.bigru import BiGRUEncoder
from risctl.core.encoders.visual import resnet
from risctl.core.encoders.visual.darknet53 import Darknet53
from risctl.core.encoders.visual.small_cnn import SmallCNN
from risctl.core.fusion.query_balance import QueryBalance
from risctl.core.fusion.query_generation import PlainQueryGeneration, QueryGeneration, VisualQueries
from risctl.core.fusion.vlt_pyramid import VLTPyramid
from risctl.core.fusion.vlt_transformer import VLTTransformer
from risctl.core.heads.conv_mask import ConvMaskHead
from risctl.data.transforms import LetterboxPreprocess
from risctl.errors import UsageError, unknown_name
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.model import VisualSection, VLTModel
from risctl.recipe.systems import ModelSection
from risctl.systems.base import System
from risctl.systems.build_mini import build_mini
from risctl.systems.build_referformer import build_referformer
from risctl.systems.build_step import build_step
from risctl.systems.build_zsi import build_zsi
from risctl.systems.embedding import word_embedding
from risctl.systems.vlt import VLT
from risctl.systems.weights import load_trunk


def build_system(
    model: ModelSection,
    *,
    vocabulary: Vocabulary,
    vectors: np.ndarray | None = None,
    pretrained: bool = True,
) -> System:
    """Return the system that a recipe's `model` section describes.

    vectors: float32 (len(vocabulary), dim), what `model.text.vectors` holds for the vocabulary; without them the words
    have zero vectors where published ones are asked for, for a checkpoint to fill in. pretrained: read
    `model.visual.weights`; False where a checkpoint follows. On the meta device nothing is read.

    Raises `UsageError` for vectors of another shape, `CheckpointError` for weights of another trunk.
    """
    if model.system not in SYSTEMS:
        raise UsageError(unknown_name("system", model.system, SYSTEMS))
    return SYSTEMS[model.system](model, vocabulary, vectors, pretrained)


def _vlt(model: VLTModel, vocabulary: Vocabulary, vectors: np.ndarray | None, pretrained: bool) -> VLT:
    size, hidden, momentum = model.input_size, model.hidden, model.norm_momentum
    grid = (size // 16, size // 16)
    visual = _visual(model.visual, momentum, pretrained)
    embedding = word_embedding(model.text, vocabulary, vectors)
    text = BiGRUEncoder(embedding=embedding, dim=model.text.dim, hidden=model.text.hidden, dropout=model.text.dropout)
    reference = model.variant == "reference"
    visual_queries = VisualQueries(
        model.fusion_channels, cells=grid[0] * grid[1], queries=model.queries, hidden=hidden, norm_momentum=momentum
    )
    queries = (
        QueryGeneration(visual=visual_queries, words=text.channels, hidden=hidden, heads=model.heads)
        if reference
        else PlainQueryGeneration(visual=visual_queries, words=text.channels, hidden=hidden)
    )
    return VLT(
        preprocess=LetterboxPreprocess(
            size=size, fill=0.5, target_size=size // 2, max_words=model.max_words, vocabulary=vocabulary
        ),
        visual=visual,
        text=text,
        pyramid=VLTPyramid(
            visual.channels,
            sentence=text.channels,
            width=model.fusion_channels,
            hidden=hidden,
            norm_momentum=momentum,
        ),
        queries=queries,
        transformer=VLTTransformer(
            hidden,
            heads=model.heads,
            encoder_layers=model.encoder_layers,
            decoder_layers=model.decoder_layers,
            feed_forward=model.feed_forward,
            dropout=model.dropout,
            projected_relu=reference,
            causal=reference,
        ),
        balance=QueryBalance(hidden),
        head=ConvMaskHead(hidden, queries=model.queries, grid=grid, width=model.head_channels, norm_momentum=momentum),
        weight_penalty=model.weight_penalty,
    )


def _visual(section: VisualSection, norm_momentum: float, pretrained: bool) -> Darknet53 | SmallCNN | resnet.ResNet:
    trunk: Darknet53 | SmallCNN | resnet.ResNet
    if section.name == "darknet53":
        frozen = 58 if section.frozen else section.frozen_convolutions
        trunk = Darknet53(frozen_convolutions=frozen, norm_momentum=norm_momentum)
    elif section.name == "small_cnn":
        trunk = SmallCNN(frozen=section.frozen)
    else:
        trunk = resnet.ResNet(section.name, frozen=section.frozen)
    on_meta = next(trunk.parameters()).is_meta
    if pretrained and section.weights is not None and not on_meta:
        load_trunk(trunk, section.name, section.weights)
    return trunk


SYSTEMS: dict[str, Callable[[Any, Vocabulary, np.ndarray | None, bool], System]] = {
    "vlt": _vlt,
    "step": build_step,
    "referformer": build_referformer,
    "zsi": build_zsi,
    "mini": build_mini,
}
"""What builds each system that a recipe can name."""
