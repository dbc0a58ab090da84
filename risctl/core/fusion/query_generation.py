"""VLT's query generation: each query is one reading of the phrase in the light of the picture."""

from __future__ import annotations

from torch import Tensor, nn

from risctl.core.blocks import ConvBlock, dense
from risctl.core.fusion.attention import MultiHeadAttention
from risctl.core.fusion.position import sinusoid, with_coordinates

COORDINATES = 6


class VisualQueries(nn.Module):
    """A map to `queries` vectors: coordinates, three 3x3 blocks, one channel a query, a linear layer over the cells."""

    def __init__(
        self, inputs: int, *, cells: int, queries: int = 16, hidden: int = 256, norm_momentum: float = 0.01
    ) -> None:
        """Build it for maps (B, inputs, H, W) with H W = `cells`."""
        super().__init__()
        width = inputs + COORDINATES
        self.blocks = nn.Sequential(*(ConvBlock(width, width, kernel=3, norm_momentum=norm_momentum) for _ in range(3)))
        self.reduce = nn.Conv2d(width, queries, 1)
        nn.init.xavier_uniform_(self.reduce.weight)
        nn.init.zeros_(self.reduce.bias)  # type: ignore[arg-type]
        self.project = dense(cells, hidden)

    def forward(self, located: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, Q, hidden)."""
        return self.project(self.reduce(self.blocks(with_coordinates(located))).flatten(2)).relu()


class QueryGeneration(nn.Module):
    """The reference's form: visual queries and words, a sinusoid on each, attention, and the visual queries added.

    The queries that are added are those before the sinusoid.
    """

    def __init__(self, *, visual: VisualQueries, words: int, hidden: int = 256, heads: int = 8) -> None:
        """Build it on `visual` for words (B, L, words)."""
        super().__init__()
        self.visual = visual
        self.words = dense(words, hidden)
        self.query, self.key, self.value = (dense(hidden, hidden) for _ in range(3))
        self.attention = MultiHeadAttention(hidden, heads=heads, projected_relu=True)

    def forward(self, located: Tensor, words: Tensor, *, need_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """Return queries (B, Q, hidden) of a map (B, C, H, W) and words (B, L, D), and their weights (B, Q, L)."""
        visual = self.visual(located)
        text = self.words(words).relu()
        asked = visual + sinusoid(visual.shape[1], visual.shape[2], like=visual)
        text = text + sinusoid(text.shape[1], text.shape[2], like=text)
        out, weights = self.attention(
            self.query(asked).relu(), self.key(text).relu(), self.value(text).relu(), need_weights=need_weights
        )
        return out + visual, weights


class PlainQueryGeneration(nn.Module):
    """The paper's form (ICCV 2021): one attention, and the product of its weights with projected words.

    a_ni = softmax_i(relu(f_n W_v) · relu(t_i W_a)); q_n = Σ_i a_ni relu(t_i W_t). One head, no
    sinusoids, no residual; the projections carry the paper's activation.
    """

    def __init__(self, *, visual: VisualQueries, words: int, hidden: int = 256) -> None:
        """Build it on `visual` for words (B, L, words)."""
        super().__init__()
        self.visual = visual
        self.query, self.key, self.value = dense(hidden, hidden), dense(words, hidden), dense(words, hidden)

    def forward(self, located: Tensor, words: Tensor, *, need_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """Return queries (B, Q, hidden) of a map (B, C, H, W) and words (B, L, D), and their weights (B, Q, L)."""
        query = self.query(self.visual(located)).relu()
        weights = (query @ self.key(words).relu().transpose(1, 2)).softmax(dim=2)
        return weights @ self.value(words).relu(), weights if need_weights else None
