"""STEP's see-through heatmaps: word attention per region, the text vector that follows from it, and its heatmap.

Chen et al., "See-Through-Text Grouping for Referring Image Segmentation" (ICCV 2019).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from risctl.core.blocks import dense


class AtrousContext(nn.Module):
    """A 3x3 atrous convolution over a map and the coordinates of its cells, with an optional ReLU."""

    def __init__(self, inputs: int, outputs: int, *, rate: int = 3, rectified: bool = True) -> None:
        super().__init__()
        self.rectified = rectified
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=rate, dilation=rate)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, inside: Tensor) -> Tensor:
        """Convolves the image's part of a map.

        Args:
            x: (B, C, H, W).
            inside: (B, 1, H, W), 1 inside the image and 0 in the padding.

        Returns:
            (B, C', H, W).
        """
        context = self.conv(x * inside)
        return context.relu() if self.rectified else context


class PixelProjection(nn.Module):
    """Projections of a level's pixels: `attend` for attention to words (v~), `embed` into the co-embedding (phi)."""

    def __init__(self, channels: int, *, attention: int | None = 400, embedding: int = 1000) -> None:
        """Builds it; without `attention`, v~ is phi, for a text vector that does not read it."""
        super().__init__()
        self.attend = None if attention is None else _point(channels, attention)
        self.embed = _point(channels, embedding)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Projects (B, C, H, W).

        Returns:
            v~ (B, attention, H, W) and phi = L2norm(tanh(W_v v + b_v)) (B, embedding, H, W).
        """
        embedded = functional.normalize(self.embed(x).tanh(), dim=1)
        return embedded if self.attend is None else self.attend(x), embedded


class TextEmbedding(nn.Module):
    """Projects a text vector into the co-embedding: psi(s) = L2norm(tanh(W_s s + b_s))."""

    def __init__(self, words: int, embedding: int = 1000) -> None:
        super().__init__()
        self.project = dense(words, embedding)

    def forward(self, sentence: Tensor) -> Tensor:
        """Maps (B, D) to (B, embedding)."""
        return functional.normalize(self.project(sentence).tanh(), dim=1)


class TextVector(nn.Module):
    """The text vector given region weights: s = sum_i r_i sum_j softmax_j(<v~_i, h~_j>) h_j.

    The inner sum is the same at every step, so that its weights are computed once per level, in one batched product.
    """

    def __init__(self, words: int, attention: int = 400) -> None:
        super().__init__()
        # The bias moves a pixel's score of every word alike, which the softmax does not see; the paper prints it.
        self.project = dense(words, attention)

    def attention(self, pixels: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """Returns the attention of each pixel over the words, (B, L, H W), which sums to 1 over L; padding gets zero.

        Args:
            pixels: v~ (B, A, H, W).
            words: Hidden states h (B, L, D).
            mask: (B, L), True where a word is.
        """
        scores = self.project(words) @ pixels.flatten(2)  # (B, L, H W)
        return scores.masked_fill(~mask[..., None], float("-inf")).softmax(dim=1)

    def forward(self, attention: Tensor, regions: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """Computes the text vector.

        Args:
            attention: (B, L, H W), from `attention`.
            regions: The weights r (B, H W).
            words: Hidden states h (B, L, D).

        Returns:
            s (B, D) and the weight of each word in it (B, L).
        """
        weights = attention @ regions[..., None]  # (B, L, 1)
        return (weights * words).sum(dim=1), weights[..., 0]


class MeanTextVector(TextVector):
    """The mean of the hidden states: the text vector without attention, an ablation of the paper."""

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def attention(self, pixels: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """Returns the same weight for every word, (B, L, H W), which sums to 1 over L."""
        share = mask.to(words.dtype) / mask.sum(dim=1, keepdim=True).clamp(min=1)
        return share[..., None].expand(-1, -1, pixels.shape[2] * pixels.shape[3])


def region_weights(probability: Tensor, inside: Tensor) -> Tensor:
    """Returns the weights r (B, H W) of positions: the softmax of the probabilities themselves, zero in the padding.

    Args:
        probability: (B, H, W).
        inside: (B, H, W), 1 inside the image and 0 in the padding.
    """
    return probability.masked_fill(inside == 0, float("-inf")).flatten(1).softmax(dim=1)


def heatmap(pixels: Tensor, text: Tensor) -> Tensor:
    """Returns the heatmap Q = max(0, <phi, psi>), (B, H, W).

    Args:
        pixels: phi (B, E, H, W).
        text: psi (B, E).
    """
    return (text[:, None, :] @ pixels.flatten(2)).view(-1, *pixels.shape[2:]).relu()


def _point(inputs: int, outputs: int) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, 1)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def resize_within(x: Tensor, inside: Tensor, *, size: tuple[int, int]) -> Tensor:
    """Resizes maps bilinearly from the cells inside the image only.

    At the image's border this equals interpolation of the image alone, with its outermost cells repeated.

    Args:
        x: (B, H, W).
        inside: (B, H, W), 1 inside the image and 0 in the padding.
        size: Height and width of the result.
    """
    if x.shape[-2:] == size:
        return x
    both = torch.stack([x * inside, inside.to(x.dtype)], dim=1)
    resized = functional.interpolate(both, size=size, mode="bilinear", align_corners=False)
    return resized[:, 0] / resized[:, 1].clamp(min=1e-6)
