"""Builds ReLA from the `model` section of a recipe."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from risctl.core.encoders.text.registry import build_text
from risctl.core.encoders.visual.registry import build_visual
from risctl.core.fusion.deformable_pixel_decoder import DeformablePixelDecoder
from risctl.core.fusion.language_backbone import LanguageBackbone
from risctl.core.fusion.region_decoder import RegionDecoder
from risctl.data.transforms.preprocess import SquarePreprocess
from risctl.language.vocabulary import Vocabulary
from risctl.systems.rela.config import ReLAModel
from risctl.systems.rela.model import ReLA


def build_rela(model: ReLAModel, vocabulary: Vocabulary, vectors: np.ndarray | None, pretrained: bool) -> ReLA:
    """Builds the ReLA that a `model` section describes; arguments as in `risctl.systems.registry.build_system`."""
    wanted = replace(model.visual.wanted, staged=model.language_gates)
    visual: Any = build_visual(model.visual, wanted=wanted, pretrained=pretrained)
    text: Any = build_text(model.text, vocabulary, vectors=vectors, pretrained=pretrained)
    if model.language_gates:
        # Nothing reads what flows on after the last stage; published checkpoints have no gate there.
        visual = LanguageBackbone(visual, words=text.channels, zero_gates=True, last_gate=False)
    return ReLA(
        preprocess=SquarePreprocess(size=model.input_size, max_words=model.max_words, vocabulary=vocabulary),
        visual=visual,
        text=text,
        pixel_decoder=DeformablePixelDecoder(
            visual.channels,
            model.hidden,
            heads=model.heads,
            layers=model.pixel_layers,
            feed_forward=model.pixel_feed_forward,
            points=model.points,
            mask_channels=model.mask_channels,
        ),
        region_decoder=RegionDecoder(
            model.hidden,
            words=text.channels,
            regions=model.regions**2,
            layers=model.layers,
            heads=model.heads,
            feed_forward=model.feed_forward,
            mask_channels=model.mask_channels,
            language_weight=model.language_weight,
        ),
        grid=(model.regions, model.regions),
        no_target_threshold=model.no_target_threshold,
    )
