"""Builds ReferFormer from the `model` section of a recipe."""

from __future__ import annotations

from typing import Any

import numpy as np

from risctl.core.encoders.text.registry import build_text
from risctl.core.encoders.visual.registry import build_visual
from risctl.core.fusion.cross_modal import EarlyFusion
from risctl.core.fusion.cross_modal_fpn import CrossModalFPN
from risctl.core.fusion.deformable_transformer import DeformableTransformer
from risctl.core.heads.dynamic_mask import DynamicMaskHead
from risctl.data.transforms.preprocess import ShortSidePreprocess
from risctl.language.vocabulary import Vocabulary
from risctl.systems.referformer.config import ReferFormerModel
from risctl.systems.referformer.model import ReferFormer, box_heads, class_heads, level_projections


def build_referformer(
    model: ReferFormerModel, vocabulary: Vocabulary, vectors: np.ndarray | None, pretrained: bool
) -> ReferFormer:
    """Builds the ReferFormer of a `model` section; arguments as in `risctl.systems.registry.build_system`."""
    visual: Any = build_visual(model.visual, pretrained=pretrained)
    return ReferFormer(
        preprocess=ShortSidePreprocess(
            short=model.short_side,
            longest=model.longest_side,
            max_words=model.max_words,
            vocabulary=vocabulary,
            multiple=model.input_multiple,
            nearest=model.mask_resize == "nearest",
            lowercase=model.lowercase,
        ),
        visual=visual,
        text=build_text(model.text, vocabulary, vectors=vectors, channels=model.hidden, pretrained=pretrained),
        projections=level_projections(visual.channels[1:], model.hidden),
        fusion=EarlyFusion(model.hidden, heads=model.heads),
        transformer=DeformableTransformer(
            model.hidden,
            heads=model.heads,
            encoder_layers=model.encoder_layers,
            decoder_layers=model.decoder_layers,
            feed_forward=model.feed_forward,
            dropout=model.dropout,
            points=model.points,
        ),
        pyramid=CrossModalFPN(
            visual.channels[0],
            model.hidden,
            heads=model.heads,
            feed_forward=model.feed_forward,
            dropout=model.dropout,
            mask_channels=model.mask_channels,
        ),
        classes=class_heads(model.hidden, classes=model.classes, layers=model.decoder_layers),
        boxes=box_heads(model.hidden, layers=model.decoder_layers),
        mask_head=DynamicMaskHead(model.hidden, features=model.mask_channels),
        queries=model.queries,
        hidden=model.hidden,
        centre_only=model.centre_only,
        window=model.window,
    )
