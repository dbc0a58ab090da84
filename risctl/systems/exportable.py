"""Defines systems that can leave torch, as two graphs: one encodes images, the other asks them many expressions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from risctl.core.encoders.base import VisualFeatures
from risctl.systems.base import Output, System


@dataclass(frozen=True, slots=True, kw_only=True)
class Graphs:
    """The two halves of a system, as modules of nothing but tensors.

    Attributes:
        encode: Maps images (B, 3, H, W) and padding (B, H, W) to a tuple of tensors (B, …).
        answer: Maps these, padding (B, H, W), the image of each expression (N,), token ids (N, L) and their mask (N, L)
            to logits (N, h, w) and, where the system has them, scores (N,).
        features: A name for each tensor of `encode`.
        multiple: What the sides of inputs are multiples of, where they vary; None: all inputs have one size.
    """

    encode: nn.Module
    answer: nn.Module
    features: tuple[str, ...]
    multiple: int | None = None


@runtime_checkable
class Exportable(Protocol):
    """Can be exported. What it computes must then depend on no value of a tensor, only on its shape."""

    def graphs(self, images: Tensor, padding: Tensor) -> Graphs:
        """Returns the system's halves.

        Args:
            images: (B, 3, H, W), an example.
            padding: Bool (B, H, W), the example's.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipGraphs:
    """The two halves of a system of videos, as modules of nothing but tensors.

    Attributes:
        encode: Maps the frames of a clip (T, 3, H, W) and their padding (1, H, W) to a tuple of maps (T, C, h, w).
        answer: Maps these, the padding (1, H, W), token ids (N, L) and their mask (N, L) to logits (N, T, Q, h, w),
            scores (N, T, Q) and boxes (N, T, Q, 4), cx cy w h, of Q queries.
        channels: The channels of each map, by its name, in their order.
        queries: The number Q of queries.
        most_frames: Frames that the graphs take at once, at most.
        most_tokens: Tokens of an expression, at most.
        least_side: Pixels that each side of an input has at least.
        frames_apart: Whether each frame is encoded and answered by itself.
    """

    encode: nn.Module
    answer: nn.Module
    channels: Mapping[str, int]
    queries: int
    most_frames: int
    most_tokens: int
    least_side: int
    frames_apart: bool

    @property
    def features(self) -> tuple[str, ...]:
        """A name for each map."""
        return tuple(self.channels)


@runtime_checkable
class ExportableClips(Protocol):
    """Can be exported as graphs of clips, whose frames are encoded once and asked many expressions."""

    def clip_graphs(self) -> ClipGraphs:
        """Returns the system's halves."""


class ExportsMaps:
    """Makes a system `Exportable` whose features are plain maps."""

    varying_sides: int | None = None
    """What the sides of inputs are multiples of, where they vary; None: all inputs have one size."""

    def graphs(self, images: Tensor, padding: Tensor) -> Graphs:
        """Returns the system's halves. See `Exportable.graphs`."""
        assert isinstance(self, System)
        with torch.no_grad():
            strides = self.encode_image(images[:1], padding[:1]).strides
        return Graphs(
            encode=_MapEncoder(self),
            answer=_MapAnswers(self, strides),
            features=tuple(f"map_{number}" for number in range(len(strides))),
            multiple=self.varying_sides,
        )


class _MapEncoder(nn.Module):
    def __init__(self, system: System) -> None:
        super().__init__()
        self.system = system

    def forward(self, images: Tensor, padding: Tensor) -> tuple[Tensor, ...]:
        return self.system.encode_image(images, padding).maps


class _MapAnswers(nn.Module):
    def __init__(self, system: System, strides: Sequence[int]) -> None:
        super().__init__()
        self.system = system
        self.strides = tuple(strides)

    def forward(
        self, features: Sequence[Tensor], padding: Tensor, image_of: Tensor, words: Tensor, word_mask: Tensor
    ) -> tuple[Tensor, ...]:
        visual = VisualFeatures(
            maps=tuple(feature_map[image_of] for feature_map in features),
            strides=self.strides,
            padding=padding[image_of],
        )
        return answers(self.system.decode(visual, self.system.encode_text(words, word_mask)))


def answers(output: Output) -> tuple[Tensor, ...]:
    """Returns what the second graph gives of an output: logits, and scores where there are any."""
    return (output.logits,) if output.scores is None else (output.logits, output.scores)
