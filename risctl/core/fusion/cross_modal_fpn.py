"""ReferFormer's pixel decoder: a feature pyramid whose every stage asks the words."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from risctl.core.encoders.base import TextFeatures
from risctl.core.fusion.cross_modal import CrossModalBlock

REDUCTIONS = (8, 4, 2, 1)
"""How many times coarser the cells look at each other, at strides 4, 8, 16 and 32."""


class NormedConv(nn.Module):
    """A convolution without bias and a group norm of 8 groups."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.GroupNorm(8, outputs)
        _c2_xavier(self.conv)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w) to (N, C', h, w)."""
        return self.norm(self.conv(x))


class Stage(nn.Module):
    """One map into the pyramid: narrowed, asked of the words, added to the coarser ones, smoothed."""

    def __init__(
        self, inputs: int, channels: int, *, heads: int, feed_forward: int, dropout: float, reduction: int
    ) -> None:
        super().__init__()
        self.adapter = NormedConv(inputs, channels, kernel=1)
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
        """Return (B * T, C, h, w) of a clip (B, T, C', h, w) and the stage before, (B * T, C, h', w')."""
        narrowed = self.adapter(clip.flatten(0, 1)).unflatten(0, tuple(clip.shape[:2]))
        mixed = self.block(narrowed, position, padding, text).flatten(0, 1)
        if coarser is not None:
            mixed = mixed + functional.interpolate(coarser, size=mixed.shape[-2:], mode="nearest")
        return self.smooth(mixed).relu()


class CrossModalFPN(nn.Module):
    """Maps at strides 4, 8, 16 and 32 to mask features at stride 4."""

    def __init__(
        self,
        finest: int,
        channels: int,
        *,
        heads: int = 8,
        feed_forward: int = 2048,
        dropout: float = 0.1,
        mask_channels: int = 256,
    ) -> None:
        """Build it for a map of `finest` channels at stride 4 and maps of `channels` at the coarser strides."""
        super().__init__()
        self.stages = nn.ModuleList(
            Stage(
                inputs,
                channels,
                heads=heads,
                feed_forward=feed_forward,
                dropout=dropout,
                reduction=reduction,
            )
            for inputs, reduction in zip((finest, channels, channels, channels), REDUCTIONS, strict=True)
        )
        self.out = nn.Conv2d(channels, mask_channels, 3, padding=1)
        _c2_xavier(self.out)

    def forward(
        self, clips: Sequence[Tensor], positions: Sequence[Tensor], paddings: Sequence[Tensor], text: TextFeatures
    ) -> Tensor:
        """Return (B, T, mask_channels, H/4, W/4) of clips (B, T, C_i, h_i, w_i), finest first."""
        return self.out(self.mix(clips, positions, paddings, text)).unflatten(0, tuple(clips[0].shape[:2]))

    def mix(
        self, clips: Sequence[Tensor], positions: Sequence[Tensor], paddings: Sequence[Tensor], text: TextFeatures
    ) -> Tensor:
        """Return what `out` makes the mask features of, (B * T, C, H/4, W/4)."""
        mixed: Tensor | None = None
        for stage, clip, position, padding in zip(
            reversed(self.stages), reversed(clips), reversed(positions), reversed(paddings), strict=True
        ):
            mixed = stage(clip, position, padding, text, mixed)
        assert mixed is not None
        return mixed


def _c2_xavier(conv: nn.Conv2d) -> None:
    """Fill as Caffe2's XavierFill does, as Detectron's pyramids were."""
    nn.init.kaiming_uniform_(conv.weight, a=1)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
