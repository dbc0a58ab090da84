"""Builds CRIS from the `model` section of a recipe."""

from __future__ import annotations

from typing import Any

import numpy as np

from risctl.core.encoders.text.registry import build_text
from risctl.core.encoders.visual.registry import build_visual
from risctl.core.fusion.cris_decoder import CRISDecoder
from risctl.core.fusion.cris_neck import CRISNeck
from risctl.core.heads.sentence_kernel import SentenceKernelHead
from risctl.data.transforms.affine_preprocess import AffineLetterboxPreprocess
from risctl.language.vocabulary import Vocabulary
from risctl.systems.cris.config import CRISModel
from risctl.systems.cris.model import CRIS


def build_cris(model: CRISModel, vocabulary: Vocabulary, vectors: np.ndarray | None, pretrained: bool) -> CRIS:
    """Builds the CRIS that a `model` section describes; arguments as in `risctl.systems.registry.build_system`."""
    visual: Any = build_visual(model.visual, pretrained=pretrained)
    text: Any = build_text(
        model.text, vocabulary, vectors=vectors, channels=model.hidden, sentence_apart=True, pretrained=pretrained
    )
    sentence = getattr(text, "sentence_channels", text.channels)
    return CRIS(
        preprocess=AffineLetterboxPreprocess(
            size=model.input_size, target_size=model.input_size // 4, max_words=model.max_words, vocabulary=vocabulary
        ),
        visual=visual,
        text=text,
        neck=CRISNeck(visual.channels, sentence=sentence, width=model.hidden),
        decoder=CRISDecoder(
            model.hidden,
            layers=model.decoder_layers,
            heads=model.heads,
            feed_forward=model.feed_forward,
            dropout=model.dropout,
        ),
        head=SentenceKernelHead(model.hidden, sentence=sentence),
    )
