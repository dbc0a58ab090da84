"""Scores the boxes of an image for an expression: which of them it refers to, if any.

A pre-norm transformer over words and boxes. The token of a box holds its class scores, its position and its rank among
the image's other boxes, counted as people count: "second from the left" is a rank among boxes of one class. Relative
geometry biases the attention between two boxes. Appearance is optional: a box without pixels gets a learned vector.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from risctl.core.encoders.text.hashed_words import HashedWords
from risctl.data.box_grounding.boxes import Boxes

_PROMINENT = 0.045  # fraction of the image from which an object counts as one that people refer to
_AREA_FRACTIONS = (0.005, 0.015, 0.03, 0.045, 0.06, 0.1, 0.2, 0.4)
_PAIR_FEATURES = 14
_FREQUENCIES = (1.0, 2.0, 4.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxScores:
    """Scores of the boxes of B images, one expression per image.

    Attributes:
        scores: (B, N) logits that a box is referred to, -inf where there is no box.
        presence: (B,) logits that the expression refers to any box.
        noun: (B, K) logits of the category that the expression names, from the text alone.
    """

    scores: Tensor
    presence: Tensor
    noun: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedBoxes:
    """The part of the boxes of B images that does not depend on the text.

    Attributes:
        tokens: (B, N, D).
        pairs: (B, layers * heads, N, N), attention biases between boxes.
        mask: (B, N) bool, True where a box is.
    """

    tokens: Tensor
    pairs: Tensor
    mask: Tensor

    def select(self, index: Tensor) -> EncodedBoxes:
        """Returns the boxes of the images with indices `index` (M,)."""
        return EncodedBoxes(tokens=self.tokens[index], pairs=self.pairs[index], mask=self.mask[index])


def box_features(boxes: Boxes) -> Tensor:
    """Returns geometric features of boxes: positions, sizes, and ranks among the image's boxes.

    Args:
        boxes: N boxes of each of B images.

    Returns:
        (B, N, F) with F = `box_feature_count()`.
    """
    corners, mask = boxes.corners, boxes.mask.float()
    weight = mask if boxes.confidence is None else mask * boxes.confidence  # an uncertain box counts little in a rank
    x1, y1, x2, y2 = corners.unbind(-1)
    cx, cy, width, height = (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1).clamp(min=1e-4), (y2 - y1).clamp(min=1e-4)
    area = width * height
    features = [x1, y1, x2, y2, cx, cy, width, height, area.log() / 4, area.sqrt()]
    features.append((width * boxes.aspect[:, None] / height).log())
    features.extend([x1 < 0.01, y1 < 0.01, x2 > 0.99, y2 > 0.99])
    for frequency in _FREQUENCIES:
        features.extend([torch.sin(torch.pi * frequency * cx), torch.cos(torch.pi * frequency * cx)])
        features.extend([torch.sin(torch.pi * frequency * cy), torch.cos(torch.pi * frequency * cy)])
    features.extend(((area / share).log() * 6).sigmoid() for share in _AREA_FRACTIONS)
    others = mask[:, :, None] * weight[:, None, :] * (1 - torch.eye(mask.shape[1], device=mask.device))
    same = torch.einsum("bik,bjk->bij", boxes.classes, boxes.classes).clamp(max=1) * others  # (B, N, N)
    big = ((area / _PROMINENT).log() * 12).sigmoid()[:, None, :]
    centre = -((cx - 0.5).square() + (cy - 0.5).square())
    plain = torch.stack([feature.to(corners.dtype) for feature in features], -1)
    # All ranks of a group at once: an exported graph then has hundreds of nodes fewer, and opens faster.
    keys = torch.stack([cx, cy, y2, area, centre], 1)  # (B, 5, N)
    before, after = keys[:, :, None, :] < keys[:, :, :, None], keys[:, :, None, :] > keys[:, :, :, None]
    groups = []
    for group in (same, same * big, others * big):
        count = group.sum(-1)
        less, more = (group[:, None] * before).sum(-1), (group[:, None] * after).sum(-1)
        share = (less - more) / count.clamp(min=1)[:, None]
        ranks = torch.cat([share[..., None], _nearness(less, 3), _nearness(more, 3)], -1)  # (B, 5, N, 7)
        groups.extend([(1 + count).log()[..., None], _nearness(count, 4), ranks.transpose(1, 2).flatten(2)])
    return torch.cat([plain, *(group.to(corners.dtype) for group in groups)], -1)


def _nearness(values: Tensor, numbers: int) -> Tensor:
    """Returns (..., numbers): how near values are to 0, 1, …: 1 at a number, 0 from its neighbours on."""
    return (1 - (values[..., None] - torch.arange(numbers, device=values.device)).abs()).clamp(min=0)


def box_feature_count() -> int:
    """Returns the number of features per box in `box_features`."""
    return 15 + 4 * len(_FREQUENCIES) + len(_AREA_FRACTIONS) + 3 * (5 + 5 * 7)


def pair_features(boxes: Boxes) -> Tensor:
    """Returns the geometry of every box j relative to every box i: offsets, sizes, overlaps and equality of class.

    Args:
        boxes: N boxes of each of B images.

    Returns:
        (B, N, N, P), indexed by image, i and j.
    """
    corners = boxes.corners
    x1, y1, x2, y2 = corners.unbind(-1)
    cx, cy, width, height = (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1).clamp(min=1e-4), (y2 - y1).clamp(min=1e-4)
    area = width * height

    def difference(values: Tensor) -> Tensor:
        return values[:, None, :] - values[:, :, None]

    over_x = (torch.minimum(x2[:, None], x2[:, :, None]) - torch.maximum(x1[:, None], x1[:, :, None])).clamp(min=0)
    over_y = (torch.minimum(y2[:, None], y2[:, :, None]) - torch.maximum(y1[:, None], y1[:, :, None])).clamp(min=0)
    shared = over_x * over_y
    dx, dy = difference(cx), difference(cy)
    same = torch.einsum("bik,bjk->bij", boxes.classes, boxes.classes).clamp(max=1)
    return torch.stack(
        [
            dx,
            dy,
            torch.tanh(8 * dx),
            torch.tanh(8 * dy),
            (dx / width[:, :, None]).clamp(-3, 3),
            (dy / height[:, :, None]).clamp(-3, 3),
            difference(y2),
            difference(area.log()).clamp(-4, 4) / 2,
            shared / (area[:, None] + area[:, :, None] - shared),
            shared / area[:, None],
            shared / area[:, :, None],
            over_x / torch.minimum(width[:, None], width[:, :, None]),
            over_y / torch.minimum(height[:, None], height[:, :, None]),
            same,
        ],
        -1,
    )


class _Layer(nn.Module):
    """A pre-norm transformer layer with an additive attention bias per head."""

    def __init__(self, channels: int, *, heads: int, dropout: float, expansion: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention = nn.LayerNorm(channels)
        self.joint = nn.Linear(channels, 3 * channels)
        self.merge = nn.Linear(channels, channels)
        self.before_widening = nn.LayerNorm(channels)
        self.widen = nn.Linear(channels, expansion * channels)
        self.narrow = nn.Linear(expansion * channels, channels)
        self.drop = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, bias: Tensor) -> Tensor:
        """Maps tokens (B, T, D) to the same shape; bias (B, heads, T, T) is added to the attention logits."""
        batch, length, channels = tokens.shape
        parts = self.joint(self.before_attention(tokens)).view(batch, length, 3, self.heads, channels // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each (B, heads, T, D / heads)
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        tokens = tokens + self.drop(self.merge(attended.transpose(1, 2).reshape(batch, length, channels)))
        return tokens + self.drop(self.narrow(functional.gelu(self.widen(self.before_widening(tokens)))))


class BoxSelector(nn.Module):
    """Scores every box of an image for an expression."""

    def __init__(
        self,
        words: HashedWords,
        *,
        classes: int = 80,
        channels: int = 128,
        layers: int = 3,
        heads: int = 4,
        expansion: int = 4,
        dropout: float = 0.1,
        word_dropout: float = 0.0,
        appearance: int = 0,
    ) -> None:
        """Builds the selector.

        Args:
            words: Embeds the words of an expression.
            classes: Categories K of the boxes.
            channels: Width D of the tokens; must be divisible by `heads`.
            layers: Number of transformer layers.
            heads: Attention heads.
            expansion: Width of the feed-forward networks in multiples of `channels`.
            dropout: Dropout probability.
            word_dropout: Probability that a word's embedding is zeroed in training.
            appearance: Appearance features per box; 0 for none.
        """
        super().__init__()
        self.words = words
        self.classes = classes
        self.heads = heads
        self.word_dropout = word_dropout
        self.enter_words = nn.Linear(words.channels, channels) if words.channels != channels else nn.Identity()
        self.places = nn.Parameter(torch.randn(words.max_words, channels) * 0.02)
        self.whole = nn.Parameter(torch.randn(channels) * 0.02)
        self.class_vectors = nn.Linear(classes, channels, bias=False)
        nn.init.normal_(self.class_vectors.weight, std=channels**-0.5)
        self.nameless = nn.Parameter(torch.randn(channels) * 0.02)
        self.geometry = nn.Sequential(
            nn.Linear(box_feature_count(), channels), nn.GELU(), nn.Linear(channels, channels)
        )
        self.doubt = nn.Parameter(torch.zeros(channels))
        self.look = nn.Linear(appearance, channels) if appearance else None
        self.unseen = nn.Parameter(torch.zeros(channels))
        self.normalise_words = nn.LayerNorm(channels)
        self.normalise_boxes = nn.LayerNorm(channels)
        self.pairs = nn.Sequential(nn.Linear(_PAIR_FEATURES, 32), nn.GELU(), nn.Linear(32, layers * heads))
        self.layers = nn.ModuleList(
            _Layer(channels, heads=heads, dropout=dropout, expansion=expansion) for _ in range(layers)
        )
        self.drop = nn.Dropout(dropout)
        self.leave = nn.LayerNorm(channels)
        self.score = nn.Sequential(nn.Linear(channels, channels), nn.GELU(), nn.Linear(channels, 1))
        self.presence = nn.Linear(channels, 1)
        self.noun = nn.Linear(channels, classes)

    def encode_text(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Encodes the words of expressions; the result does not depend on the image.

        Args:
            ids: (B, L, 1 + GRAMS) hashes of each word and its character n-grams, 0 for padding.

        Returns:
            Tokens (B, L, D) and their mask (B, L), True where a word is.
        """
        present = ids[..., 0] > 0
        words = self.enter_words(self.words(ids))
        if self.training and self.word_dropout:
            # A dropped word stays as an empty token, so that the other words and its position must carry the meaning.
            kept = torch.rand(present.shape, device=ids.device) >= self.word_dropout
            words = words * kept[..., None]
        return self.normalise_words(words + self.places[: ids.shape[1]]), present

    def encode_boxes(self, boxes: Boxes) -> EncodedBoxes:
        """Encodes the boxes of B images; the result does not depend on the text."""
        pairs = self.pairs(pair_features(boxes)).permute(0, 3, 1, 2)
        return EncodedBoxes(tokens=self._box_tokens(boxes), pairs=pairs, mask=boxes.mask)

    def forward(self, words: Tensor, present: Tensor, boxes: Boxes | EncodedBoxes) -> BoxScores:
        """Scores boxes for expressions, row by row.

        Args:
            words: Tokens (B, L, D) of `encode_text`.
            present: Their mask (B, L).
            boxes: The boxes of B images, encoded or not.

        Returns:
            The scores of the boxes.
        """
        encoded = boxes if isinstance(boxes, EncodedBoxes) else self.encode_boxes(boxes)
        summary = self.whole.expand(words.shape[0], 1, -1)
        tokens = self.drop(torch.cat([summary, words, encoded.tokens], 1))
        valid = torch.cat([present.new_ones(words.shape[0], 1), present, encoded.mask], 1)
        biases = self._biases(valid, encoded)
        for layer, bias in zip(self.layers, biases, strict=True):
            tokens = layer(tokens, bias)
        tokens = self.leave(tokens)
        found = self.score(tokens[:, 1 + words.shape[1] :])[..., 0]
        return BoxScores(
            scores=found.masked_fill(~encoded.mask, float("-inf")),
            presence=self.presence(tokens[:, 0])[:, 0],
            noun=self.noun(tokens[:, 0]),
        )

    def _box_tokens(self, boxes: Boxes) -> Tensor:
        known = boxes.classes.sum(-1, keepdim=True).clamp(max=1)
        tokens = self.class_vectors(boxes.classes) + (1 - known) * self.nameless + self.geometry(box_features(boxes))
        if boxes.confidence is not None:
            tokens = tokens + (1 - boxes.confidence)[..., None] * self.doubt
        if self.look is None or boxes.appearance is None:
            return self.normalise_boxes(tokens + self.unseen)
        looks = self.look(boxes.appearance)
        if boxes.has_appearance is not None:
            looks = torch.where(boxes.has_appearance[..., None], looks, self.unseen)
        return self.normalise_boxes(tokens + looks)

    def _biases(self, valid: Tensor, encoded: EncodedBoxes) -> list[Tensor]:
        """Returns the attention bias (B, heads, T, T) of each layer: pair biases among boxes, -inf towards padding."""
        batch, length = valid.shape
        first = length - encoded.mask.shape[1]
        absent = torch.zeros(valid.shape, device=valid.device).masked_fill(~valid, float("-inf"))
        biases = []
        for layer in range(len(self.layers)):
            bias = absent[:, None, None].expand(batch, self.heads, length, length).clone()
            bias[:, :, first:, first:] += encoded.pairs[:, layer * self.heads : (layer + 1) * self.heads]
            biases.append(bias)
        return biases
