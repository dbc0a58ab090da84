"""Builds STEP from the `model` section of a recipe."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from risctl.core.encoders.text.registry import build_text
from risctl.core.encoders.visual.registry import build_visual, find_visual
from risctl.core.fusion.conv_gru import ConvGRU, ConvRNN, RunningMean
from risctl.core.fusion.see_through import MeanTextVector, TextEmbedding, TextVector
from risctl.data.batch import Preprocess
from risctl.data.transforms.preprocess import LetterboxPreprocess, LongestSidePreprocess
from risctl.errors import RecipeError
from risctl.language.vocabulary import Vocabulary
from risctl.systems.step.config import CELL, StepModel
from risctl.systems.step.model import Step, StepLevel


def build_step(model: StepModel, vocabulary: Vocabulary, vectors: np.ndarray | None, pretrained: bool) -> Step:
    """Builds the STEP that a `model` section describes; arguments as in `risctl.systems.registry.build_system`."""
    wanted = replace(model.visual.wanted, depth=max(model.levels))
    visual: Any = build_visual(model.visual, wanted=wanted, pretrained=pretrained)
    _check_maps(model, visual.strides)
    text: Any = build_text(model.text, vocabulary, vectors=vectors, pretrained=pretrained)
    system = Step(
        preprocess=_preprocess(model, vocabulary, cell=math.lcm(CELL, *visual.strides)),
        visual=visual,
        text=text,
        levels={
            number: StepLevel(
                visual.channels[number - 1],
                context=model.context_channels,
                rate=model.context_rate,
                coordinates=model.coordinates != "none",
                rectified=model.context_activation == "relu",
                attention=model.attention if model.text_attention else None,
                embedding=model.embedding,
            )
            for number in model.levels
        },
        text_vector=TextVector(text.channels, model.attention) if model.text_attention else MeanTextVector(),
        text_embedding=TextEmbedding(text.channels, model.embedding),
        refinement=_refinement(model),
        folds=model.folds,
        descending=model.order == "F5-F1",
        reweighted_text=model.reweighted_text,
        state_stride=model.state_stride,
        whole_input=model.input_fit == "square",
        unit_coordinates=model.coordinates == "unit",
        central_start=model.first_map == "centre",
        loss_pixels=model.loss_pixels,
        upsampled=model.upsampled,
    )
    # Only the dilated backbones keep what lies in the padding of a batch from reaching an image.
    system.padding_changes_features = model.input_fit == "longest" and not find_visual(model.visual.name).dilated
    return system


def _refinement(model: StepModel) -> ConvGRU | ConvRNN | RunningMean:
    inputs = 3 if model.gru_input == "heatmap_xy" else 1
    if model.refinement == "none":
        return RunningMean()
    if model.refinement == "convrnn":
        return ConvRNN(inputs, model.filters)
    return ConvGRU(
        inputs,
        model.filters,
        gate_bias=model.gate_bias,
        candidate_bias=model.candidate_bias,
        learned_start=model.first_state == "learned",
    )


def _preprocess(model: StepModel, vocabulary: Vocabulary, *, cell: int) -> Preprocess:
    if model.input_fit == "longest":
        return LongestSidePreprocess(
            longest=model.input_size, multiple=cell, max_words=model.max_words, vocabulary=vocabulary
        )
    return LetterboxPreprocess(
        size=model.input_size,
        fill=0.0,
        target_size=model.input_size,
        max_words=model.max_words,
        vocabulary=vocabulary,
    )


def _check_maps(model: StepModel, strides: Sequence[int]) -> None:
    """Raises `RecipeError` for levels that the backbone lacks, or an input that is not made of whole cells."""
    if max(model.levels) > len(strides):
        raise RecipeError(
            f"model.levels: expected levels from 1 to {len(strides)}, the maps of {model.visual.name}; "
            f"got {list(model.levels)}"
        )
    cell = math.lcm(*strides)
    if model.input_fit == "square" and model.input_size % cell:
        below = model.input_size // cell * cell
        raise RecipeError(
            f"model.input_size: expected a multiple of {cell} for the strides of {model.visual.name}, for instance "
            f"{below or cell} or {below + cell}; got {model.input_size}"
        )
