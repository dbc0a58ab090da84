"""VLT: the contract in both variants, and what is its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers.ability_contracts import CachedFeaturesContract, ExplainableContract, ExportableContract
from helpers.small_models import recipe_of
from helpers.system_contract import TEXTS, items_of

from risctl.data.batch import collate
from risctl.errors import UsageError
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.schema import Recipe
from risctl.systems.base import System
from risctl.systems.registry import build_system
from risctl.systems.vlt.config import VLTModel

SMALL: dict[str, Any] = {
    "system": "vlt",
    "input_size": 64,
    "max_words": 8,
    "queries": 4,
    "hidden": 16,
    "heads": 2,
    "feed_forward": 24,
    "fusion_channels": 16,
    "head_channels": 12,
    "norm_momentum": 0.3,
    "visual": {"name": "small_cnn"},
    "text": {"hidden": 24, "dim": 12},
}


class VLTContract(CachedFeaturesContract, ExplainableContract, ExportableContract):
    """The reference reads padded words like words and the letterbox's border like the image."""

    masks_padding = False


class TestReference(VLTContract):
    """The published code's form, with learned embeddings."""

    def recipe(self) -> Recipe:
        return recipe_of(SMALL)


class TestPaper(VLTContract):
    """The paper's form, with fixed word vectors."""

    def recipe(self) -> Recipe:
        return recipe_of(SMALL | {"variant": "paper", "text": SMALL["text"] | {"vectors": "given.txt"}})

    def vectors(self, vocabulary: Vocabulary, recipe: Recipe) -> np.ndarray:
        values = np.random.default_rng(0).standard_normal((len(vocabulary), recipe.model.text.dim))
        values[:2] = 0
        return values.astype(np.float32)

    def may_lack_gradient(self, name: str) -> bool:
        """A bias of the keys moves all scores of a query alike, which no softmax sees; but for rounding it is zero."""
        return name.startswith("transformer.") and name.endswith("attention.key.bias")


def system_of(**changes: Any) -> System:
    torch.manual_seed(0)
    return build_system(VLTModel.model_validate(SMALL | changes), vocabulary=Vocabulary(["man", "left"]))


def test_the_published_size() -> None:
    """89,377,674 as Keras counts: with the norms' running statistics; 38,235,398 train."""
    with torch.device("meta"):
        model = VLTModel.model_validate({"system": "vlt", "text": {"vectors": "glove.txt"}})
        system = build_system(model, vocabulary=Vocabulary(["man"]))
    statistics = sum(value.numel() for name, value in system.named_buffers() if ".running_" in f".{name}")
    parameters = sum(parameter.numel() for parameter in system.parameters())
    assert parameters + statistics == 89_377_674
    assert sum(parameter.numel() for parameter in system.parameters() if parameter.requires_grad) == 38_235_398


@pytest.mark.parametrize(
    "changes",
    [
        {"input_size": 96},
        {"visual": {"name": "resnet18"}},
        {"visual": {"name": "darknet53"}, "fusion_channels": 32},
        {"queries": 7, "max_words": 20},
        {"hidden": 24, "heads": 3, "encoder_layers": 1, "decoder_layers": 3},
        {"visual": {"name": "small_cnn", "frozen": True}, "weight_penalty": 0.0},
    ],
)
def test_other_sizes_and_backbones(changes: dict[str, Any]) -> None:
    system = system_of(**changes).eval()
    size = changes.get("input_size", 64)
    words = torch.ones(1, changes.get("max_words", 8), dtype=torch.int64)
    with torch.no_grad():
        visual = system.encode_image(torch.rand(1, 3, size, size), torch.zeros(1, size, size, dtype=torch.bool))
        output = system.decode(visual, system.encode_text(words, words > 0))
    assert output.logits.shape == (1, size // 2, size // 2)
    assert output.maps["confidences"].shape == (1, changes.get("queries", 4))
    assert output.maps["word_weights"].shape == (1, changes.get("queries", 4), words.shape[1])
    assert output.maps["attention"].shape == (1, size // 16, size // 16)
    for name in ("word_weights", "attention"):
        sums = output.maps[name].flatten(1 if name == "attention" else 2).sum(-1)
        assert torch.allclose(sums, torch.ones_like(sums), atol=1e-5)


def test_targets_have_half_the_inputs_size() -> None:
    system = system_of()
    (item,) = items_of(system, texts=TEXTS[:1])
    assert item.target is not None and item.target.shape == (32, 32)


def test_the_penalty_is_a_term_of_its_own() -> None:
    system = system_of(weight_penalty=0.5)
    batch = collate(items_of(system))
    terms = system.loss(system(batch), batch)
    assert set(terms) == {"mask", "weight_penalty"}
    kernels = [layer.weight for layer in system.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert terms["weight_penalty"].item() == pytest.approx(
        0.5 * sum(k.square().sum().item() for k in kernels), rel=1e-5
    )
    assert set(system_of(weight_penalty=0.0).loss(system(batch), batch)) == {"mask"}


def test_a_loss_without_targets_is_refused() -> None:
    system = system_of()
    items = items_of(system)
    from dataclasses import replace

    batch = collate([replace(item, target=None) for item in items])
    with pytest.raises(ValueError, match="targets"):
        system.loss(system(batch), batch)


def test_training_on_single_samples_is_refused() -> None:
    system = system_of().train()
    with pytest.raises(UsageError, match="batch_size of at least 2"):
        system(collate(items_of(system, texts=TEXTS[:1])))


def test_mixed_precision_trains_and_evaluates() -> None:
    system = system_of().train()
    batch = collate(items_of(system))
    with torch.autocast("cpu", torch.bfloat16):
        terms = system.loss(system(batch), batch)
    assert all(value.dtype == torch.float32 and value.isfinite() for value in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in system.parameters() if parameter.grad is not None)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert system.eval()(batch).logits.isfinite().all()


def test_maps_are_not_computed_in_training() -> None:
    system = system_of().train()
    assert system(collate(items_of(system))).maps == {}


def test_vectors_of_another_shape_are_refused() -> None:
    with pytest.raises(UsageError, match=r"\(4, 12\), got \(3, 12\)"):
        build_system(
            VLTModel.model_validate(SMALL),
            vocabulary=Vocabulary(["man", "left"]),
            vectors=np.zeros((3, 12), np.float32),
        )


def test_thawed_vectors_train_and_frozen_ones_are_no_parameters() -> None:
    vectors = np.ones((4, 12), np.float32)

    def build(freeze: bool) -> System:
        text = SMALL["text"] | {"vectors": "given.txt", "freeze_vectors": freeze}
        model = VLTModel.model_validate(SMALL | {"text": text})
        return build_system(model, vocabulary=Vocabulary(["man", "left"]), vectors=vectors)

    frozen, thawed = build(True), build(False)
    assert "text.embedding.vectors" not in dict(frozen.named_parameters())
    assert "text.embedding.vectors" in dict(thawed.named_parameters())
    assert torch.equal(frozen.state_dict()["text.embedding.vectors"], torch.ones(4, 12))
    assert torch.equal(thawed.state_dict()["text.embedding.vectors"], torch.ones(4, 12))
