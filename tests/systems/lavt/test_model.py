"""LAVT: the contract with Swin and a light backbone, and what is its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers.ability_contracts import CachedFeaturesContract, ExplainableContract, ExportableContract
from helpers.small_models import LAVT as SMALL
from helpers.small_models import recipe_of
from helpers.system_contract import items_of
from torch.nn import functional

from risctl.core.losses.mask import weighted_cross_entropy
from risctl.data.batch import collate
from risctl.errors import RecipeError
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.schema import Recipe
from risctl.systems.base import System
from risctl.systems.lavt.config import LAVTModel
from risctl.systems.registry import build_system


class LAVTContract(CachedFeaturesContract, ExplainableContract, ExportableContract):
    """Images fill the input, words are masked."""

    def stir(self, system: System) -> None:
        """Gates and tokens start so small that words would hardly matter."""
        with torch.no_grad():
            for name, parameter in system.named_parameters():
                if ".gate." in name or "word_embeddings" in name:
                    parameter.mul_(30)

    def may_lack_gradient(self, name: str) -> bool:
        """A bias of BERT's keys moves all scores of a token alike, which no softmax sees."""
        return name.endswith("attention.self.key.bias")


class TestLight(LAVTContract):
    """A convolutional backbone, two fusion heads, words of the training split."""

    def recipe(self) -> Recipe:
        return recipe_of(SMALL)


class TestSwin(LAVTContract):
    """The published backbone's kind, one stage smaller than a window."""

    sizes = ((40, 60), (70, 30))

    def recipe(self) -> Recipe:
        visual = {"name": "swin_t", "window": 4, "drop_path": 0.0}
        return recipe_of(SMALL | {"input_size": 64, "fusion_heads": [1, 1, 1, 1], "visual": visual})


def system_of(**changes: Any) -> System:
    torch.manual_seed(0)
    return build_system(LAVTModel.model_validate(SMALL | changes), vocabulary=Vocabulary(["man", "left"]))


def test_the_loss_is_the_two_class_cross_entropy() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(2, 2, 5, 7), torch.randint(0, 2, (2, 5, 7))
    expected = functional.cross_entropy(logits, target, weight=torch.tensor([0.9, 1.1]))
    assert torch.allclose(weighted_cross_entropy(logits[:, 1] - logits[:, 0], target.float()), expected)
    other = weighted_cross_entropy(logits[:, 1] - logits[:, 0], target.float(), weights=(1.0, 1.0))
    assert torch.allclose(other, functional.cross_entropy(logits, target))


def test_logits_have_the_inputs_size_and_predictions_are_kept_there() -> None:
    system = system_of().eval()
    batch = collate(items_of(system, texts=("man", "left")))
    with torch.no_grad():
        output = system(batch)
    assert output.logits.shape == (2, 64, 64)
    for row, one in enumerate(system.predict(output, geometries=batch.geometries, texts=batch.texts, threshold=0.5)):
        assert one.input_probability is not None
        assert np.allclose(one.input_probability, output.logits[row].sigmoid().numpy())
        assert one.probability.shape != one.input_probability.shape


def test_words_that_no_expression_reaches_are_not_computed() -> None:
    system = system_of(max_words=8).eval()
    ids, mask = system.preprocess.text("man left")
    text = system.encode_text(ids[None], mask[None])
    assert text.words.shape[1] == 2
    whole = system.text(ids[None], mask[None])
    assert torch.allclose(text.words, whole.words[:, :2], atol=1e-6)


def test_a_cut_expression_loses_its_end() -> None:
    from risctl.data.transforms.preprocess import SquarePreprocess
    from risctl.language.wordpiece import wordpiece

    tokens = wordpiece(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "box"], source="test")
    ids, mask = SquarePreprocess(size=32, max_words=3, vocabulary=tokens).text("red box red")
    assert ids.tolist() == [2, 4, 5] and mask.all()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"visual": {"name": "mobilenet_v2"}}, "small_cnn, resnet18, resnet50, resnet101, swin_t"),
        ({"visual": {"name": "hf:somewhere"}}, "one of small_cnn"),
        ({"fusion_heads": [1, 1, 1, 5], "visual": {"name": "swin_t"}}, "stage 4 of swin_t"),
        ({"input_size": 70}, "a multiple of 32"),
        ({"visual": {"name": "small_cnn", "window": 12}}, "null: small_cnn has no `window`"),
    ],
)
def test_a_wrong_section_is_refused_clearly(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(RecipeError, match=named):
        recipe_of(SMALL | changes)
