"""ReferFormer's two halves as modules of tensors, for export: one encodes clips, the other asks them expressions."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from risctl.core.encoders.base import TextFeatures, VisualFeatures
from risctl.systems.base import System
from risctl.systems.exportable import ClipGraphs

STRIDES = (4, 8, 16, 32, 64)
FEATURES = tuple(f"map_{stride}" for stride in STRIDES)

_MOST_FRAMES = 256
_WINDOW = 8
"""Frames of a window of the video Swins, which is all that a graph takes: farther windows would begin elsewhere."""

_LEAST_SIDE = 65
"""Pixels whose map at stride 64 has two cells: a side of one is another graph."""

_LEAST_SIDE_OF_WINDOWS = 225
"""Pixels whose map at stride 32 has more cells than the video Swins' windows, which shrink with smaller ones."""


def clip_graphs(
    system: System, *, channels: Sequence[int], queries: int, most_tokens: int, apart: bool, windowed: bool
) -> ClipGraphs:
    """Returns the halves of a ReferFormer.

    Args:
        system: The system.
        channels: Channels of its five maps.
        queries: The number of its queries.
        most_tokens: Tokens of an expression, at most.
        apart: Whether it sees each frame alone.
        windowed: Whether its backbone attends within windows of several frames.
    """
    return ClipGraphs(
        encode=ClipEncoder(system, apart=apart),
        answer=ClipAnswers(system, apart=apart),
        channels=dict(zip(FEATURES, channels, strict=True)),
        queries=queries,
        most_frames=_WINDOW if windowed and not apart else _MOST_FRAMES,
        most_tokens=most_tokens,
        least_side=_LEAST_SIDE_OF_WINDOWS if windowed else _LEAST_SIDE,
        frames_apart=apart,
    )


class ClipEncoder(nn.Module):
    """Encodes the frames of a clip, or frames that know nothing of each other; gives `FEATURES`."""

    def __init__(self, system: System, *, apart: bool) -> None:
        """Takes the system, and whether it sees each frame alone."""
        super().__init__()
        self.system = system
        self.apart = apart

    def forward(self, frames: Tensor, padding: Tensor) -> tuple[Tensor, ...]:
        """Encodes frames (T, 3, H, W) with the padding (1, H, W) that they share, to maps (T, C, h, w)."""
        if self.apart:
            return self.system.encode_image(frames, padding.repeat(frames.shape[0], 1, 1)).maps
        return tuple(feature_map[0] for feature_map in self.system.encode_image(frames[None], padding).maps)


class ClipAnswers(nn.Module):
    """Answers expressions about the frames that `ClipEncoder` encoded, by every query."""

    def __init__(self, system: System, *, apart: bool) -> None:
        """Takes the system, and whether it sees each frame alone."""
        super().__init__()
        self.system = system
        self.apart = apart

    def forward(
        self, features: Sequence[Tensor], padding: Tensor, words: Tensor, word_mask: Tensor
    ) -> tuple[Tensor, ...]:
        """Answers expressions (N, L) with mask (N, L) about T frames with padding (1, H, W).

        Returns:
            Logits (N, T, Q, h, w), scores (N, T, Q) in [0, 1] and boxes (N, T, Q, 4), cx cy w h in shares of the image.
        """
        count, frames = words.shape[0], features[0].shape[0]
        text = self.system.encode_text(words, word_mask)
        if self.apart:  # each pair of an expression and a frame is a clip of one frame
            pairs = count * frames
            maps = tuple(one[None].repeat(count, 1, 1, 1, 1).reshape(pairs, 1, *one.shape[1:]) for one in features)
            text = TextFeatures(
                words=_each(text.words, frames), mask=_each(text.mask, frames), sentence=_each(text.sentence, frames)
            )
        else:
            pairs = count
            maps = tuple(one[None].repeat(count, 1, 1, 1, 1) for one in features)
        visual = VisualFeatures(maps=maps, strides=STRIDES, padding=padding.repeat(pairs, 1, 1))
        output = self.system.decode(visual, text)
        logits = output.extras["layers"][-1].masks
        found = (logits, output.maps["query_scores"], output.maps["query_boxes"])
        return tuple(one.reshape(count, frames, *one.shape[2:]) for one in found) if self.apart else found


def _each(values: Tensor, times: int) -> Tensor:
    """Repeats each row of (N, ...) `times` times."""
    return values[:, None].repeat(1, times, *[1] * (values.ndim - 1)).flatten(0, 1)
