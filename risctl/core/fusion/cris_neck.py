"""Fuses three maps with a sentence in one map: CRIS's cross-modal neck (Wang et al., CVPR 2022, section 3.2).

Names and order follow the published code (DerrickWang005/CRIS.pytorch, e596332).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from risctl.core.blocks import conv_norm_relu, upsample_bilinear
from risctl.core.fusion.position import with_coordinates
from risctl.errors import UsageError


class JoinedMaps(nn.Module):
    """A 1x1 convolution over the concatenation of maps, batch norm and ReLU.

    Each map's share of the convolution is a method of its own: it can be computed before the others are known, and at
    the map's own size where the map is upsampled, as a 1x1 convolution and upsampling can change places.
    """

    def __init__(self, inputs: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(sum(inputs), outputs, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.inputs = tuple(inputs)

    def share(self, number: int, x: Tensor) -> Tensor:
        """Returns what map `number` (B, C, H, W) adds to the convolution."""
        start = sum(self.inputs[:number])
        return functional.conv2d(x, self.conv.weight[:, start : start + self.inputs[number]])

    def forward(self, total: Tensor) -> Tensor:
        """Returns the norm and ReLU of the sum of all shares."""
        return functional.relu(self.norm(total))


class CRISNeck(nn.Module):
    """Maps at strides 8, 16 and 32 and a sentence become one map (B, `width`, H/16, W/16).

    `prepare` is the part that reads no text.
    """

    def __init__(self, channels: Sequence[int], *, sentence: int, width: int) -> None:
        """Builds the neck.

        Args:
            channels: Channels of the three maps, finest first.
            sentence: Channels of the sentence.
            width: Channels of the result, 512 as published; the finest map is reduced to half of it, the coarsest has
                twice as many.
        """
        super().__init__()
        fine, middle, coarse = channels
        self.sentence = nn.Linear(sentence, 2 * width, bias=False)
        self.sentence_norm = nn.BatchNorm1d(2 * width)
        self.coarse = conv_norm_relu(coarse, 2 * width)
        self.product_norm = nn.BatchNorm2d(2 * width)
        self.middle = conv_norm_relu(middle, width, kernel=3)
        self.join_middle = JoinedMaps((width, 2 * width), width)
        self.fine = conv_norm_relu(fine, width // 2, kernel=3)
        self.join_fine = JoinedMaps((width // 2, width), width)
        self.refine_coarse = conv_norm_relu(2 * width, width, kernel=3)
        self.refine_middle = conv_norm_relu(width, width, kernel=3)
        self.refine_fine = conv_norm_relu(width, width, kernel=3)
        self.join = JoinedMaps((width, width, width), width)
        self.place = conv_norm_relu(width + 2, width, kernel=3)
        self.out = conv_norm_relu(width, width, kernel=3)

    def prepare(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the text-free part of maps at strides 8, 16 and 32: maps at 16, 16 and 32."""
        fine, middle, coarse = maps
        pooled = functional.avg_pool2d(self.fine(fine), 2)
        return self.join_fine.share(0, pooled), self.join_middle.share(0, self.middle(middle)), self.coarse(coarse)

    def forward(self, prepared: Sequence[Tensor], sentence: Tensor) -> Tensor:
        """Fuses what `prepare` returned with sentences (B, D).

        Raises:
            UsageError: There is a single sentence in training, which a batch norm cannot normalise.
        """
        if self.training and len(sentence) == 1:
            raise UsageError("CRIS norms sentences over the batch: expected data.batch_size of at least 2, got 1")
        fine, middle, coarse = prepared
        gate = functional.relu(self.sentence_norm(self.sentence(sentence)))[:, :, None, None]
        coarse = functional.relu(self.product_norm(coarse * gate))
        middle = self.join_middle(middle + upsample_bilinear(self.join_middle.share(1, coarse)))
        fine = self.join_fine(fine + self.join_fine.share(1, middle))
        joined = self.join.share(0, self.refine_fine(fine)) + self.join.share(1, self.refine_middle(middle))
        joined = joined + upsample_bilinear(self.join.share(2, self.refine_coarse(coarse)))
        return self.out(self.place(with_coordinates(self.join(joined), repeat=1)))
