"""The mini system: the contract of systems, and what it finds, chooses and draws."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers.ability_contracts import (
    BoxGrounderContract,
    DetectorContract,
    ExplainableContract,
    ExportableContract,
    InstanceLearnerContract,
)
from helpers.small_models import recipe_of
from helpers.system_contract import TEXTS, items_of

from risctl.core.encoders.text.hashed_words import HashedWords
from risctl.core.fusion.box_selector import BoxScores, BoxSelector
from risctl.core.fusion.colour_histograms import APPEARANCE
from risctl.core.heads.detector import InstanceDetector
from risctl.data.batch import Batch, Item, collate
from risctl.errors import UsageError
from risctl.recipe.schema import Recipe
from risctl.systems.base import System
from risctl.systems.mini.model import DetectedFeatures, Mini
from risctl.systems.mini.preprocess import MiniPreprocess

WORDS = ("the", "man", "left", "red", "cup")


@pytest.fixture
def mini() -> Mini:
    torch.manual_seed(0)
    words = HashedWords(len(WORDS), channels=32, buckets=64, max_words=6)
    return Mini(
        preprocess=MiniPreprocess(size=64, words=WORDS, buckets=64, max_words=6),
        detector=InstanceDetector(classes=5, channels=16),
        box_selector=BoxSelector(words, classes=5, channels=32, layers=1, heads=2, appearance=APPEARANCE),
        max_count=6,
    ).eval()


def items(mini: Mini, *texts: str) -> list[Item]:
    return items_of(mini, texts=texts)


class TestMini(BoxGrounderContract, DetectorContract, ExplainableContract, InstanceLearnerContract, ExportableContract):
    """A mini of few channels."""

    def recipe(self) -> Recipe:
        model = {"system": "mini", "input_size": 64, "max_words": 6, "max_count": 6, "mask_channels": 16}
        model |= {"channels": 32, "layers": 1, "heads": 2, "dropout": 0.0}
        model["text"] = {"buckets": 64, "word_dropout": 0.0}
        return recipe_of(model)

    def stir(self, system: System) -> None:
        """As after some training: a box is meant or not by the text, not all of them by half."""
        assert isinstance(system, Mini)
        with torch.no_grad():
            for tower in system.detector.head.towers:
                tower.leave.bias.normal_()
            system.box_selector.layers[0].merge.weight.mul_(20)
            system.box_selector.score[-1].weight.mul_(40)
            system.box_selector.score[-1].bias.fill_(-4)
            system.detector.masks.leave.bias.fill_(1)

    def items(self, system: System, *, texts: tuple[str, ...] = TEXTS, seed: int = 0) -> list[Item]:
        """As every system's, but the targets are things that are found: others teach nothing about the choice."""
        made = []
        for item in super().items(system, texts=texts, seed=seed):
            with torch.no_grad():
                seen = system.encode_image(item.image[None], item.geometry.padding()[None])
            assert isinstance(seen, DetectedFeatures)
            left, top, right, bottom = (seen.detections.corners[0, 0] / 4).round().int().tolist()
            target = torch.zeros(16, 16)
            target[top : max(bottom, top + 1), left : max(right, left + 1)] = 1
            made.append(replace(item, target=target))
        return made

    def test_text_and_image_both_matter(self, system: System) -> None:
        """Of a box selector that has learned nothing, the shares tell texts apart before the choice does."""
        same_image = super().items(system, texts=("the man",)) + super().items(system, texts=("red cup",))
        shares = self.run(system, same_image).maps["choice"]
        assert (shares[0] - shares[1]).abs().max() > 1e-4
        same_text = super().items(system, texts=("the man",)) + super().items(system, texts=("the man",), seed=1)
        logits = self.run(system, same_text).logits
        assert (logits[0] - logits[1]).abs().max() > 1e-4

    def may_lack_gradient(self, name: str) -> bool:
        """What stands for boxes without a class or appearance (all found ones have both), and levels of the head
        on which nothing was found."""
        return name in ("box_selector.nameless", "box_selector.unseen") or name.startswith("detector.head.")


def test_an_image_without_detections(mini: Mini) -> None:
    with torch.no_grad():
        for tower in mini.detector.head.towers:
            tower.leave.bias.fill_(-20)
        output = mini(collate(items(mini, "the man")))
    assert output.scores is not None and float(output.scores[0]) == 0
    assert float(output.logits.max()) < 0


def test_the_loss_reaches_every_part(mini: Mini) -> None:
    mini.train()
    batch = collate(items(mini, "the man", "left red cup", "cup"))
    with torch.no_grad():
        found = mini.encode_image(batch.images, batch.padding).detections.corners
    assert batch.targets is not None
    targets = torch.zeros_like(batch.targets)
    for row in (0, 1):  # the last phrase means nothing there
        left, top, right, bottom = (found[row, 0] / 4).round().int().tolist()
        targets[row, top : max(bottom, top + 2), left : max(right, left + 2)] = 1
    whole = {name: getattr(batch, name) for name in Batch.__dataclass_fields__} | {"targets": targets}
    output = mini(Batch(**whole))
    terms = mini.loss(output, Batch(**whole))
    assert set(terms) == {"presence", "choice", "each", "noun", "mask"}
    assert all(bool(term.isfinite()) for term in terms.values())
    assert terms["choice"].item() > 0 and terms["mask"].item() > 0
    torch.stack(list(terms.values())).sum().backward()
    parts = (
        mini.detector.backbone,
        mini.detector.masks,
        mini.detector.features,
        mini.box_selector.words,
        mini.box_selector.look,
    )
    assert all(any(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters()) for part in parts)


def test_several_instances_are_selected_where_several_are_probable(mini: Mini) -> None:
    there = torch.tensor([[True, True, True, False]] * 4)
    scores = torch.tensor(
        [
            [3.0, -2, 1, -torch.inf],  # "both cups": two are
            [-1, -2, -3, -torch.inf],  # none is probable: the best one is taken
            [4, 2, 1, -torch.inf],  # "all the cups"
            [4, -4, -9, -torch.inf],
        ]
    )
    choice = BoxScores(scores=scores, presence=torch.zeros(4), noun=torch.zeros(4, 5))
    expected = [[1, 0, 1, 0], [1, 0, 0, 0], [1, 1, 1, 0], [1, 0, 0, 0]]
    assert mini._selected(choice, there).int().tolist() == expected
    assert mini._selected(choice, torch.zeros(4, 0, dtype=torch.bool)).shape == (4, 0)


def test_several_instances_are_drawn_as_their_union(mini: Mini, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = collate(items(mini, "both men"))
    with torch.no_grad():
        mini.detector.masks.leave.bias.fill_(1)
        seen, text = mini.encode_image(batch.images, batch.padding), mini.encode_text(batch.words, batch.word_mask)

        def drawn(*chosen: int) -> torch.Tensor:
            meant = torch.zeros_like(seen.detections.mask)
            meant[0, list(chosen)] = True
            monkeypatch.setattr(Mini, "_selected", lambda *given: meant)
            return mini.decode(seen, text).logits[0] > 0

        first, second, both = drawn(0), drawn(1), drawn(0, 1)
    assert first.any() and second.any() and not torch.equal(first, second)
    assert torch.equal(both, first | second)


def test_each_box_is_detected_as_the_most_probable_of_the_named_categories(mini: Mini) -> None:
    [item] = items(mini, "the man")
    with torch.no_grad():
        features = mini.encode_image(item.image[None], item.geometry.padding()[None])
    names = ["person", "bicycle", "car", "motorcycle", "airplane"]
    detections = mini.detect(features, [names], geometry=item.geometry, min_score=0.0)
    assert len(detections) == int(features.detections.mask.sum()) > 1
    assert detections[0].name == names[int(features.detections.scores[0, 0].argmax())]
    with pytest.raises(UsageError, match="did you mean 'car'"):
        mini.detect(features, [["cars"]], geometry=item.geometry, min_score=0.5)
