"""From the `model` section of a recipe to a VLT."""

from __future__ import annotations

import numpy as np

from risctl.core.encoders.load_weights import load_backbone
from risctl.core.encoders.text.bigru import BiGRUEncoder
from risctl.core.encoders.visual import resnet
from risctl.core.encoders.visual.darknet53 import Darknet53
from risctl.core.encoders.visual.small_cnn import SmallCNN
from risctl.core.fusion.query_balance import QueryBalance
from risctl.core.fusion.query_generation import PlainQueryGeneration, QueryGeneration, VisualQueries
from risctl.core.fusion.vlt_pyramid import VLTPyramid
from risctl.core.fusion.vlt_transformer import VLTTransformer
from risctl.core.heads.conv_mask import ConvMaskHead
from risctl.data.transforms.preprocess import LetterboxPreprocess
from risctl.language.vocabulary import Vocabulary
from risctl.systems.embedding import word_embedding
from risctl.systems.vlt.config import VisualSection, VLTModel
from risctl.systems.vlt.model import VLT


def build_vlt(model: VLTModel, vocabulary: Vocabulary, vectors: np.ndarray | None, pretrained: bool) -> VLT:
    """Return the VLT that `model` describes; as `risctl.systems.registry.build_system`."""
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
    backbone: Darknet53 | SmallCNN | resnet.ResNet
    if section.name == "darknet53":
        frozen = 58 if section.frozen else section.frozen_convolutions
        backbone = Darknet53(frozen_convolutions=frozen, norm_momentum=norm_momentum)
    elif section.name == "small_cnn":
        backbone = SmallCNN(frozen=section.frozen)
    else:
        backbone = resnet.ResNet(section.name, frozen=section.frozen)
    on_meta = next(backbone.parameters()).is_meta
    if pretrained and section.weights is not None and not on_meta:
        load_backbone(backbone, section.name, section.weights)
    return backbone
