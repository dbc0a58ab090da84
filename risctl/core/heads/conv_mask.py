"""VLT's mask decoder (Ding et al., ICCV 2021): mask logits at half the input's size from the decoded queries."""

from __future__ import annotations

from torch import Tensor, nn

from risctl.core.blocks import ConvBlock, UpsampleBlock, dense


class ConvMaskHead(nn.Module):
    """Turns each query into a channel of a map at stride 16; three 3x3 blocks and three upsampling blocks follow.

    Without queries it reads a map at stride 16.
    """

    def __init__(
        self,
        channels: int = 256,
        *,
        queries: int | None = 16,
        grid: tuple[int, int] = (26, 26),
        width: int = 256,
        norm_momentum: float = 0.01,
    ) -> None:
        """Builds the head.

        Args:
            channels: Width of the queries, or channels of the map.
            queries: Number of queries Q; None: the input is a map.
            grid: Rows and columns of the map at stride 16.
            width: Channels of the blocks.
            norm_momentum: Momentum of the batch norms.
        """
        super().__init__()
        self.grid = grid
        self.project = None if queries is None else dense(channels, grid[0] * grid[1])

        def block(inputs: int) -> ConvBlock:
            return ConvBlock(inputs, width, kernel=3, norm_momentum=norm_momentum)

        self.blocks = nn.Sequential(block(channels if queries is None else queries), block(width), block(width))
        self.ups = nn.Sequential(*(UpsampleBlock(width, width, norm_momentum=norm_momentum) for _ in range(3)))
        self.out = nn.Conv2d(width, 1, 3, padding=1)
        nn.init.xavier_uniform_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, answers: Tensor) -> Tensor:
        """Maps queries (B, Q, C), or a map (B, C, rows, columns), to logits (B, 8 * rows, 8 * columns)."""
        x = answers if self.project is None else self.project(answers).relu().unflatten(2, self.grid)
        return self.out(self.ups(self.blocks(x)))[:, 0]
