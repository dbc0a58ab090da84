"""Builds LAVT from the `model` section of a recipe."""

from __future__ import annotations

from typing import Any

import numpy as np

from risctl.core.encoders.text.registry import build_text
from risctl.core.encoders.visual.registry import build_visual
from risctl.core.fusion.language_backbone import LanguageBackbone
from risctl.data.transforms.preprocess import SquarePreprocess
from risctl.language.vocabulary import Vocabulary
from risctl.systems.lavt.config import LAVTModel
from risctl.systems.lavt.decoder import LAVTDecoder
from risctl.systems.lavt.model import LAVT


def build_lavt(model: LAVTModel, vocabulary: Vocabulary, vectors: np.ndarray | None, pretrained: bool) -> LAVT:
    """Builds the LAVT that a `model` section describes; arguments as in `risctl.systems.registry.build_system`."""
    text: Any = build_text(model.text, vocabulary, vectors=vectors, pretrained=pretrained)
    backbone: Any = build_visual(model.visual, pretrained=pretrained)
    visual = LanguageBackbone(backbone, words=text.channels, heads=model.fusion_heads)
    return LAVT(
        preprocess=SquarePreprocess(size=model.input_size, max_words=model.max_words, vocabulary=vocabulary),
        visual=visual,
        text=text,
        decoder=LAVTDecoder(visual.channels, width=model.decoder_channels or visual.channels[-1] // 2),
        class_weights=model.class_weights,
    )
