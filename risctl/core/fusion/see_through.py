"""STEP's see-through heatmaps: which words a region reads, what the text then says, and where that is in the picture.

Chen et al., "See-Through-Text Grouping for Referring Image Segmentation" (ICCV 2019), as spec step.md prints it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from risctl.core.blocks import dense


class AtrousContext(nn.Module):
    """A 3x3 atrous convolution over a map and the coordinates of its cells, and ReLU if `rectified`."""

    def __init__(self, inputs: int, outputs: int, *, rate: int = 3, rectified: bool = True) -> None:
        super().__init__()
        self.rectified = rectified
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=rate, dilation=rate)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, inside: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H, W); inside (B, 1, H, W) is 1 in the picture, where alone x counts."""
        found = self.conv(x * inside)
        return found.relu() if self.rectified else found


class PixelProjection(nn.Module):
    """What a level's pixels are compared by: `attend` with words (v~), `embed` with the text vector (phi)."""

    def __init__(self, channels: int, *, attention: int = 400, embedding: int = 1000) -> None:
        super().__init__()
        self.attend = _point(channels, attention)
        self.embed = _point(channels, embedding)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return v~ (B, attention, H, W) and phi = L2norm(tanh(W_v v + b_v)) (B, embedding, H, W) of (B, C, H, W)."""
        return self.attend(x), functional.normalize(self.embed(x).tanh(), dim=1)


class TextEmbedding(nn.Module):
    """The text vector in the co-embedding: psi(s) = L2norm(tanh(W_s s + b_s))."""

    def __init__(self, words: int, embedding: int = 1000) -> None:
        super().__init__()
        self.project = dense(words, embedding)

    def forward(self, sentence: Tensor) -> Tensor:
        """Map (B, D) to (B, embedding)."""
        return functional.normalize(self.project(sentence).tanh(), dim=1)


class TextVector(nn.Module):
    """The text as the regions read it: s = sum_i r_i sum_j softmax_j(<v~_i, h~_j>) h_j.

    The inner sum does not change from step to step, so its weights are found once a level, by one batched product.
    """

    def __init__(self, words: int, attention: int = 400) -> None:
        super().__init__()
        # The bias moves a pixel's score of every word alike, which the softmax does not see; the paper prints it.
        self.project = dense(words, attention)

    def attention(self, pixels: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """Return which words each pixel reads, (B, L, H W), its sum over L one; words that are padding get nothing.

        pixels: v~ (B, A, H, W); words: the states h (B, L, D); mask: (B, L), True where a word is.
        """
        scores = self.project(words) @ pixels.flatten(2)  # (B, L, H W)
        return scores.masked_fill(~mask[..., None], float("-inf")).softmax(dim=1)

    def forward(self, attention: Tensor, regions: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """Return s (B, D) and the weight of each word in it (B, L).

        attention: (B, L, H W); regions: the weights r (B, H W); words: (B, L, D).
        """
        weights = attention @ regions[..., None]  # (B, L, 1)
        return (weights * words).sum(dim=1), weights[..., 0]


def region_weights(probability: Tensor, inside: Tensor) -> Tensor:
    """Return the weights (B, H W) of the positions: softmax of the probabilities (B, H, W) themselves.

    inside (B, H, W), 1 in the picture: positions without a picture get nothing. Equal probabilities weigh all alike.
    """
    return probability.masked_fill(inside == 0, float("-inf")).flatten(1).softmax(dim=1)


def heatmap(pixels: Tensor, text: Tensor) -> Tensor:
    """Return Q = max(0, <phi, psi>), (B, H, W), of phi (B, E, H, W) and psi (B, E)."""
    return (text[:, None, :] @ pixels.flatten(2)).view(-1, *pixels.shape[2:]).relu()


def _point(inputs: int, outputs: int) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, 1)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def resize_within(x: Tensor, inside: Tensor, *, size: tuple[int, int]) -> Tensor:
    """Return x (B, H, W) at `size`, bilinear, from the picture's cells alone (inside (B, H, W), 1 in the picture).

    At the picture's border it does what an interpolation of that picture alone does: the outermost cell goes on.
    """
    if x.shape[-2:] == size:
        return x
    both = torch.stack([x * inside, inside.to(x.dtype)], dim=1)
    resized = functional.interpolate(both, size=size, mode="bilinear", align_corners=False)
    return resized[:, 0] / resized[:, 1].clamp(min=1e-6)
