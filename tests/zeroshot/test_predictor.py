"""The zero-shot engine: one answer whatever the batches, a shortlist that is exact when it is long, strategies."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.tiny_clip import tiny_clip, write_tokenizer
from torch.nn import functional

from risctl.core.fusion.spatial import rerank
from risctl.errors import UsageError
from risctl.language.clip_tokens import ClipTokens, load_tokens
from risctl.language.noun_phrases import SHIPPED, load_phraser
from risctl.language.spatial_words import Place, place_of
from risctl.systems.global_local_clip.model import GlobalLocalCLIP
from risctl.zeroshot.predictor import Strategies, ZeroShotPredictor
from risctl.zeroshot.proposals.base import InputImage, Proposals

TEXTS = ["the red cup on the left", "a man", "blue box", "dog on the right", "the left one"]


class _Given:
    name = "given"

    def __init__(self, masks: np.ndarray) -> None:
        self.masks = masks
        self.asked = 0

    def __call__(self, image: InputImage) -> Proposals:
        self.asked += 1
        return Proposals(masks=self.masks, scores=np.ones(len(self.masks), dtype=np.float32))


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> ClipTokens:
    folder = tmp_path_factory.mktemp("tokens")
    write_tokenizer(folder)
    return load_tokens(folder, context=77)


def _masks(count: int = 12, *, height: int = 50, width: int = 70) -> np.ndarray:
    generator = np.random.default_rng(0)
    masks = np.zeros((count, height, width), dtype=bool)
    for mask in masks:
        top, left = generator.integers(0, height - 12), generator.integers(0, width - 12)
        mask[top : top + generator.integers(4, 12), left : left + generator.integers(4, 12)] = True
    return masks


IMAGE = InputImage(pixels=np.random.default_rng(1).integers(0, 255, (50, 70, 3), dtype=np.uint8), name="noise.png")


def _zero_shot(tokens: ClipTokens, *, kind: str = "vit", batch: int = 32, masks: np.ndarray | None = None, **options):
    # type: ignore[no-untyped-def]
    system = GlobalLocalCLIP(tiny_clip(kind), batch=batch)
    source = _Given(_masks() if masks is None else masks)
    return ZeroShotPredictor(system, tokens=tokens, phraser=load_phraser(str(SHIPPED)), source=source, **options)


@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_answers_do_not_depend_on_batches_or_company(tokens: ClipTokens, kind: str) -> None:
    first, second = _zero_shot(tokens, kind=kind), _zero_shot(tokens, kind=kind, batch=5)
    first.set_image(IMAGE)
    second.set_image(IMAGE)
    together = first.predict(TEXTS)
    for text, answer in zip(TEXTS, together, strict=True):
        [alone] = second.predict([text])
        assert np.allclose(alone.scores, answer.scores, atol=1e-4)
        assert alone.chosen == answer.chosen == int(answer.scores.argmax())
        assert np.array_equal(answer.prediction.mask, first.proposals.masks[answer.chosen])
        assert 0 < answer.prediction.score <= 1
    assert len({answer.scores.tobytes() for answer in together}) == len(TEXTS)


@torch.no_grad()
def test_scores_are_the_papers(tokens: ClipTokens) -> None:
    """The whole of it in four lines, from the features on."""
    zero_shot = _zero_shot(tokens)
    zero_shot.set_image(IMAGE)
    [answer] = zero_shot.predict(["the red cup on the left"])
    assert answer.noun_phrase == "the red cup"
    encoded = zero_shot.system.encode_image(IMAGE.pixels, zero_shot.proposals.masks)
    sentence, noun = zero_shot.system.encode_text(*tokens(["the red cup on the left", "the red cup"]))
    visual, text = 0.95 * encoded.context + 0.05 * encoded.local, 0.5 * sentence + 0.5 * noun
    plain = zero_shot.system.clip.logit_scale.exp() * functional.cosine_similarity(visual, text[None])
    assert np.allclose(answer.scores, plain.numpy(), atol=1e-4)


def test_a_shortlist_is_exact_if_long_and_looks_at_few_if_short(tokens: ClipTokens) -> None:
    exact, long, short = (_zero_shot(tokens, shortlist=length) for length in (None, 12, 2))
    for one in (exact, long, short):
        one.set_image(IMAGE)
    wanted = exact.predict(TEXTS)
    assert [answer.chosen for answer in long.predict(TEXTS)] == [answer.chosen for answer in wanted]
    few = short.predict(TEXTS[:1])
    assert np.isfinite(few[0].scores).sum() == 2
    assert short._encoded().num_local == 2
    kept = np.flatnonzero(np.isfinite(few[0].scores))
    assert np.allclose(few[0].scores[kept], wanted[0].scores[kept], atol=1e-4)
    assert short.exact_choices(TEXTS) == [answer.chosen for answer in wanted]


@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_a_shortlist_does_not_depend_on_company(tokens: ClipTokens, kind: str) -> None:
    together, alone = (_zero_shot(tokens, kind=kind, masks=_masks(40), shortlist=2) for _ in range(2))
    together.set_image(IMAGE)
    for answer, text in zip(together.predict(TEXTS), TEXTS, strict=True):
        alone.set_image(IMAGE)
        [other] = alone.predict([text])
        assert np.array_equal(np.isfinite(answer.scores), np.isfinite(other.scores))
        assert np.isfinite(other.scores).sum() == 2
        assert answer.chosen == other.chosen
        # Of 40 proposals, 12 had a closer look at first sight and two a full one; a ResNet has no first sight of them.
        assert len(alone._encoded()._previews) == (12 if kind == "vit" else 0)
        assert alone._encoded().num_local == 2


def test_an_image_is_looked_at_once(tokens: ClipTokens) -> None:
    zero_shot = _zero_shot(tokens)
    with pytest.raises(UsageError, match="no image"):
        zero_shot.predict(TEXTS)
    zero_shot.set_image(IMAGE)
    zero_shot.predict(TEXTS)
    encoded = zero_shot._encoded()
    zero_shot.predict(TEXTS[:2])
    assert zero_shot._encoded() is encoded
    assert zero_shot._source.asked == 1
    assert zero_shot.seconds["visual"] > 0


def test_without_proposals_the_mask_is_empty(tokens: ClipTokens) -> None:
    zero_shot = _zero_shot(tokens, masks=np.zeros((0, 50, 70), dtype=bool))
    zero_shot.set_image(IMAGE)
    [answer] = zero_shot.predict(["a man"])
    assert answer.chosen is None
    assert not answer.prediction.mask.any()
    assert answer.prediction.box is None
    assert zero_shot.explain(answer) == []


def test_half_precision_is_near(tokens: ClipTokens) -> None:
    full, half = _zero_shot(tokens), _zero_shot(tokens)
    half.system.clip.to(torch.bfloat16)
    full.set_image(IMAGE)
    half.set_image(IMAGE)
    for one, other in zip(full.predict(TEXTS), half.predict(TEXTS), strict=True):
        assert np.allclose(one.scores, other.scores, atol=0.5)
        assert not np.array_equal(one.scores, other.scores)


def test_strategies_change_scores_and_the_default_is_the_paper(tokens: ClipTokens) -> None:
    plain, prompted, negative = (
        _zero_shot(tokens, strategies=one)
        for one in (Strategies(), Strategies(prompts=("{}", "a photo of {}")), Strategies(negative=("a dog",)))
    )
    rows = []
    for one in (plain, prompted, negative):
        one.set_image(IMAGE)
        rows.append(one.predict(["the red cup"])[0].scores)
    assert not np.allclose(rows[0], rows[1])
    assert not np.allclose(rows[0], rows[2])
    # An offset of the whole row would change nothing.
    assert np.ptp(rows[0] - rows[2]) > 1e-3
    with pytest.raises(UsageError, match="prompt"):
        Strategies(prompts=("a photo",))


@pytest.mark.parametrize(
    "strategies", [Strategies(negative=("a dog", "a cup")), Strategies(spatial=50.0), Strategies(prompts=("a {}",))]
)
def test_strategies_and_a_shortlist_go_together(tokens: ClipTokens, strategies: Strategies) -> None:
    masks = _masks(40)
    exact, long, short = (
        _zero_shot(tokens, masks=masks, shortlist=length, strategies=strategies) for length in (None, 40, 3)
    )
    for one in (exact, long, short):
        one.set_image(IMAGE)
    wanted, found, few = exact.predict(TEXTS), long.predict(TEXTS), short.predict(TEXTS)
    for one, other, third in zip(wanted, found, few, strict=True):
        assert np.allclose(one.scores, other.scores, atol=1e-3)
        kept = np.isfinite(third.scores)
        assert kept.sum() == 3
        assert not np.isnan(third.scores).any()
        if not strategies.spatial:
            assert np.allclose(third.scores[kept], one.scores[kept], atol=1e-3)
    before = dict(short.seconds)
    assert short.exact_choices(TEXTS) == [answer.chosen for answer in wanted]
    assert dict(short.seconds) == before


def test_explanations_are_in_order_and_complete(tokens: ClipTokens) -> None:
    zero_shot = _zero_shot(tokens, shortlist=3)
    zero_shot.set_image(IMAGE)
    [answer] = zero_shot.predict(["the red cup"])
    best = zero_shot.explain(answer)
    assert len(best) == 3
    assert best[0].proposal == answer.chosen
    assert [detection.score for detection in best] == sorted((detection.score for detection in best), reverse=True)
    assert all(
        -1 <= value <= 1
        for detection in best
        for value in (detection.context, detection.local, detection.sentence, detection.noun)
    )


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("man", Place()),
        ("man on the left", Place((-1.0, 0.0))),
        ("bottom right cup", Place((1.0, 1.0))),
        ("the middle one", Place(middle=True)),
        ("second guy from left", Place((-1.0, 0.0), order=2)),
        ("third from the right", Place((1.0, 0.0), order=3)),
        ("man to the left of the tree", Place()),
        ("cup left of plate on the right", Place((1.0, 0.0))),
    ],
)
def test_places_in_words(text: str, place: Place) -> None:
    assert place_of(text) == place


def test_places_rerank() -> None:
    scores = torch.tensor([1.0, 1.1, 1.05, 0.2])
    centres = torch.tensor([[0.1, 0.5], [0.5, 0.5], [0.9, 0.5], [0.0, 0.0]])
    assert rerank(scores, centres, Place()) is scores
    assert rerank(scores, centres, Place((1.0, 0.0)), weight=5).argmax() == 2
    assert rerank(scores, centres, Place(middle=True), weight=5).argmax() == 1
    # Counted among those that fit: the last, leftmost by far, does not.
    assert rerank(scores, centres, Place((-1.0, 0.0), order=2), weight=5).argmax() == 2
    cut = torch.tensor([1.0, -torch.inf, 1.05, 0.2])
    assert torch.isneginf(rerank(cut, centres, Place((-1.0, 0.0))))[1]
