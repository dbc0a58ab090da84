"""The chooser: which of the found boxes does a phrase mean, if any?

A plain transformer over words and boxes. A box's token says what it is (class scores), where it lies and how it ranks
among the picture's other boxes, as people count them: "second from the left" is a rank among boxes of one class.
Attention between two boxes is biased by how they lie to each other. Appearance is optional: without pixels its part of
the token is a learned "unseen" vector.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from risctl.core.encoders.text.hashed_words import HashedWords
from risctl.data.box_grounding.boxes import Boxes

_BIG = 0.045  # share of the picture from which an object counts as one that people speak of
_SHARES = (0.005, 0.015, 0.03, 0.045, 0.06, 0.1, 0.2, 0.4)
_PAIR_FEATURES = 14
_WAVES = (1.0, 2.0, 4.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxScores:
    """What the chooser says. scores (B, N): logits of each box to be meant, -inf where there is no box; presence (B,):
    logit that any box is meant; noun (B, K): logits of the class that the phrase alone speaks of."""

    scores: Tensor
    presence: Tensor
    noun: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedBoxes:
    """What the chooser makes of the boxes of B pictures, whatever the text: tokens (B, N, D); pairs (B, layers * heads,
    N, N), how much each box attends to each other one; mask (B, N) bool, True where a box is."""

    tokens: Tensor
    pairs: Tensor
    mask: Tensor

    def select(self, index: Tensor) -> EncodedBoxes:
        """Return those of the pictures `index` (M,)."""
        return EncodedBoxes(tokens=self.tokens[index], pairs=self.pairs[index], mask=self.mask[index])


def box_features(boxes: Boxes) -> Tensor:
    """Return (B, N, F) of places, sizes and ranks among the picture's boxes; F = `box_feature_count()`."""
    corners, mask = boxes.corners, boxes.mask.float()
    weight = mask if boxes.confidence is None else mask * boxes.confidence  # a doubtful box counts little in a rank
    x1, y1, x2, y2 = corners.unbind(-1)
    cx, cy, width, height = (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1).clamp(min=1e-4), (y2 - y1).clamp(min=1e-4)
    area = width * height
    plain = [x1, y1, x2, y2, cx, cy, width, height, area.log() / 4, area.sqrt()]
    plain.append((width * boxes.aspect[:, None] / height).log())
    plain.extend([x1 < 0.01, y1 < 0.01, x2 > 0.99, y2 > 0.99])
    for wave in _WAVES:
        plain.extend([torch.sin(torch.pi * wave * cx), torch.cos(torch.pi * wave * cx)])
        plain.extend([torch.sin(torch.pi * wave * cy), torch.cos(torch.pi * wave * cy)])
    plain.extend(((area / share).log() * 6).sigmoid() for share in _SHARES)
    others = mask[:, :, None] * weight[:, None, :] * (1 - torch.eye(mask.shape[1], device=mask.device))
    same = torch.einsum("bik,bjk->bij", boxes.classes, boxes.classes).clamp(max=1) * others  # (B, N, N)
    big = ((area / _BIG).log() * 12).sigmoid()[:, None, :]
    centre = -((cx - 0.5).square() + (cy - 0.5).square())
    for group in (same, same * big, others * big):
        count = group.sum(-1)
        plain.append((1 + count).log())
        plain.extend((1 - (count - number).abs()).clamp(min=0) for number in range(4))
        for key in (cx, cy, y2, area, centre):
            less = (group * (key[:, None, :] < key[:, :, None])).sum(-1)
            more = (group * (key[:, None, :] > key[:, :, None])).sum(-1)
            plain.append((less - more) / count.clamp(min=1))
            for rank in (less, more):
                plain.extend((1 - (rank - number).abs()).clamp(min=0) for number in range(3))
    return torch.stack([one.to(corners.dtype) for one in plain], -1)


def box_feature_count() -> int:
    """Return the number of features a box has in `box_features`."""
    return 15 + 4 * len(_WAVES) + len(_SHARES) + 3 * (5 + 5 * 7)


def pair_features(boxes: Boxes) -> Tensor:
    """Return (B, N, N, P): how box j (last but one) lies to box i: offsets, sizes, overlaps, sameness."""
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
    """One pre-norm transformer layer whose attention takes a bias a head."""

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
        """Return tokens (B, T, D); bias (B, heads, T, T) is added to the attention's logits."""
        batch, length, channels = tokens.shape
        parts = self.joint(self.before_attention(tokens)).view(batch, length, 3, self.heads, channels // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each (B, heads, T, D / heads)
        met = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        tokens = tokens + self.drop(self.merge(met.transpose(1, 2).reshape(batch, length, channels)))
        return tokens + self.drop(self.narrow(functional.gelu(self.widen(self.before_widening(tokens)))))


class BoxSelector(nn.Module):
    """Scores every box of a picture for a phrase. See the module's text."""

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
        """Return tokens (B, L, D) and their mask (B, L) of texts `ids` (B, L, 1 + GRAMS): what no picture changes."""
        present = ids[..., 0] > 0
        words = self.enter_words(self.words(ids))
        if self.training and self.word_dropout:
            # A forgotten word stands as an empty token, so that the others and its place must carry the meaning.
            kept = torch.rand(present.shape, device=ids.device) >= self.word_dropout
            words = words * kept[..., None]
        return self.normalise_words(words + self.places[: ids.shape[1]]), present

    def encode_boxes(self, boxes: Boxes) -> EncodedBoxes:
        """Return what is seen of `boxes` (B, N, ...): what no text changes."""
        pairs = self.pairs(pair_features(boxes)).permute(0, 3, 1, 2)
        return EncodedBoxes(tokens=self._box_tokens(boxes), pairs=pairs, mask=boxes.mask)

    def forward(self, words: Tensor, present: Tensor, boxes: Boxes | EncodedBoxes) -> BoxScores:
        """Return the choice for texts, as `encode_text` gives them, among `boxes` (B, N, ...), row by row."""
        seen = boxes if isinstance(boxes, EncodedBoxes) else self.encode_boxes(boxes)
        whole = self.whole.expand(len(words), 1, -1)
        tokens = self.drop(torch.cat([whole, words, seen.tokens], 1))
        there = torch.cat([present.new_ones(len(words), 1), present, seen.mask], 1)
        biases = self._biases(there, seen)
        for layer, bias in zip(self.layers, biases, strict=True):
            tokens = layer(tokens, bias)
        tokens = self.leave(tokens)
        found = self.score(tokens[:, 1 + words.shape[1] :])[..., 0]
        return BoxScores(
            scores=found.masked_fill(~seen.mask, float("-inf")),
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

    def _biases(self, there: Tensor, seen: EncodedBoxes) -> list[Tensor]:
        """Return one (B, heads, T, T) a layer: how boxes lie to each other, and -inf towards what is not there."""
        batch, length = there.shape
        first = length - seen.mask.shape[1]
        absent = torch.zeros(there.shape, device=there.device).masked_fill(~there, float("-inf"))
        biases = []
        for layer in range(len(self.layers)):
            bias = absent[:, None, None].expand(batch, self.heads, length, length).clone()
            bias[:, :, first:, first:] += seen.pairs[:, layer * self.heads : (layer + 1) * self.heads]
            biases.append(bias)
        return biases
