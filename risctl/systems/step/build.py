"""From the `model` section of a recipe to a STEP."""

from __future__ import annotations

import numpy as np

from risctl.core.encoders.load_weights import load_backbone
from risctl.core.encoders.text.bilstm import BiLSTMEncoder
from risctl.core.encoders.visual.dilated_resnet import DilatedResNet
from risctl.core.fusion.conv_gru import ConvGRU, RunningMean
from risctl.core.fusion.see_through import TextEmbedding, TextVector
from risctl.data.batch import Preprocess
from risctl.data.transforms.preprocess import LetterboxPreprocess, LongestSidePreprocess
from risctl.language.vocabulary import Vocabulary
from risctl.systems.embedding import word_embedding
from risctl.systems.step.config import CELL, StepModel, StepVisualSection
from risctl.systems.step.model import Step, StepLevel


def build_step(model: StepModel, vocabulary: Vocabulary, vectors: np.ndarray | None, pretrained: bool) -> Step:
    """Return the STEP that `model` describes; as `risctl.systems.registry.build_system`."""
    visual = _backbone(model.visual, depth=max(model.levels), pretrained=pretrained)
    text = BiLSTMEncoder(
        embedding=word_embedding(model.text, vocabulary, vectors),
        dim=model.text.dim,
        hidden=model.text.hidden,
        dropout=model.text.dropout,
        summed=model.text.directions == "summed",
    )
    return Step(
        preprocess=_preprocess(model, vocabulary),
        visual=visual,
        text=text,
        levels={
            number: StepLevel(
                visual.channels[number - 1],
                context=model.context_channels,
                rate=model.context_rate,
                rectified=model.context_activation == "relu",
                attention=model.attention,
                embedding=model.embedding,
            )
            for number in model.levels
        },
        text_vector=TextVector(text.channels, model.attention),
        text_embedding=TextEmbedding(text.channels, model.embedding),
        refinement=(
            ConvGRU(
                3 if model.gru_input == "heatmap_xy" else 1,
                model.filters,
                gate_bias=model.gate_bias,
                candidate_bias=model.candidate_bias,
                learned_start=model.first_state == "learned",
            )
            if model.refinement == "convgru"
            else RunningMean()
        ),
        folds=model.folds,
        descending=model.order == "F5-F1",
        reweighted_text=model.reweighted_text,
        state_stride=model.state_stride,
        whole_input=model.input_fit == "square",
        unit_coordinates=model.coordinates == "unit",
        central_start=model.first_map == "centre",
    )


def _backbone(section: StepVisualSection, *, depth: int, pretrained: bool) -> DilatedResNet:
    backbone = DilatedResNet(
        section.name, depth=depth, frozen_stages=section.frozen_stages, frozen_norms=section.frozen_norms
    )
    if pretrained and section.weights is not None and not backbone.conv1.weight.is_meta:
        beyond = tuple(f"layer{number}." for number in range(depth, 5))
        load_backbone(backbone, section.name, section.weights, ignored=beyond)
    return backbone


def _preprocess(model: StepModel, vocabulary: Vocabulary) -> Preprocess:
    if model.input_fit == "longest":
        return LongestSidePreprocess(
            longest=model.input_size, multiple=CELL, max_words=model.max_words, vocabulary=vocabulary
        )
    return LetterboxPreprocess(
        size=model.input_size,
        fill=0.0,
        target_size=model.input_size,
        max_words=model.max_words,
        vocabulary=vocabulary,
    )
