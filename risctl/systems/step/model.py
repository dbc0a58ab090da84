"""Defines STEP: see-through-text grouping (Chen et al., ICCV 2019). No code of it is public.

What the paper leaves open is taken from related codebases (text_objseg, RMI, RRN, CMSA); the recipes mark where.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from risctl.core.encoders.base import TextFeatures, VisualFeatures
from risctl.core.encoders.visual.dilated_resnet import image_mask_at
from risctl.core.fusion.conv_gru import ConvGRU, ConvRNN, RunningMean
from risctl.core.fusion.coordinates import spatial_coordinates
from risctl.core.fusion.see_through import (
    AtrousContext,
    PixelProjection,
    TextEmbedding,
    TextVector,
    heatmap,
    region_weights,
    resize_within,
)
from risctl.core.losses.mask import mean_cross_entropy
from risctl.data.batch import Batch, Preprocess
from risctl.results import Prediction
from risctl.systems.base import Output
from risctl.systems.cacheable import FeatureCacheable
from risctl.systems.exportable import ExportsMaps
from risctl.systems.step.explain import Steps, explain_steps

COORDINATES = 8


class StepLevel(nn.Module):
    """Prepares one of the maps F1 to F5 with its coordinates for the comparison with words and text vectors."""

    def __init__(
        self,
        channels: int,
        *,
        context: int | None,
        rate: int | None,
        coordinates: bool = True,
        rectified: bool = True,
        attention: int | None = 400,
        embedding: int = 1000,
    ) -> None:
        """Builds the level.

        Args:
            channels: Channels of the map.
            context: Output channels of the atrous convolution; None: as many as its input has.
            rate: Dilation rate of the atrous convolution; None: there is no convolution.
            coordinates: Whether the coordinates of each cell are read.
            rectified: Whether a ReLU follows the convolution.
            attention: Width of v~; None if the text vector does not read it.
            embedding: Width of phi.
        """
        super().__init__()
        self.coordinates = coordinates
        inputs = channels + COORDINATES if coordinates else channels
        outputs = inputs if context is None else context
        self.context = None if rate is None else AtrousContext(inputs, outputs, rate=rate, rectified=rectified)
        width = inputs if self.context is None else outputs
        self.project = PixelProjection(width, attention=attention, embedding=embedding)

    def forward(self, x: Tensor, coordinates: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
        """Returns v~ (B, attention, H, W) and phi (B, embedding, H, W) of a map (B, C, H, W) with coordinates."""
        if self.coordinates:
            x = torch.cat([x, coordinates], dim=1)
        return self.project(x if self.context is None else self.context(x, inside))


class Step(FeatureCacheable, ExportsMaps):
    """Segments the object that an expression refers to, over T = folds x levels steps.

    Each step re-reads the expression by the regions that the previous map P_t shows, computes a heatmap Q_t of it in
    the next level of the image, and refines a recurrent map with it. The modules of a level serve all folds. What no
    text changes is computed once per image (`encode_image`); the attention of pixels over words, once per expression
    and level.

    The sides of inputs are multiples of 8, of several sizes in a batch if need be; padding changes nothing. Logits are
    P_T before its sigmoid, at `state_stride`; the probability is resized to the image, as in the paper.

    Maps of an output, in evaluation mode only, for each of the T steps: "heatmaps" Q_t and "masks" P_t
    (B, T, H/state_stride, W/state_stride), "word_attention" (B, T, L), the weights of the words in s_t, and "levels"
    (B, T), from 1 to 5.
    """

    explanation_kind = "steps"
    varying_sides = 8

    def __init__(
        self,
        *,
        preprocess: Preprocess,
        visual: nn.Module,
        text: nn.Module,
        levels: Mapping[int, StepLevel],
        text_vector: TextVector,
        text_embedding: TextEmbedding,
        refinement: ConvGRU | ConvRNN | RunningMean,
        folds: int,
        descending: bool = False,
        reweighted_text: bool = True,
        state_stride: int = 4,
        whole_input: bool = True,
        unit_coordinates: bool = False,
        central_start: bool = False,
        loss_pixels: Literal["all", "image"] = "all",
        upsampled: Literal["probability", "logits"] = "probability",
    ) -> None:
        """Composes the model.

        Args:
            preprocess: Prepares images, expressions and masks.
            visual: The backbone.
            text: The text encoder.
            levels: By the number of the map they process, in rising order.
            text_vector: Attends to words by regions.
            text_embedding: Embeds the attended text.
            refinement: Reads the heatmap and, if it has three inputs, the centre coordinates.
            folds: How often the levels are gone through.
            descending: Whether the levels are gone through in falling order.
            reweighted_text: Whether regions are weighted by the previous map.
            state_stride: Input pixels per cell of the recurrent map.
            whole_input: Whether coordinates run over the whole input, padding included, instead of over each image.
            unit_coordinates: Whether coordinates run from 0 to 1, instead of from -1.
            central_start: Whether P_0 is highest in the centre, instead of constant.
            loss_pixels: Over which pixels the loss is averaged: all of the input, or those of the image.
            upsampled: What the loss resizes to the input's size: the probability P_T, or its logits.
        """
        super().__init__()
        self.preprocess = preprocess
        self.visual = visual
        self.text = text
        self.numbers = tuple(levels)
        self.levels = nn.ModuleDict({str(number): level for number, level in levels.items()})
        self.text_vector = text_vector
        self.text_embedding = text_embedding
        self.refinement = refinement
        order = range(len(self.numbers))
        self.course = tuple(reversed(order) if descending else order) * folds
        self.reweighted_text = reweighted_text
        self.state_stride = state_stride
        self.whole_input = whole_input
        self.unit_coordinates = unit_coordinates
        self.central_start = central_start
        self.loss_pixels = loss_pixels
        self.upsampled = upsampled

    def after_backbone(self, features: VisualFeatures) -> VisualFeatures:
        """Returns two maps per level, v~ and phi, at strides 4, 4, 8, 8, 8, of the backbone's features."""
        padding = features.padding
        maps: list[Tensor] = []
        strides: list[int] = []
        for number in self.numbers:
            x, stride = features.maps[number - 1], features.strides[number - 1]
            inside = image_mask_at(padding, *x.shape[-2:])
            maps.extend(self.levels[str(number)](x, self._coordinates(padding, stride), inside))
            strides.extend((stride, stride))
        return VisualFeatures(maps=tuple(maps), strides=tuple(strides), padding=padding)

    def encode_text(self, words: Tensor, word_mask: Tensor) -> TextFeatures:
        """Encodes word ids (B, L) with mask (B, L) to states (B, L, D)."""
        return self.text(words, word_mask)

    def decode(self, visual: VisualFeatures, text: TextFeatures) -> Output:
        """Segments N images by N expressions, row by row, over T steps."""
        padding = visual.padding
        size = (padding.shape[1] // self.state_stride, padding.shape[2] // self.state_stride)
        inside = image_mask_at(padding, *size)  # (B, 1, h, w)
        pixels, embedded = visual.maps[0::2], visual.maps[1::2]
        level_inside = [image_mask_at(padding, *array.shape[-2:])[:, 0] for array in pixels]
        attention = [self.text_vector.attention(array, text.words, text.mask) for array in pixels]
        probability = self._first_map(padding)
        xy = self._coordinates(padding, self.state_stride)[:, 4:6] if self.refinement.inputs > 1 else None
        state = None
        shown: list[tuple[Tensor, Tensor, Tensor]] = []
        for step, level in enumerate(self.course):
            regions = region_weights(
                resize_within(probability, inside[:, 0], size=_size(pixels[level])), level_inside[level]
            )
            sentence, word_weights = self.text_vector(attention[level], regions, text.words)
            found = heatmap(embedded[level], self.text_embedding(sentence))
            found = resize_within(found, level_inside[level], size=size)[:, None] * inside
            x = found if xy is None else torch.cat([found, xy * inside], dim=1)
            if state is None:
                state = self.refinement.initial_state(x, inside=inside)
            state = self.refinement(x, state, step=step, inside=inside)
            logits = self.refinement.logits(state)
            if self.reweighted_text:
                probability = logits.sigmoid()
            if not self.training:
                shown.append((found[:, 0], logits.sigmoid(), word_weights))
        return Output(logits=logits, maps=self._maps(shown))

    def explain(self, frames: Sequence[Prediction]) -> Steps:
        """Returns what there is to show of a prediction that was made."""
        return explain_steps(frames[0], self.preprocess)

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns "mask": the mean cross-entropy of P_T over pixels, at the input's size."""
        if batch.targets is None:
            raise ValueError("expected a batch with targets")
        whole = self.loss_pixels == "all"
        probabilities = self.upsampled == "probability"
        x = output.logits.float().sigmoid() if probabilities else output.logits.float()
        inside = image_mask_at(batch.row_padding, *x.shape[-2:])[:, 0]
        if whole:
            inside = torch.ones_like(inside)
        x = resize_within(x, inside, size=_size(batch.targets))
        padding = None if whole else batch.row_padding
        return {"mask": mean_cross_entropy(x, batch.targets, padding, probabilities=probabilities)}

    def _first_map(self, padding: Tensor) -> Tensor:
        """Returns P_0 (B, H/state_stride, W/state_stride) of padding (B, H, W)."""
        if self.central_start and self.reweighted_text:
            x, y = self._coordinates(padding, self.state_stride, unit=False)[:, 4:6].unbind(1)
            return torch.exp(-2 * (x**2 + y**2))
        size = (padding.shape[1] // self.state_stride, padding.shape[2] // self.state_stride)
        # Any constant will do: softmax turns it into uniform weights.
        return torch.zeros((padding.shape[0], *size), device=padding.device)

    def _coordinates(self, padding: Tensor, stride: int, *, unit: bool | None = None) -> Tensor:
        """Returns coordinates (B, 8, H/stride, W/stride) of padding (B, H, W)."""
        height, width = padding.shape[1] // stride, padding.shape[2] // stride
        if self.whole_input:
            rows = torch.full((padding.shape[0],), float(height), device=padding.device)
            columns = torch.full((padding.shape[0],), float(width), device=padding.device)
        else:
            rows = torch.ceil((~padding).any(dim=2).sum(dim=1) / stride)
            columns = torch.ceil((~padding).any(dim=1).sum(dim=1) / stride)
        unit = self.unit_coordinates if unit is None else unit
        return spatial_coordinates(height, width, rows=rows, columns=columns, unit=unit)

    def _maps(self, shown: list[tuple[Tensor, Tensor, Tensor]]) -> dict[str, Tensor]:
        if not shown:
            return {}
        heatmaps, masks, words = (torch.stack(one, dim=1) for one in zip(*shown, strict=True))
        levels = torch.tensor([float(self.numbers[level]) for level in self.course], device=words.device)
        return {
            "heatmaps": heatmaps,
            "masks": masks,
            "word_attention": words,
            "levels": levels.expand(words.shape[0], -1),
        }


def _size(x: Tensor) -> tuple[int, int]:
    return int(x.shape[-2]), int(x.shape[-1])
