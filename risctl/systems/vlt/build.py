"""Builds VLT from the `model` section of a recipe."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from risctl.core.encoders.text.registry import build_text
from risctl.core.encoders.visual.registry import build_visual
from risctl.core.fusion.query_balance import QueryBalance
from risctl.core.fusion.query_generation import PlainQueryGeneration, QueryGeneration, VisualQueries
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
