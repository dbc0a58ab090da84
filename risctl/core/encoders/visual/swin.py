"""Implements Swin (Liu et al., ICCV 2021) and Video Swin (CVPR 2022) as visual encoders.

An image is a clip of one frame, so both are one network over clips: windows of (1, 7, 7) for images (12 for weights of
384 pixels), (8, 7, 7) for clips. They differ in what the published code does at the edges, which `SwinNumbers` names.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import StochasticDepth

from risctl.core.blocks import freeze
from risctl.core.encoders.base import VisualFeatures
from risctl.core.encoders.visual.clip_frames import features_of, normalised
from risctl.core.encoders.visual.swin_names import swin_name
from risctl.core.encoders.visual.windows import (
    Extent,
    cut_windows,
    join_windows,
    missing_frames,
    region_bias,
    relative_index,
    table_rows,
)

PATCH = 4
_CHUNK = 64
"""Windows per attention call where no gradient is kept, so that their biases need little memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwinNumbers:
    """A variant.

    Attributes:
        width: Channels of the first stage.
        depths: Blocks of the four stages.
        heads: Attention heads of the four stages.
        video: Whether windows span 8 frames and shrink with small maps, and maps have no output norms.
    """

    width: int
    depths: tuple[int, int, int, int]
    heads: tuple[int, int, int, int]
    video: bool = False


_SIZES: dict[str, tuple[int, int, tuple[int, int, int, int]]] = {
    "t": (96, 6, (3, 6, 12, 24)),
    "s": (96, 18, (3, 6, 12, 24)),
    "b": (128, 18, (4, 8, 16, 32)),
    "l": (192, 18, (6, 12, 24, 48)),
}
"""Width, blocks of the third stage, heads."""

NUMBERS: dict[str, SwinNumbers] = {
    f"{prefix}swin_{size}": SwinNumbers(width=width, depths=(2, 2, depth, 2), heads=heads, video=bool(prefix))
    for prefix, sizes in (("", "tsbl"), ("video_", "tsb"))
    for size in sizes
    for width, depth, heads in (_SIZES[size],)
}
"""By name: the seven Swin backbones of the published ReferFormer checkpoints."""


class WindowAttention(nn.Module):
    """Multi-head attention within windows, with a learned bias for each relative position."""

    def __init__(self, channels: int, *, heads: int, window: Extent) -> None:
        super().__init__()
        self.heads = heads
        self.table = nn.Parameter(torch.empty(table_rows(window), heads))
        nn.init.trunc_normal_(self.table, std=0.02)
        self.register_buffer("index", relative_index(window), persistent=False)
        self.index: Tensor
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, windows: Tensor, regions: Tensor | None, hidden: Tensor | None = None) -> Tensor:
        """Attends within windows.

        The projections before and after, `qkv` and `out`, are the block's to apply, to the cells that padding does not
        add. Windows smaller than the full size use the first N rows and columns of the index, as published; this is
        correct where only frames are missing.

        Args:
            windows: Queries, keys and values (B, W, N, 3 C).
            regions: (W, N, N), bias that separates the regions of a window.
            hidden: (N,), bias that keeps all cells from seeing those of frames that are not there; None: all are.

        Returns:
            (B, W, N, C), not yet projected.
        """
        batch, count, cells, _ = windows.shape
        bias = self.table[self.index[:cells, :cells].reshape(-1)].view(cells, cells, -1).permute(2, 0, 1)
        bias = bias if hidden is None else bias + hidden
        qkv = windows.view(batch, count, cells, 3, self.heads, -1)
        query, key, value = qkv.permute(3, 0, 1, 4, 2, 5)  # each (B, W, heads, N, D)
        if torch.compiler.is_compiling():
            seen = _fused(query, key, value, bias[None] if regions is None else bias + regions[:, None])
        elif torch.is_grad_enabled():
            mask = bias if regions is None else bias + regions[:, None]
            seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        elif regions is None:
            seen = _fused(query, key, value, bias[None])
        else:
            size = max(1, _CHUNK // batch)
            chunks = [slice(start, start + size) for start in range(0, count, size)]
            seen = torch.cat(
                [_fused(query[:, one], key[:, one], value[:, one], bias + regions[one, None]) for one in chunks], dim=1
            )
        return seen.transpose(2, 3).flatten(3)


def _fused(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Attends within windows, each (B, W, heads, N, D), with a mask (W or 1, heads, N, N) that needs no gradient.

    In this form, of four axes, PyTorch has a fused kernel on every device.
    """
    batch = query.shape[0]
    if mask.shape[0] > 1 and (torch.compiler.is_compiling() or batch > 1):
        mask = mask.expand(batch, *mask.shape).flatten(0, 1)
    seen = functional.scaled_dot_product_attention(
        query.flatten(0, 1), key.flatten(0, 1), value.flatten(0, 1), attn_mask=mask
    )
    return seen.unflatten(0, (batch, -1))


class Block(nn.Module):
    """Window attention, shifted by half a window in every second block, and a feed-forward."""

    def __init__(self, channels: int, *, heads: int, window: Extent, shifted: bool, shrink: bool, drop: float) -> None:
        super().__init__()
        self.window, self.shrink = window, shrink
        self.shift: Extent = (window[0] // 2, window[1] // 2, window[2] // 2) if shifted else (0, 0, 0)
        self.norm1 = nn.LayerNorm(channels)
        self.attention = WindowAttention(channels, heads=heads, window=window)
        self.norm2 = nn.LayerNorm(channels)
        self.first = nn.Linear(channels, 4 * channels)
        self.second = nn.Linear(4 * channels, channels)
        self.drop = StochasticDepth(drop, "row")

    def forward(self, clip: Tensor) -> Tensor:
        """Maps a clip (B, T, H, W, C) to the same shape."""
        extent: Extent = (clip.shape[1], clip.shape[2], clip.shape[3])
        window, shift, hidden = self.window, self.shift, None
        if self.shrink:
            small = [isinstance(size, int) and size <= limit for size, limit in zip(extent, window, strict=True)]
            window = tuple(size if less else side for size, side, less in zip(extent, window, small, strict=True))  # type: ignore[assignment]
            shift = tuple(0 if less else step for step, less in zip(shift, small, strict=True))  # type: ignore[assignment]
        back, below, right = (-size % side for size, side in zip(extent, window, strict=True))
        if self.shrink and torch.compiler.is_compiling():
            # A graph for other engines knows no number of frames; it hides those that a window lacks.
            window, shift = (self.window[0], *window[1:]), (0, *shift[1:])
            back, hidden = window[0] - extent[0], missing_frames(extent[0], window, device=clip.device)
        qkv = self.attention.qkv
        # Of a side that is unknown when a graph is made, so is whether it needs padding.
        if any(not isinstance(side, int) or side for side in (back, below, right)):
            # Padding comes after the norm, as zeros: the bias is all that the layer makes of them.
            projected = functional.linear(self.norm1(clip), qkv.weight)
            padded = functional.pad(projected, (0, 0, 0, right, 0, below, 0, back)) + qkv.bias
        else:
            padded = qkv(self.norm1(clip))
        full: Extent = (padded.shape[1], padded.shape[2], padded.shape[3])
        regions = None
        if any(shift):
            padded = padded.roll([-step for step in shift], dims=(1, 2, 3))
            known = all(isinstance(side, int) for side in full)
            bias_of = region_bias if known else region_bias.__wrapped__
            regions = bias_of(full, window, shift, device=clip.device)
        seen = join_windows(self.attention(cut_windows(padded, window), regions, hidden), window, full)
        if any(shift):
            seen = seen.roll(list(shift), dims=(1, 2, 3))
        seen = self.attention.out(seen[:, : extent[0], : extent[1], : extent[2]])
        clip = clip + self.drop(seen)
        return clip + self.drop(self.second(functional.gelu(self.first(self.norm2(clip)))))


class Merge(nn.Module):
    """Merges each 2x2 cells into one of twice the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, clip: Tensor) -> Tensor:
        """Maps a clip (B, T, H, W, C) to (B, T, H/2, W/2, 2C); odd sides are padded with zeros."""
        height, width = clip.shape[2:4]
        clip = functional.pad(clip, (0, 0, 0, width % 2, 0, height % 2))
        parts = [clip[:, :, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(torch.cat(parts, dim=-1)))


class Swin(nn.Module):
    """Encodes images or clips as maps at strides 4, 8, 16 and 32."""

    strides = (4, 8, 16, 32)
    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        numbers: SwinNumbers,
        *,
        window: int = 7,
        frozen: bool = False,
        drop_path: float = 0.2,
        output_norms: bool = True,
    ) -> None:
        """Builds it with random weights.

        Args:
            numbers: The variant, such as `NUMBERS["swin_t"]`.
            window: Side of a window in cells.
            frozen: Whether no parameter trains.
            drop_path: Stochastic depth of the last block, increasing linearly up to it.
            output_norms: Whether the maps of images are normalised; those of clips never are.
        """
        super().__init__()
        self.video = numbers.video
        extent: Extent = (8 if numbers.video else 1, window, window)
        self.channels = tuple(numbers.width * 2**stage for stage in range(4))
        self.patches = nn.Conv2d(3, numbers.width, PATCH, stride=PATCH)
        self.patch_norm = nn.LayerNorm(numbers.width)
        drops = torch.linspace(0, drop_path, sum(numbers.depths), device="cpu").tolist()
        stages = []
        for stage, (channels, depth) in enumerate(zip(self.channels, numbers.depths, strict=True)):
            first = sum(numbers.depths[:stage])
            stages.append(
                nn.Sequential(
                    *(
                        Block(
                            channels,
                            heads=numbers.heads[stage],
                            window=extent,
                            shifted=number % 2 == 1,
                            shrink=numbers.video,
                            drop=drops[first + number],
                        )
                        for number in range(depth)
                    )
                )
            )
        self.stages = nn.ModuleList(stages)
        self.merges = nn.ModuleList(Merge(channels) for channels in self.channels[:-1])
        self.norms = nn.ModuleList(
            nn.LayerNorm(channels) if output_norms and not numbers.video else nn.Identity()
            for channels in self.channels
        )
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1), persistent=False)
        self.frozen = frozen
        self.train()

    def train(self, mode: bool = True) -> Swin:
        """Sets the training mode; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            freeze(self.children())
        return self

    def forward(self, images: Tensor, padding: Tensor) -> VisualFeatures:
        """Encodes images (B, 3, H, W) or clips (B, T, 3, H, W), RGB in [0, 1], of any size, with padding (B, H, W)."""
        clip = self._clip(images, padding)
        maps = []
        for number in range(len(self.stages)):
            clip = self._stage(clip, number)
            maps.append(self.norms[number](clip).flatten(0, 1).permute(0, 3, 1, 2).contiguous())
        return features_of(maps, images, padding, strides=self.strides)

    def before_stages(self, images: Tensor, padding: Tensor) -> Tensor:
        """Returns the patches (B, H/4, W/4, C) of images (B, 3, H, W), RGB in [0, 1], with padding (B, H, W)."""
        return self._clip(images, padding)[:, 0]

    def run_stage(self, x: Tensor, number: int) -> Tensor:
        """Maps what the stage before `number` gave, (B, H, W, C), to this stage's map, channels last."""
        return self._stage(x[:, None], number)[:, 0]

    def own_names(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns the published weights of a classifier under our names, without its head.

        Tables of relative positions of another window are resized bicubically, as Swin's code does. A classifier has
        no norms of the single maps: they stay as built.
        """
        own = self.state_dict()
        if "patch_embed.proj.weight" not in state:
            return state
        named = {}
        for name, value in state.items():
            if name.startswith(("head.", "norm.")) or name.endswith((".relative_position_index", ".attn_mask")):
                continue
            ours = swin_name(name) or name
            named[ours] = resized_table(value, own[ours]) if ours.endswith(".table") and ours in own else value
        return {name: own[name] for name in own if name.startswith("norms.")} | named

    def _clip(self, images: Tensor, padding: Tensor) -> Tensor:
        """Returns the patches of images or clips, (B, T, H/4, W/4, C)."""
        x = normalised(images, padding, mean=self.mean, deviation=self.deviation)
        frames = images.shape[1] if images.ndim == 5 else 1
        x = x.flatten(0, 1) if images.ndim == 5 else x
        x = functional.pad(x, (0, -x.shape[3] % PATCH, 0, -x.shape[2] % PATCH))
        clip = self.patch_norm(self.patches(x).permute(0, 2, 3, 1))
        return clip.unflatten(0, (-1, frames if self.video else 1))

    def _stage(self, clip: Tensor, number: int) -> Tensor:
        """Merges the cells of the stage before, and runs the blocks of stage `number`."""
        clip = self.merges[number - 1](clip) if number else clip
        stage: Tensor = self.stages[number](clip)
        return stage


def resized_table(table: Tensor, wanted: Tensor) -> Tensor:
    """Returns a table of relative positions ((2 w - 1)^2, heads) at the size of `wanted`, resized bicubically."""
    before, after = math.isqrt(len(table)), math.isqrt(len(wanted))
    if table.ndim != 2 or before == after or before**2 != len(table) or table.shape[1] != wanted.shape[1]:
        return table
    square = table.T.reshape(1, -1, before, before).float()
    resized = functional.interpolate(square, size=(after, after), mode="bicubic", align_corners=False)
    return resized.flatten(2)[0].T
