"""The box selector: its features, its invariances, and that it learns to select."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from risctl.core.encoders.text.hashed_words import HashedWords, WordIds
from risctl.core.fusion.box_selector import BoxScores, BoxSelector, box_feature_count, box_features, pair_features
from risctl.data.box_grounding.boxes import Boxes

WORDS = ("left", "right", "second", "from", "big", "dog", "cat", "on", "the", "red", "blue")


IDS = WordIds(WORDS)


def boxes(*places: tuple[float, float, float], kinds: tuple[int, ...] | None = None, classes: int = 4) -> Boxes:
    """Returns the boxes of one image, given centres and sides (x, y, side)."""
    corners = torch.tensor([[x - s / 2, y - s / 2, x + s / 2, y + s / 2] for x, y, s in places])[None]
    kind = torch.tensor(kinds if kinds is not None else (0,) * len(places))
    return Boxes(
        corners=corners,
        classes=torch.nn.functional.one_hot(kind, classes).float()[None],
        mask=torch.ones(1, len(places), dtype=torch.bool),
        aspect=torch.ones(1),
    )


def box_selector(**settings: int | float) -> BoxSelector:
    torch.manual_seed(0)
    return BoxSelector(
        HashedWords(len(WORDS), channels=32), classes=4, channels=32, layers=2, heads=2, **settings
    ).eval()


def choose(model: BoxSelector, ids: torch.Tensor, some: Boxes) -> BoxScores:
    return model(*model.encode_text(ids), some)


def test_box_features_have_the_stated_number_and_are_finite() -> None:
    some = boxes((0.2, 0.5, 0.2), (0.5, 0.5, 0.0), (0.8, 0.5, 1.0))
    assert box_features(some).shape == (1, 3, box_feature_count())
    assert bool(box_features(some).isfinite().all()) and bool(pair_features(some).isfinite().all())


def test_ranks_count_only_present_boxes_of_the_same_class() -> None:
    row = boxes((0.2, 0.5, 0.2), (0.5, 0.5, 0.2), (0.8, 0.5, 0.2))
    alone = boxes((0.2, 0.5, 0.2), (0.5, 0.5, 0.2), (0.8, 0.5, 0.2), kinds=(0, 1, 2))
    assert not torch.equal(box_features(row), box_features(alone))
    absent = replace(row, mask=torch.tensor([[True, True, False]]))
    two = boxes((0.2, 0.5, 0.2), (0.5, 0.5, 0.2))
    assert torch.allclose(box_features(absent)[:, :2], box_features(two))
    doubtful = replace(row, confidence=torch.tensor([[1.0, 1.0, 0.0]]))
    assert torch.allclose(box_features(doubtful)[:, :2], box_features(two))


def test_padding_changes_nothing() -> None:
    model = box_selector()
    ids = IDS("left dog")[None]
    two = boxes((0.2, 0.5, 0.2), (0.7, 0.5, 0.3))
    more = boxes((0.2, 0.5, 0.2), (0.7, 0.5, 0.3), (0.4, 0.1, 0.2), kinds=(0, 0, 1))
    more = replace(more, mask=torch.tensor([[True, True, False]]))
    alone, padded, shorter = (
        choose(model, ids, two),
        choose(model, ids, more),
        choose(model, ids[:, :2], two),
    )
    assert torch.allclose(alone.scores, padded.scores[:, :2], atol=1e-5)
    assert padded.scores[0, 2] == float("-inf")
    assert torch.allclose(alone.presence, padded.presence, atol=1e-5)
    assert torch.allclose(alone.scores, shorter.scores, atol=1e-5)


def test_the_order_of_boxes_changes_nothing() -> None:
    model = box_selector()
    ids = IDS("second from right")[None]
    three = boxes((0.2, 0.5, 0.2), (0.7, 0.5, 0.3), (0.4, 0.1, 0.2), kinds=(0, 2, 1))
    turned = boxes((0.4, 0.1, 0.2), (0.7, 0.5, 0.3), (0.2, 0.5, 0.2), kinds=(1, 2, 0))
    assert torch.allclose(choose(model, ids, three).scores.flip(1), choose(model, ids, turned).scores, atol=1e-5)


def test_appearance_counts_only_where_a_box_has_it() -> None:
    model = box_selector(appearance=3)
    ids = IDS("red dog")[None]
    two = boxes((0.2, 0.5, 0.2), (0.7, 0.5, 0.3))
    red = replace(two, appearance=torch.tensor([[[1.0, 0, 0], [0, 0, 1.0]]]))
    assert not torch.allclose(choose(model, ids, two).scores, choose(model, ids, red).scores)
    unseen = replace(red, has_appearance=torch.zeros(1, 2, dtype=torch.bool))
    assert torch.allclose(choose(model, ids, two).scores, choose(model, ids, unseen).scores, atol=1e-6)


def test_images_without_boxes_have_empty_scores() -> None:
    model = box_selector()
    none = Boxes(
        corners=torch.zeros(1, 0, 4),
        classes=torch.zeros(1, 0, 4),
        mask=torch.zeros(1, 0, dtype=torch.bool),
        aspect=torch.ones(1),
    )
    choice = choose(model, IDS("left dog")[None], none)
    assert choice.scores.shape == (1, 0)
    assert bool(choice.presence.isfinite().all())


def test_it_learns_sides_categories_and_no_target() -> None:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = BoxSelector(HashedWords(len(WORDS), channels=32), classes=4, channels=32, layers=2, heads=2, dropout=0.0)
    texts = ("left dog", "right dog", "left cat", "right cat")
    ids = torch.stack([IDS(text) for text in texts])[:, :2]

    def scene(count: int) -> tuple[torch.Tensor, Boxes, torch.Tensor, torch.Tensor]:
        middles = torch.rand(count, 4, 2, generator=generator) * 0.8 + 0.1
        kinds = torch.randint(0, 2, (count, 4), generator=generator)
        asked = torch.randint(0, 4, (count,), generator=generator)
        alike = kinds == (asked // 2)[:, None]
        sign = 1 - 2 * (asked % 2).float()[:, None]
        target = (middles[..., 0] * sign).masked_fill(~alike, 9.0).argmin(1)
        some = Boxes(
            corners=torch.cat([middles - 0.08, middles + 0.08], -1),
            classes=torch.nn.functional.one_hot(kinds, 4).float(),
            mask=torch.ones(count, 4, dtype=torch.bool),
            aspect=torch.ones(count),
        )
        return ids[asked], some, target, alike.any(1)

    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(150):
        words, some, target, there = scene(64)
        choice = choose(model, words, some)
        loss = torch.nn.functional.cross_entropy(choice.scores[there], target[there])
        loss = loss + torch.nn.functional.binary_cross_entropy_with_logits(choice.presence, there.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    words, some, target, there = scene(256)
    with torch.no_grad():
        choice = choose(model, words, some)
    assert (choice.scores.argmax(1) == target)[there].float().mean() > 0.9
    assert ((choice.presence > 0) == there).float().mean() > 0.95


@pytest.mark.parametrize("picked", [[0], [1, 0, 0]])
def test_selecting_images(picked: list[int]) -> None:
    joined = boxes((0.2, 0.5, 0.2))
    both = replace(
        joined,
        corners=joined.corners.repeat(2, 1, 1),
        classes=joined.classes.repeat(2, 1, 1),
        mask=joined.mask.repeat(2, 1),
        aspect=torch.tensor([1.0, 2.0]),
        confidence=torch.ones(2, 1),
    )
    chosen = both.select(torch.tensor(picked))
    assert chosen.aspect.tolist() == [[1.0, 2.0][one] for one in picked]
    assert chosen.confidence is not None and len(chosen.confidence) == len(picked)
    assert chosen.appearance is None
