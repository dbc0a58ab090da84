"""ReLA: the contract with and without language gates, and what is its own: regions, "none", the loss, predictions."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.ability_contracts import CachedFeaturesContract, ExplainableContract, ExportableContract
from helpers.small_models import RELA, recipe_of
from helpers.system_contract import TEXTS, items_of

from risctl.core.losses.region_masks import minimap_targets, region_losses
from risctl.data.batch import collate
from risctl.data.records import SampleIds
from risctl.errors import RecipeError
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.schema import Recipe
from risctl.systems.base import Output, System
from risctl.systems.registry import build_system
from risctl.systems.rela.config import ReLAModel
from risctl.systems.rela.model import ReLA, target_probability
from risctl.vision.resize import Square


class ReLAContract(CachedFeaturesContract, ExplainableContract, ExportableContract):
    """The regions read padding like words, as published."""

    masks_padding = False

    def stir(self, system: System) -> None:
        """The gates, the words' projection and the offsets of sampled points are zeros at first.

        Logits are sums over the regions; with smaller weights, their rounding stays within the contract's tolerance.
        """
        assert isinstance(system, ReLA)
        with torch.no_grad():
            for parameter in system.parameters():
                if parameter.ndim > 1 and not parameter.any():
                    parameter.normal_(std=0.1)
            for parameter in system.region_decoder.minimap.parameters():
                parameter.mul_(0.1)

    def may_lack_gradient(self, name: str) -> bool:
        """A bias of BERT's keys moves all scores of a query alike, which no softmax sees."""
        return name.endswith("attention.self.key.bias")


class TestGated(ReLAContract):
    """With language gates, as with the published Swin."""

    def recipe(self) -> Recipe:
        return recipe_of(RELA)


class TestPlain(ReLAContract):
    """Without, as with the published ResNet-50."""

    def recipe(self) -> Recipe:
        return recipe_of(RELA | {"language_gates": False})


def system_of(**changes: Any) -> ReLA:
    torch.manual_seed(0)
    system = build_system(ReLAModel.model_validate(RELA | changes), vocabulary=Vocabulary(["man", "left"]))
    assert isinstance(system, ReLA)
    return system.eval()


@pytest.mark.parametrize("name", ["swin_t", "resnet50"])
def test_everything_trains_but_what_norms_take_away(name: str) -> None:
    text = {"tokens": None, "weights": None}
    model = ReLAModel.model_validate({"system": "rela", "visual": {"name": name}, "text": text})
    assert model.language_gates == (name == "swin_t")
    with torch.device("meta"):
        system = build_system(model, vocabulary=Vocabulary(f"w{number}" for number in range(30_520)))
    bert = sum(parameter.numel() for parameter in system.text.parameters())
    assert bert == 108_891_648
    names = {parameter: name for name, parameter in system.named_parameters()}
    idle = [names[one] for one in names if not one.requires_grad]
    # Of a ResNet its norms do not; of the gates, biases that the norms after them take away.
    frozen = {"swin_t": 4 * 4, "resnet50": 53 * 2}
    assert len(idle) == frozen[name]
    norms = [one for one in idle if re.search(r"\.(bn\d|downsample\.1)\.", one)]
    assert len(norms) == (len(idle) if name == "resnet50" else 0)


def test_gates_need_a_backbone_of_stages() -> None:
    with pytest.raises(RecipeError) as raised:
        recipe_of(RELA | {"visual": {"name": "mobilenet_v2"}})
    assert "model.language_gates: expected false with mobilenet_v2" in str(raised.value.problems)
    assert not ReLAModel.model_validate({"system": "rela", "visual": {"name": "mobilenet_v2"}}).language_gates


def test_gates_start_at_zero_and_the_last_stage_has_none() -> None:
    system = system_of()
    images, padding = torch.rand(1, 3, 64, 64), torch.zeros(1, 64, 64, dtype=torch.bool)
    visual = system.encode_image(images, padding)
    ids, mask = torch.tensor([[2, 3, 0]]), torch.tensor([[True, True, False]])
    read = system.visual.read(visual, system.encode_text(ids, mask), detailed=True)
    assert len(read.openings) == 3 and not any(one.any() for one in read.openings)
    assert not any(name.startswith("visual.gates.3.gate.") for name in system.state_dict())


def test_a_region_does_not_attend_to_what_its_mask_leaves_out() -> None:
    system = system_of()
    decoder = system.region_decoder
    regions = torch.randn(2, 16, 32)
    features = torch.randn(2, 16, 9)
    hidden = decoder.outside(regions, features)
    masks = decoder.filters(decoder.norm(regions)) @ features
    empty = (masks < 0).all(2)
    assert torch.equal(hidden[~empty], (masks < 0)[~empty])
    decoder.filters.last.weight.data.zero_()
    decoder.filters.last.bias.data.fill_(-1.0)
    # Every mask is empty or full now; an empty one hides nothing.
    assert not decoder.outside(regions, features.abs()).any()


def test_minimap_targets_are_truncated() -> None:
    masks = torch.zeros(1, 40, 40)
    masks[0, :22, :20] = 1
    found = minimap_targets(masks, (10, 10)).view(10, 10)
    # Each cell samples the four pixels around its centre: rows 4 r + 1 and 4 r + 2. Row 5 has 21, but 22 is empty.
    expected = torch.zeros(10, 10, dtype=torch.int64)
    expected[:5, :5] = 1
    assert torch.equal(found, expected)


def test_classes_weigh_as_published() -> None:
    logits = torch.tensor([[[[2.0, -1.0]], [[0.0, 1.0]]]])  # (1, 2, 1, 2)
    masks = torch.tensor([[[0.0, 1.0]]])
    terms = region_losses(
        logits, torch.zeros(1, 1, 2), torch.tensor([[1.0, 0.0]]), masks=masks, absent=torch.tensor([True]), grid=(1, 1)
    )
    background, target = np.log1p(np.exp(-2.0)), np.log1p(np.exp(-2.0))
    assert float(terms["mask"]) == pytest.approx((0.9 * background + 1.1 * target) / 2)
    assert float(terms["no_target"]) == pytest.approx(np.log1p(np.exp(1.0)))
    assert float(terms["minimap"]) == pytest.approx(np.log(2))


def test_both_saturated_is_background() -> None:
    logits = torch.tensor([[[1.0, 40.0, -1.0]], [[2.0, 50.0, -2.0]]])
    probability = target_probability(logits)
    assert (probability > 0.5).tolist() == [[True, False, False]]
    assert probability[0, 0] == pytest.approx(torch.sigmoid(torch.tensor(1.0)).item())


def test_an_answer_none_clears_the_mask_and_keeps_it_for_figures() -> None:
    system = system_of()
    logits = torch.zeros(2, 2, 16, 16)
    logits[:, 1] = 5
    output = Output(logits=logits[:, 1] - logits[:, 0], scores=torch.tensor([0.4, 0.6]), maps={"class_logits": logits})
    geometry = Square.fit(height=20, width=30, size=64)
    none, some = system.predict(output, geometries=[geometry] * 2, texts=["a", "b"], threshold=0.5)
    assert (none.matched, none.said_none, none.mask.any(), none.box) == (False, True, False, None)
    assert none.uncleared is not None
    assert [(one > 0.5).all() for one in none.uncleared] == [True, True] and not none.input_probability.any()
    assert (some.matched, some.said_none, some.uncleared) == (True, False, None) and some.mask.all()
    alone = replace(output, maps={})
    [_, same] = system.predict(alone, geometries=[geometry] * 2, texts=["a", "b"], threshold=0.5)
    assert np.array_equal(same.probability, some.probability)


def test_what_has_no_annotation_is_learned_as_none() -> None:
    system = system_of()
    items = items_of(system, texts=TEXTS[:2])
    bare = [replace(item, target=torch.zeros_like(item.target)) for item in items]
    ids = [SampleIds(image_id=1, ref_id=1, sentence_id=1, category_id=kind) for kind in (3, None)]
    tiny, none = (replace(item, ids=one) for item, one in zip(bare, ids, strict=True))
    targets = {}
    for name, given in {"told": [tiny, none], "not told": bare}.items():
        batch = collate(given)
        output = system(batch)
        output.extras["regions"] = replace(output.extras["regions"], no_target=torch.tensor([[9.0, -9.0]] * 2))
        targets[name] = float(system.loss(output, batch)["no_target"].detach())
    # An object too small for the input is a target still.
    assert targets == pytest.approx({"told": 0.5 * 18 * 1.1 / 2, "not told": 0.5 * 18}, rel=1e-3)
