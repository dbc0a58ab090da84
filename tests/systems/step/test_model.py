"""STEP: the contract in several forms, and what is its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.ability_contracts import CachedFeaturesContract, ExplainableContract, ExportableContract
from helpers.small_models import STEP as SMALL
from helpers.small_models import recipe_of
from helpers.system_contract import SIZES, WORDS, items_of

from risctl.data.batch import Batch, collate
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.schema import Recipe
from risctl.systems.base import Output, System
from risctl.systems.registry import build_system

TOLERANCE = 1e-5


def system_of(**changes: Any) -> System:
    torch.manual_seed(0)
    return build_system(recipe_of(SMALL | changes).model, vocabulary=Vocabulary(WORDS))


def settled(system: System) -> System:
    """Return the system with norms that have seen something, so that features are not all alike."""
    system.train()
    with torch.no_grad():
        for seed in range(3):
            system(batch_of(system, seed=seed))
    return system.eval()


def batch_of(system: System, **options: Any) -> Batch:
    return collate(items_of(system, **{"sizes": SIZES[:3]} | options))


@torch.no_grad()
def run(system: System, batch: Batch) -> Output:
    return system(batch)


class StepContract(CachedFeaturesContract, ExplainableContract, ExportableContract):
    """What lies in padding changes nothing, in any form."""

    def may_lack_gradient(self, name: str) -> bool:
        """The words' bias moves a pixel's score of all words alike, which no softmax sees."""
        return name == "text_vector.project.bias"


class TestSquare(StepContract):
    """The paper's form, two folds, with learned embeddings."""

    def recipe(self) -> Recipe:
        return recipe_of(SMALL | {"folds": 2})


class TestOtherwise(StepContract):
    """Where the paper states nothing, the other choice."""

    def recipe(self) -> Recipe:
        text = SMALL["text"] | {"directions": "summed"}
        return recipe_of(
            SMALL
            | {"coordinates": "unit", "first_map": "centre", "first_state": "learned", "gate_bias": 0.0, "text": text}
            | {"context_activation": "none", "gru_input": "heatmap_xy"}
        )


class TestAblated(StepContract):
    """Without refinement and re-weighted text, deepest level first, with fixed word vectors and a ResNet."""

    def recipe(self) -> Recipe:
        text = SMALL["text"] | {"vectors": "given.txt"}
        return recipe_of(
            SMALL
            | {"refinement": "none", "reweighted_text": False, "order": "F5-F1", "state_stride": 8, "text": text}
            | {"visual": {"name": "resnet18", "frozen_stages": 2}}
        )

    def vectors(self, vocabulary: Vocabulary, recipe: Recipe) -> np.ndarray:
        values = np.random.default_rng(0).standard_normal((len(vocabulary), recipe.model.text.dim))
        values[:2] = 0
        return values.astype(np.float32)


class TestBare(StepContract):
    """Without attention to words, context and coordinates: three rows of the paper's ablation together."""

    def recipe(self) -> Recipe:
        return recipe_of(SMALL | {"text_attention": False, "context_rate": None, "coordinates": "none"})


@pytest.mark.parametrize("change", [{"text_attention": False}, {"context_rate": None}, {"coordinates": "none"}])
def test_a_part_that_is_ablated_changes_the_output(change: dict[str, Any]) -> None:
    published, ablated = settled(system_of()), settled(system_of(**change))
    shared = {
        name: value
        for name, value in published.state_dict().items()
        if name in ablated.state_dict() and ablated.state_dict()[name].shape == value.shape
    }
    ablated.load_state_dict(shared, strict=False)
    batch = batch_of(published)
    assert not torch.allclose(run(published, batch).logits, run(ablated, batch).logits, atol=1e-4)


def test_the_loss_is_the_papers_mean_over_all_pixels_of_the_resized_probability() -> None:
    system = settled(system_of())
    batch = batch_of(system, sizes=((64, 20), (30, 60)))
    output = run(system, batch)
    output = replace(output, logits=(output.logits - output.logits.mean()) / output.logits.std())
    assert batch.padding.any() and batch.targets is not None
    resized = torch.nn.functional.interpolate(
        output.logits.sigmoid()[:, None], size=batch.targets.shape[1:], mode="bilinear", align_corners=False
    )[:, 0]
    targets = batch.targets.clamp(0, 1)
    entropy = -(targets * resized.log() + (1 - targets) * (1 - resized).log())
    assert torch.allclose(system.loss(output, batch)["mask"], entropy.mean(), atol=1e-5)
    for change in ({"loss_pixels": "image"}, {"upsampled": "logits"}):
        other = system_of(**change).loss(output, batch)["mask"]
        assert not torch.allclose(other, system.loss(output, batch)["mask"], atol=1e-4)


def test_the_published_size() -> None:
    """The five maps of ResNet-101 with their coordinates, and T = 25 steps."""
    with torch.device("meta"):
        model = recipe_of({"system": "step", "text": {"vectors": "glove.txt"}}).model
        system = build_system(model, vocabulary=Vocabulary(["man"]))
    assert [level.context.conv.in_channels for level in system.levels.values()] == [72, 264, 520, 1032, 2056]
    assert [level.context.conv.dilation for level in system.levels.values()] == [(3, 3)] * 5
    images, padding = torch.zeros(1, 3, 320, 320, device="meta"), torch.zeros(1, 320, 320, device="meta") > 0
    maps = system.visual(images, padding).maps
    assert [tuple(feature_map.shape[1:]) for feature_map in maps] == [
        (64, 80, 80),
        (256, 80, 80),
        (512, 40, 40),
        (1024, 40, 40),
        (2048, 40, 40),
    ]
    assert system.text.channels == 2000
    assert len(system.course) == 25


def test_maps_show_every_step() -> None:
    system = settled(system_of(folds=2))
    batch = batch_of(system)
    output = run(system, batch)
    heatmaps, masks, words = (output.maps[name] for name in ("heatmaps", "masks", "word_attention"))
    assert heatmaps.shape == masks.shape == (3, 10, 16, 16)
    assert output.maps["levels"][0].tolist() == [1, 2, 3, 4, 5] * 2
    assert heatmaps.min() >= 0 and heatmaps.max() <= 1 + TOLERANCE
    assert torch.allclose(masks[:, -1], output.logits.sigmoid())
    assert torch.allclose(words.sum(dim=2), torch.ones(3, 10), atol=TOLERANCE)
    assert not words.masked_select(~batch.word_mask[:, None, :]).any()
    assert words.masked_select(batch.word_mask[:, None, :]).all()
    assert system.train()(batch).maps == {}


def test_padding_words_never_take_attention() -> None:
    """A longer row of padding changes nothing, whatever stands in it."""
    system = settled(system_of())
    batch = batch_of(system)
    output = run(system, batch)
    visual = system.encode_image(batch.images, batch.padding)
    words = torch.cat([batch.words, torch.full((3, 30), 4)], dim=1)
    mask = torch.cat([batch.word_mask, torch.zeros(3, 30, dtype=torch.bool)], dim=1)
    with torch.no_grad():
        longer = system.decode(visual, system.encode_text(words, mask))
    assert torch.allclose(output.logits, longer.logits, atol=TOLERANCE)
    assert not longer.maps["word_attention"][:, :, 8:].any()


@pytest.mark.parametrize("changes", [{}, {"state_stride": 8, "gru_input": "heatmap_xy"}, {"refinement": "none"}])
def test_an_image_is_segmented_alike_in_a_batch_of_other_sizes(changes: dict[str, Any]) -> None:
    """Inputs of several sizes: a batch pads them, and the masks are those that each image gets alone."""
    system = settled(system_of(input_fit="longest", **changes))
    items = items_of(system, sizes=((40, 60), (90, 30), (64, 50)))
    assert len({item.image.shape for item in items}) == 3
    batch = collate(items)
    together = system.predict(run(system, batch), geometries=batch.geometries, texts=batch.texts, threshold=0.5)
    for item, one in zip(items, together, strict=True):
        single = collate([item])
        [alone] = system.predict(run(system, single), geometries=single.geometries, texts=[item.text], threshold=0.5)
        assert one.probability.shape == (item.geometry.height, item.geometry.width)
        assert np.allclose(one.probability, alone.probability, atol=TOLERANCE)
        assert np.allclose(one.maps["word_attention"], alone.maps["word_attention"], atol=TOLERANCE)
    losses = [system.loss(run(system, collate([item])), collate([item]))["mask"] for item in items]
    assert torch.allclose(system.loss(run(system, batch), batch)["mask"], torch.stack(losses).mean(), atol=TOLERANCE)


@pytest.mark.parametrize("fit", ["square", "longest"])
def test_images_of_one_row_or_pixel(fit: str) -> None:
    """Letterboxed, an image of one row covers less than a cell; it still is one."""
    system = settled(system_of(input_fit=fit))
    batch = batch_of(system, sizes=((1, 400), (300, 1), (1, 1)))
    output = run(system, batch)
    assert output.logits.isfinite().all()
    assert all(values.isfinite().all() for values in output.maps.values())
    assert system.loss(output, batch)["mask"].isfinite()


def test_half_precision_gives_about_the_same() -> None:
    system = settled(system_of(folds=2))
    batch = batch_of(system)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = run(system, batch)
    assert torch.allclose(half.logits.float().sigmoid(), run(system, batch).logits.sigmoid(), atol=0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = system.train().loss(system(batch), batch)["mask"]
    loss.backward()
    assert loss.isfinite()


def test_the_previous_map_weighs_the_text() -> None:
    """From the second step on, and only if that is asked for."""
    system = settled(system_of(folds=2))
    torch.nn.init.constant_(system.refinement.out.weight, 3.0)
    batch = batch_of(system)
    own = run(system, batch).maps["word_attention"]
    system.reweighted_text = False
    plain = run(system, batch).maps["word_attention"]
    assert torch.equal(own[:, 0], plain[:, 0])
    assert (own[:, 1:] - plain[:, 1:]).abs().amax(dim=(0, 2)).min() > 1e-7
    assert torch.allclose(plain[:, :5], plain[:, 5:], atol=TOLERANCE)
    assert not torch.allclose(own[:, :5], own[:, 5:], atol=1e-7)


@pytest.mark.parametrize(
    ("changes", "levels"),
    [
        ({"folds": 3}, [1, 2, 3, 4, 5] * 3),
        ({"order": "F5-F1"}, [5, 4, 3, 2, 1]),
        ({"levels": [4], "folds": 5}, [4] * 5),
        ({"levels": [2, 5], "order": "F5-F1", "folds": 2}, [5, 2, 5, 2]),
        ({"refinement": "none"}, [1, 2, 3, 4, 5]),
        ({"gru_input": "heatmap_xy", "state_stride": 8}, [1, 2, 3, 4, 5]),
    ],
)
def test_ablations(changes: dict[str, Any], levels: list[int]) -> None:
    system = settled(system_of(**changes))
    batch = batch_of(system)
    output = run(system, batch)
    assert output.maps["levels"][0].tolist() == levels
    assert output.logits.isfinite().all()
    assert len(system.visual.channels) == max(levels)


def test_what_the_paper_leaves_open_can_be_chosen() -> None:
    """Coordinates from 0 to 1; a first map with its height in the middle; other biases; directions summed."""
    own, other = system_of(), system_of(coordinates="unit", gate_bias=-2.0, candidate_bias=0.5)
    padding = torch.zeros(1, 64, 64, dtype=torch.bool)
    signed, unit = (one._coordinates(padding, 8) for one in (own, other))
    assert torch.allclose(unit[:, :6], (signed[:, :6] + 1) / 2, atol=1e-6) and torch.equal(unit[:, 6:], signed[:, 6:])
    assert (own.refinement.gates.bias == 1).all() and (own.refinement.candidate.bias == 0).all()
    assert (other.refinement.gates.bias == -2).all() and (other.refinement.candidate.bias == 0.5).all()
    assert len(own._first_map(padding).unique()) == 1
    central = system_of(first_map="centre")._first_map(padding)[0]
    assert central.argmax() in (119, 120, 135, 136) and central[0, 0] == central.min()
    assert system_of(text=SMALL["text"] | {"directions": "summed"}).text.channels == own.text.channels // 2


def test_folds_share_their_modules() -> None:
    count = {folds: sum(parameter.numel() for parameter in system_of(folds=folds).parameters()) for folds in (1, 5)}
    assert count[1] == count[5]


def test_frozen_parts_of_the_backbone_stay() -> None:
    system = system_of(visual={"name": "small_cnn", "frozen_stages": 2, "frozen_norms": True}).train()
    before = {name: one.clone() for name, one in system.visual.state_dict().items()}
    batch = batch_of(system)
    system.loss(system(batch), batch)["mask"].backward()
    after = system.visual.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    trained = {name.split(".")[0] for name, one in system.visual.named_parameters() if one.grad is not None}
    assert trained == {"layer2", "layer3", "layer4"}
