"""CRIS: the contract with CLIP's encoders and with light ones, and what is its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers.ability_contracts import CachedFeaturesContract, ExplainableContract, ExportableContract
from helpers.small_models import CRIS, recipe_of
from helpers.system_contract import TEXTS, items_of

from risctl.core.encoders.visual import clip_resnet_maps
from risctl.core.encoders.visual.clip_resnet_maps import CLIPResNetNumbers
from risctl.data.batch import collate
from risctl.errors import UsageError
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.load import parse_recipe
from risctl.recipe.schema import Recipe
from risctl.systems.base import System
from risctl.systems.cris.config import CRISModel
from risctl.systems.registry import build_system

TINY_CLIP = CLIPResNetNumbers(layers=(1, 1, 1, 1), channels=8, width=20, resolution=64)


class CRISContract(CachedFeaturesContract, ExplainableContract, ExportableContract):
    """The published code processes the letterbox's border like the image; words are padded to one length."""

    masks_padding = False

    def stir(self, system: System) -> None:
        """Let the norms' statistics follow the few batches that they see; else a deep network answers nothing."""
        for module in system.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.momentum = 0.5

    def may_lack_gradient(self, name: str) -> bool:
        """A bias of keys moves all scores of a query alike, which no softmax sees; but for rounding it is zero.

        Nor are all positions used: those of longer texts, and the pool's position of the mean.
        """
        return name.endswith("k_proj.bias")


class TestClip(CRISContract):
    """The published form, small: CLIP's ResNet through its pool, CLIP's text transformer."""

    @pytest.fixture(scope="class", autouse=True)
    def tiny_numbers(self) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(clip_resnet_maps.NUMBERS, "clip_resnet50", TINY_CLIP)
            yield

    def recipe(self) -> Recipe:
        return recipe_of(CRIS | {"visual": {"name": "clip_resnet50"}})


class TestLight(CRISContract):
    """A backbone and a text encoder that are not CLIP's."""

    def recipe(self) -> Recipe:
        return recipe_of(CRIS | {"text": {"name": "bigru", "hidden": 24, "dim": 12}})


def system_of(**changes: Any) -> System:
    torch.manual_seed(0)
    return build_system(CRISModel.model_validate(CRIS | changes), vocabulary=Vocabulary(["man", "left"]))


@pytest.mark.parametrize(
    ("name", "projection", "parameters"), [("clip_resnet50", 1024, 146_849_122), ("clip_resnet101", 512, 161_251_682)]
)
def test_the_published_sizes(name: str, projection: int, parameters: int) -> None:
    """Without CLIP's temperature, one number that CRIS never uses."""
    section = {"system": "cris", "visual": {"name": name}, "text": {"tokens": None, "projection": projection}}
    with torch.device("meta"):
        system = build_system(
            CRISModel.model_validate(section), vocabulary=Vocabulary(f"word{n}" for n in range(49_406))
        )
    assert sum(parameter.numel() for parameter in system.parameters()) == parameters - 1


@pytest.mark.parametrize(
    "changes",
    [
        {"input_size": 96},
        {"visual": {"name": "resnet18"}},
        {"text": {"name": "bilstm", "hidden": 8, "dim": 8}, "max_words": 20},
        {"hidden": 24, "heads": 3, "decoder_layers": 1},
    ],
)
def test_other_sizes_and_encoders(changes: dict[str, Any]) -> None:
    system = system_of(**changes).eval()
    size = changes.get("input_size", 64)
    words = torch.ones(2, changes.get("max_words", 8), dtype=torch.int64)
    with torch.no_grad():
        visual = system.encode_image(torch.rand(2, 3, size, size), torch.zeros(2, size, size, dtype=torch.bool))
        output = system.decode(visual, system.encode_text(words, words > 0))
    assert output.logits.shape == (2, size // 4, size // 4)
    shares = output.maps["word_attention"]
    assert shares.shape == (2, words.shape[1], size // 16, size // 16)
    assert torch.allclose(shares.sum(1), torch.ones_like(shares[:, 0]), atol=1e-5)


def test_targets_have_a_quarter_of_the_inputs_size_and_soft_edges() -> None:
    system = system_of()
    (item,) = items_of(system, texts=TEXTS[:1])
    assert item.target is not None and item.target.shape == (16, 16)
    assert item.target.min() == 0 and item.target.max() == 1


def test_padding_of_words_changes_nothing() -> None:
    system = system_of().eval()
    items = items_of(system, texts=TEXTS[:1])
    batch = collate(items)
    short = int(batch.word_mask.sum())
    with torch.no_grad():
        visual = system.encode_image(batch.images, batch.padding)
        padded = system.decode(visual, system.encode_text(batch.words, batch.word_mask)).logits
        alone = system.decode(visual, system.encode_text(batch.words[:, :short], batch.word_mask[:, :short])).logits
    assert torch.allclose(padded, alone, atol=1e-5)


def test_the_backbone_runs_once_for_two_phrases() -> None:
    system = system_of().eval()
    calls = []
    system.visual.register_forward_hook(lambda *_: calls.append(1))
    system.neck.fine.register_forward_hook(lambda *_: calls.append(1))
    batch = collate(items_of(system))
    with torch.no_grad():
        visual = system.encode_image(batch.images[:1], batch.padding[:1])
        for row in range(2):
            system.decode(visual, system.encode_text(batch.words[row : row + 1], batch.word_mask[row : row + 1]))
    assert len(calls) == 2


def test_a_loss_without_targets_is_refused() -> None:
    from dataclasses import replace

    system = system_of()
    batch = collate([replace(item, target=None) for item in items_of(system)])
    with pytest.raises(ValueError, match="targets"):
        system.loss(system(batch), batch)


def test_training_on_single_samples_is_refused() -> None:
    system = system_of().train()
    with pytest.raises(UsageError, match="batch_size of at least 2"):
        system(collate(items_of(system, texts=TEXTS[:1])))


def test_a_text_longer_than_clip_reads_is_refused() -> None:
    system = system_of().eval()
    with pytest.raises(UsageError, match="at most 77 tokens, got 78"):
        system.encode_text(torch.ones(1, 78, dtype=torch.int64), torch.ones(1, 78, dtype=torch.bool))


def test_its_own_protocol_is_the_default() -> None:
    values: dict[str, Any] = {"name": "one", "model": CRIS, "data": {"store": "a.h5"}, "train": {"epochs": 1}}
    assert parse_recipe(values, source="test").eval.protocol == "cris"
    assert parse_recipe(values | {"eval": {"text_batch": 3}}, source="test").eval.protocol == "cris"
    assert parse_recipe(values | {"eval": {"protocol": "mcn"}}, source="test").eval.protocol == "mcn"
    vlt = values | {"model": {"system": "vlt"}}
    assert parse_recipe(vlt, source="test").eval.protocol == "original"
