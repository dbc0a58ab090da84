"""The semantic mask head of ZSI (Zheng et al., CVPR 2021): compares pixels with word vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from risctl.core.fusion.background_sync import similarity_to_seen

POOLED = 14
_DEPTH = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SemanticMasks:
    """Outputs of the head for N regions.

    Attributes:
        shared: (N, C, 28, 28) features that the encoder reads.
        meaning: (N, D, 28, 28) vectors in the space of words.
        restored: (N, C, 28, 28) the decoder's reconstruction of `shared`; without a decoder `shared` itself.
    """

    shared: Tensor
    meaning: Tensor
    restored: Tensor

    def of_seen(self, seen: Tensor) -> Tensor:
        """Returns logits (N, K + 1, 28, 28) of the seen classes, by their vectors (K + 1, D)."""
        return functional.conv2d(self.meaning, seen[..., None, None])

    def of_classes(self, seen: Tensor, targets: Tensor) -> Tensor:
        """Returns logits (N, U + 1, 28, 28) of target classes.

        Args:
            seen: Vectors of the seen classes (K + 1, D), background first.
            targets: Vectors of the target classes (U + 1, D), background first.
        """
        return functional.conv2d(self.of_seen(seen), similarity_to_seen(seen, targets).T[..., None, None])


class SemanticMaskHead(nn.Module):
    """Four convolutions, upsampling, and the encoder E with its decoder D."""

    def __init__(
        self,
        channels: int,
        *,
        dim: int,
        tower: Literal["paper", "reference"] = "paper",
        kernel: Literal[1, 3] = 1,
        decoder: bool = True,
    ) -> None:
        """Builds the head.

        Args:
            channels: Channels of the pooled features.
            dim: Dimension D of the word vectors.
            tower: "paper" applies the four convolutions in sequence; "reference" only the last one, as a loop of the
                published code does (the other three never train).
            kernel: Kernel size of encoder and decoder: 1 in the paper, 3 in the published code.
            decoder: Whether there is a decoder D.
        """
        super().__init__()
        self.tower = tower
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(_DEPTH))
        self.up = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.to_words = nn.Conv2d(channels, dim, kernel, padding=kernel // 2)
        self.encode = nn.Conv2d(dim, dim, kernel, padding=kernel // 2)
        self.decode = nn.Conv2d(dim, dim, kernel, padding=kernel // 2) if decoder else None
        self.from_words = nn.Conv2d(dim, channels, kernel, padding=kernel // 2) if decoder else None
        for layer in (*self.convs, self.up, self.to_words, self.encode, self.decode, self.from_words):
            if layer is None:
                continue
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        if tower == "reference":
            for layer in self.convs[:-1]:
                layer.requires_grad_(False)

    def forward(self, features: Tensor) -> SemanticMasks:
        """Computes masks of pooled features (N, C, 14, 14)."""
        x = features
        for layer in self.convs if self.tower == "paper" else self.convs[-1:]:
            x = layer(x).relu()
        shared = self.up(x).relu()
        meaning = self.encode(self.to_words(shared).relu())
        restored = shared
        if self.decode is not None and self.from_words is not None:
            restored = self.from_words(self.decode(meaning)).relu()
        return SemanticMasks(shared=shared, meaning=meaning, restored=restored)
