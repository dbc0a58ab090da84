"""ReferFormer's pixel decoder: a feature pyramid whose every stage attends to the words (Wu et al., CVPR 2022)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from risctl.core.encoders.base import TextFeatures
from risctl.core.fusion.cross_modal import CrossModalBlock

REDUCTIONS = (8, 4, 2, 1)
"""Reduction of self-attention's grid at strides 4, 8, 16 and 32."""


class NormedConv(nn.Module):
    """A convolution without bias, followed by group norm with 8 groups."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.GroupNorm(8, outputs)
        _c2_xavier(self.conv)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, inputs, h, w) to (N, outputs, h, w)."""
        return self.norm(self.conv(x))


class FPNStage(nn.Module):
    """One stage of the pyramid: a lateral convolution, fusion with the words, sum with the coarser stage, smoothing."""

    def __init__(
        self,
        inputs: int,
        channels: int,
        *,
        heads: int,
        feed_forward: int,
        dropout: float,
        reduction: int,
        cross_modal: bool = True,
    ) -> None:
        super().__init__()
        self.adapter = NormedConv(inputs, channels, kernel=1)
        self.block: CrossModalBlock | None = None
        if cross_modal:
            self.block = CrossModalBlock(
                channels, heads=heads, feed_forward=feed_forward, dropout=dropout, reduction=reduction
            )
            for parameter in self.block.parameters():
                if parameter.ndim > 1:
                    nn.init.xavier_uniform_(parameter)
        self.smooth = NormedConv(channels, channels, kernel=3)

    def forward(
        self, clip: Tensor, position: Tensor, padding: Tensor, text: TextFeatures, coarser: Tensor | None
    ) -> Tensor:
        """Computes the stage's output.

        Args:
            clip: The backbone's map (B, T, inputs, h, w).
            position: Position encoding of a frame, (B, channels, h, w).
            padding: (B, h, w), True outside the image.
            text: The words' features.
            coarser: Output of the stage before, (B * T, channels, h', w'); None for the coarsest.

        Returns:
            (B * T, channels, h, w).
        """
        mixed = self.adapter(clip.flatten(0, 1))
        if self.block is not None:
            narrowed = mixed.unflatten(0, tuple(clip.shape[:2]))
            mixed = self.block(narrowed, position, padding, text).flatten(0, 1)
        if coarser is not None:
            mixed = mixed + functional.interpolate(coarser, size=mixed.shape[-2:], mode="nearest")
        return self.smooth(mixed).relu()


class CrossModalFPN(nn.Module):
    """Maps features at strides 4, 8, 16 and 32 to mask features at stride 4."""

    def __init__(
        self,
        finest: int,
        channels: int,
        *,
        heads: int = 8,
        feed_forward: int = 2048,
        dropout: float = 0.1,
        mask_channels: int = 256,
        cross_modal: bool = True,
    ) -> None:
        """Builds the pyramid.

        Args:
            finest: Channels of the map at stride 4.
            channels: Channels of the maps at the coarser strides, and of the pyramid.
            heads: Attention heads.
            feed_forward: Width of the feed-forward networks.
            dropout: Dropout probability.
            mask_channels: Channels of the mask features.
            cross_modal: Whether stages attend to the words; without, it is a plain feature pyramid.
        """
        super().__init__()
        self.stages = nn.ModuleList(
            FPNStage(
                inputs,
                channels,
                heads=heads,
                feed_forward=feed_forward,
                dropout=dropout,
                reduction=reduction,
                cross_modal=cross_modal,
            )
            for inputs, reduction in zip((finest, channels, channels, channels), REDUCTIONS, strict=True)
        )
        self.out = nn.Conv2d(channels, mask_channels, 3, padding=1)
        _c2_xavier(self.out)

    def forward(
        self, clips: Sequence[Tensor], positions: Sequence[Tensor], paddings: Sequence[Tensor], text: TextFeatures
    ) -> Tensor:
        """Computes mask features.

        Args:
            clips: Maps (B, T, C_i, h_i, w_i), finest first.
            positions: Their position encodings (B, C, h_i, w_i).
            paddings: Their padding (B, h_i, w_i), True outside the image.
            text: The words' features.

        Returns:
            (B, T, mask_channels, H / 4, W / 4).
        """
        return self.out(self.mix(clips, positions, paddings, text)).unflatten(0, tuple(clips[0].shape[:2]))

    def mix(
        self, clips: Sequence[Tensor], positions: Sequence[Tensor], paddings: Sequence[Tensor], text: TextFeatures
    ) -> Tensor:
        """Returns the pyramid's finest map before the output convolution, (B * T, C, H / 4, W / 4). See `forward`."""
        mixed: Tensor | None = None
        for stage, clip, position, padding in zip(
            reversed(self.stages), reversed(clips), reversed(positions), reversed(paddings), strict=True
        ):
            mixed = stage(clip, position, padding, text, mixed)
        assert mixed is not None
        return mixed


def _c2_xavier(conv: nn.Conv2d) -> None:
    """Initialises a convolution as Caffe2's XavierFill does, which Detectron's pyramids use."""
    nn.init.kaiming_uniform_(conv.weight, a=1)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
