"""Builds mini from the `model` section of a recipe."""

from __future__ import annotations

import numpy as np
from torch import nn

from risctl.core.encoders.load_weights import load_backbone
from risctl.core.encoders.text.hashed_words import HashedWords
from risctl.core.encoders.visual.registry import build_visual
from risctl.core.fusion.box_selector import BoxSelector
from risctl.core.fusion.colour_histograms import APPEARANCE, PARTS
from risctl.core.heads.detector import InstanceDetector
from risctl.language.vocabulary import UNK_ID, Vocabulary
from risctl.systems.mini.config import MiniModel
from risctl.systems.mini.model import Mini
from risctl.systems.mini.preprocess import MiniPreprocess
from risctl.systems.mini.presence import Presence


def build_mini(model: MiniModel, vocabulary: Vocabulary, vectors: np.ndarray | None, pretrained: bool) -> Mini:
    """Builds the mini that a `model` section describes; arguments as in `risctl.systems.registry.build_system`."""
    words = vocabulary.words[UNK_ID + 1 :]
    whole_detector = model.visual.name == "shufflenet"
    backbone = build_visual(model.visual, pretrained=pretrained and not whole_detector)
    detector = InstanceDetector(
        backbone, neck=model.neck, channels=model.mask_channels, plus=model.detector == "nanodet-plus"
    )
    on_meta = next(detector.parameters()).is_meta
    if whole_detector and pretrained and model.visual.weights is not None and not on_meta:
        # The masks' parts are not in it: no published detector of this shape has any.
        known = nn.ModuleDict({"backbone": detector.backbone, "neck": detector.neck, "detect": detector.head})
        load_backbone(known, "the detector", model.visual.weights)
    if model.visual.frozen:
        for part in (detector.backbone, detector.neck, detector.head):
            part.requires_grad_(False)
    embedding = HashedWords(
        len(words),
        channels=model.channels,
        buckets=model.text.buckets,
        max_words=model.max_words,
        dim=0 if model.text.vectors is None else model.text.dim,
        vectors=vectors,
        row_dropout=model.text.row_dropout,
    )
    return Mini(
        preprocess=MiniPreprocess(
            size=model.input_size, words=words, buckets=model.text.buckets, max_words=model.max_words
        ),
        detector=detector,
        box_selector=BoxSelector(
            embedding,
            channels=model.channels,
            layers=model.layers,
            heads=model.heads,
            dropout=model.dropout,
            word_dropout=model.text.word_dropout,
            appearance=PARTS if model.colours == "parts" else APPEARANCE,
        ),
        max_count=model.max_count,
        score_threshold=model.score_threshold,
        iou_threshold=model.iou_threshold,
        even_score=model.even_score,
        no_target_threshold=model.no_target_threshold,
        no_target_weight=model.no_target_weight,
        presence=Presence(
            kind=model.no_target_score,
            scale=model.no_target_scale,
            evidence=model.no_target_evidence,
            shift=model.no_target_shift,
        ),
    )
