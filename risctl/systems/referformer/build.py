"""From the `model` section of a recipe to a ReferFormer."""

from __future__ import annotations

import numpy as np
from torch import nn

from risctl.core.encoders.load_weights import load_backbone, load_state
from risctl.core.encoders.text.roberta import RobertaEncoder, roberta_state
from risctl.core.encoders.visual import swin
from risctl.core.encoders.visual.frozen_resnet import FrozenResNet
from risctl.core.encoders.visual.small_frames import SmallFrames
from risctl.core.fusion.cross_modal import EarlyFusion
from risctl.core.fusion.cross_modal_fpn import CrossModalFPN
from risctl.core.fusion.deformable_transformer import DeformableTransformer
from risctl.core.heads.dynamic_mask import DynamicMaskHead
from risctl.data.transforms.preprocess import ShortSidePreprocess
from risctl.language.vocabulary import Vocabulary
from risctl.systems.referformer.config import ReferFormerModel, ReferFormerVisualSection, RobertaSection
from risctl.systems.referformer.model import ReferFormer, box_heads, class_heads, level_projections


def build_referformer(
    model: ReferFormerModel, vocabulary: Vocabulary, vectors: np.ndarray | None, pretrained: bool
) -> ReferFormer:
    """Return the ReferFormer that `model` describes; as `risctl.systems.registry.build_system`."""
    del vectors
    visual = _backbone(model.visual, pretrained=pretrained)
    return ReferFormer(
        preprocess=ShortSidePreprocess(
            short=model.short_side,
            longest=model.longest_side,
            max_words=model.max_words,
            vocabulary=vocabulary,
        ),
        visual=visual,
        text=_text(model.text, hidden=model.hidden, vocabulary=vocabulary, pretrained=pretrained),
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
    )


def _backbone(section: ReferFormerVisualSection, *, pretrained: bool) -> FrozenResNet | SmallFrames | swin.Swin:
    backbone: FrozenResNet | SmallFrames | swin.Swin
    if section.name in swin.NUMBERS:
        backbone = swin.Swin(swin.NUMBERS[section.name], frozen=section.frozen, drop_path=section.drop_path)
    elif section.name == "small_cnn":
        backbone = SmallFrames(frozen=section.frozen)
    else:
        backbone = FrozenResNet(section.name, frozen=section.frozen)
    if pretrained and section.weights is not None and not _on_meta(backbone):
        load_backbone(backbone, section.name, section.weights)
    return backbone


def _text(section: RobertaSection, *, hidden: int, vocabulary: Vocabulary, pretrained: bool) -> RobertaEncoder:
    encoder = RobertaEncoder(
        vocabulary=len(vocabulary),
        channels=hidden,
        layers=section.layers,
        width=section.width,
        heads=section.heads,
        feed_forward=section.feed_forward,
        dropout=section.dropout,
        frozen=section.frozen,
    )
    if pretrained and section.weights is not None and not _on_meta(encoder):
        load_state(encoder.roberta, roberta_state(section.weights), source=section.weights)
    return encoder


def _on_meta(module: nn.Module) -> bool:
    return next(module.parameters()).is_meta
