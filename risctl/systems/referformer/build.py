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
from risctl.systems.referformer.config import ReferFormerModel, TermsSection
from risctl.systems.referformer.heads import box_heads, class_heads, level_projections
from risctl.systems.referformer.model import ReferFormer


def build_referformer(
    model: ReferFormerModel, vocabulary: Vocabulary, vectors: np.ndarray | None, pretrained: bool
) -> ReferFormer:
    """Builds the ReferFormer of a `model` section; arguments as in `risctl.systems.registry.build_system`."""
    visual: Any = build_visual(model.visual, pretrained=pretrained)
    heads = model.decoder_layers if model.box_refinement else 1
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
            cross_modal=model.pyramid == "cross_modal",
        ),
        classes=class_heads(model.hidden, classes=model.classes, layers=heads, frozen=not model.auxiliary_losses),
        boxes=box_heads(model.hidden, layers=heads, frozen=not model.auxiliary_losses),
        mask_head=DynamicMaskHead(
            model.hidden,
            features=model.mask_channels,
            inner=model.dynamic_channels,
            layers=model.dynamic_layers,
            relative=model.relative_coordinates,
        ),
        queries=model.queries,
        hidden=model.hidden,
        box_refinement=model.box_refinement,
        auxiliary_losses=model.auxiliary_losses,
        loss_weights=_terms(model.loss_weights),
        match_weights=_terms(model.match_weights),
        centre_only=model.centre_only,
        window=model.window,
    )


def _terms(section: TermsSection) -> dict[str, float]:
    """Returns the weights by the names of the losses."""
    return {
        "class": section.classes,
        "box": section.box,
        "giou": section.giou,
        "mask": section.mask,
        "dice": section.dice,
    }
