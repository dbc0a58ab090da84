"""VLT's fusion of image and sentence: a product at stride 32, refined up to stride 16 with finer maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from risctl.core.blocks import ConvBlock, dense, upsample
from risctl.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class FusedMaps:
    """Outputs of the fusion.

    Attributes:
        fused: (B, hidden, H / 16, W / 16), the transformer's input.
        query_features: (B, width, H / 16, W / 16), the input of query generation.
    """

    fused: Tensor
    query_features: Tensor


class VLTPyramid(nn.Module):
    """VLT's fusion in two parts: `prepare` depends on the image alone, `join` adds the sentence.

    A width of 512 is the published one. The coarsest map is projected to 2 * width channels first if it has others
    (Darknet's has 1024 and passes unchanged).
    """

    def __init__(
        self,
        channels: Sequence[int],
        *,
        sentence: int,
        width: int = 512,
        hidden: int = 256,
        norm_momentum: float = 0.01,
    ) -> None:
        """Builds the fusion.

        Args:
            channels: Channels of the maps at strides 8, 16 and 32.
            sentence: Width of the sentence vectors.
            width: Base width of the pyramid.
            hidden: Channels of the fused map.
            norm_momentum: Momentum of the batch norms.
        """
        super().__init__()
        fine, middle, coarse = channels

        def block(inputs: int, outputs: int, kernel: int = 1) -> ConvBlock:
            return ConvBlock(inputs, outputs, kernel=kernel, norm_momentum=norm_momentum)

        self.adapt = nn.Identity() if coarse == 2 * width else block(coarse, 2 * width)
        self.coarse = nn.Sequential(block(2 * width, width), block(width, 2 * width, 3))
        self.middle = block(middle, width)
        self.fine = block(fine, width // 2)
        self.sentence = dense(sentence, 2 * width)
        self.sentence_norm = nn.BatchNorm1d(2 * width, eps=1e-3, momentum=norm_momentum)
        self.product_norm = nn.BatchNorm2d(2 * width, eps=1e-3, momentum=norm_momentum)
        self.join_middle = block(3 * width, width)
        self.join_fine = block(width + width // 2, width)
        self.refine = nn.Sequential(block(width, width // 2), block(width // 2, width, 3))
        self.reduce = block(2 * width, width)
        self.fuse = nn.Sequential(block(3 * width, hidden), block(hidden, hidden))

    def prepare(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Reduces maps at strides 8, 16 and 32, independently of the sentence.

        Returns:
            (B, width / 2, H / 16, W / 16), (B, width, H / 16, W / 16) and (B, 2 * width, H / 32, W / 32).
        """
        fine, middle, coarse = maps
        coarse = self.adapt(coarse)
        return (
            self.fine(functional.avg_pool2d(fine, 2)),
            self.middle(middle),
            coarse + self.coarse(coarse),
        )

    def join(self, maps: Sequence[Tensor], sentence: Tensor) -> FusedMaps:
        """Fuses the output of `prepare` with sentence vectors.

        Args:
            maps: The output of `prepare`.
            sentence: (B, sentence).

        Raises:
            UsageError: If it trains on a batch of one sentence.
        """
        if self.training and sentence.shape[0] < 2:
            raise UsageError("VLT norms sentences over the batch: expected data.batch_size of at least 2, got 1")
        fine, middle, coarse = maps
        words = functional.leaky_relu(self.sentence_norm(self.sentence(sentence)), 0.1)
        product = functional.leaky_relu(self.product_norm(coarse * words[:, :, None, None]), 0.1)
        product = upsample(product)
        first = self.join_middle(torch.cat([product, middle], dim=1))
        second = self.join_fine(torch.cat([first, fine], dim=1))
        tail = self.reduce(torch.cat([self.refine(second), first], dim=1))
        return FusedMaps(fused=self.fuse(torch.cat([product, tail], dim=1)), query_features=second)
