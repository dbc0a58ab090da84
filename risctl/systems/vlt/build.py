"""Builds VLT from the `model` section of a recipe."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from risctl.core.blocks import ConvBlock
from risctl.core.encoders.text.registry import build_text
from risctl.core.encoders.visual.registry import build_visual
from risctl.core.fusion.query_balance import NoBalance, QueryBalance
from risctl.core.fusion.query_generation import LearnedQueries, PlainQueryGeneration, QueryGeneration, VisualQueries
from risctl.core.fusion.vlt_pyramid import VLTPyramid
from risctl.core.fusion.vlt_transformer import VLTTransformer
from risctl.core.heads.conv_mask import ConvMaskHead
from risctl.data.transforms.preprocess import LetterboxPreprocess
from risctl.language.vocabulary import Vocabulary
from risctl.systems.vlt.config import VLTModel
from risctl.systems.vlt.model import VLT


def build_vlt(model: VLTModel, vocabulary: Vocabulary, vectors: np.ndarray | None, pretrained: bool) -> VLT:
    """Builds the VLT that a `model` section describes; arguments as in `risctl.systems.registry.build_system`."""
    size, hidden, momentum = model.input_size, model.hidden, model.norm_momentum
    grid = (size // 16, size // 16)
    wanted = replace(model.visual.wanted, norm_momentum=momentum)
    visual: Any = build_visual(model.visual, wanted=wanted, pretrained=pretrained)
    text: Any = build_text(model.text, vocabulary, vectors=vectors, pretrained=pretrained)
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
        queries=None if model.convolutions else _queries(model, words=text.channels, cells=grid[0] * grid[1]),
        transformer=None if model.convolutions else _transformer(model),
        balance=QueryBalance(hidden) if model.query_balance and not model.convolutions else NoBalance(),
        convolutions=_convolutions(model, model.convolutions) if model.convolutions else None,
        head=ConvMaskHead(
            hidden,
            queries=None if model.convolutions else model.queries,
            grid=grid,
            width=model.head_channels,
            norm_momentum=momentum,
        ),
        weight_penalty=model.weight_penalty,
    )


def _queries(model: VLTModel, *, words: int, cells: int) -> nn.Module:
    if model.query_source == "learned":
        return LearnedQueries(queries=model.queries, hidden=model.hidden)
    visual = VisualQueries(
        model.fusion_channels,
        cells=cells,
        queries=model.queries,
        hidden=model.hidden,
        norm_momentum=model.norm_momentum,
    )
    if model.variant == "reference":
        return QueryGeneration(visual=visual, words=words, hidden=model.hidden, heads=model.heads)
    return PlainQueryGeneration(visual=visual, words=words, hidden=model.hidden)


def _transformer(model: VLTModel) -> VLTTransformer:
    return VLTTransformer(
        model.hidden,
        heads=model.heads,
        encoder_layers=model.encoder_layers,
        decoder_layers=model.decoder_layers,
        feed_forward=model.feed_forward,
        dropout=model.dropout,
        projected_relu=model.variant == "reference",
        causal=model.variant == "reference",
    )


def _convolutions(model: VLTModel, count: int) -> nn.Module:
    return nn.Sequential(
        *(ConvBlock(model.hidden, model.hidden, kernel=3, norm_momentum=model.norm_momentum) for _ in range(count))
    )
