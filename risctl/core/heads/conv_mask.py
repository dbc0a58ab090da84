"""VLT's mask head: the queries' maps to mask logits at half the input's size."""

from __future__ import annotations

from torch import Tensor, nn

from risctl.core.blocks import ConvBlock, UpsampleBlock, dense


class ConvMaskHead(nn.Module):
    """Each query becomes a channel of a map at stride 16; three blocks, three times (up, block), a convolution.

    All convolutions are 3x3.
    """

    def __init__(
        self,
        channels: int = 256,
        *,
        queries: int = 16,
        grid: tuple[int, int] = (26, 26),
        width: int = 256,
        norm_momentum: float = 0.01,
    ) -> None:
        """Build it for `queries` queries of `channels` and maps of `grid` (rows, columns), `width` channels inside."""
        super().__init__()
        self.grid = grid
        self.project = dense(channels, grid[0] * grid[1])

        def block(inputs: int) -> ConvBlock:
            return ConvBlock(inputs, width, kernel=3, norm_momentum=norm_momentum)

        self.blocks = nn.Sequential(block(queries), block(width), block(width))
        self.ups = nn.Sequential(*(UpsampleBlock(width, width, norm_momentum=norm_momentum) for _ in range(3)))
        self.out = nn.Conv2d(width, 1, 3, padding=1)
        nn.init.xavier_uniform_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, answers: Tensor) -> Tensor:
        """Map (B, Q, C) to logits (B, 8 rows, 8 columns)."""
        x = self.blocks(self.project(answers).relu().unflatten(2, self.grid))
        return self.out(self.ups(x))[:, 0]
