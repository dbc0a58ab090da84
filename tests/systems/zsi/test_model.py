"""ZSI: the contract in both forms, and what is its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.ability_contracts import DetectorContract, InstanceLearnerContract
from helpers.small_models import ZSI as SMALL
from helpers.small_models import recipe_of
from helpers.system_contract import WORDS, items_of
from helpers.tiny import tiny_store

from risctl.core.heads.background_rpn import Proposals
from risctl.core.heads.box_conventions import BoxConvention
from risctl.core.heads.semantic_box import STDS
from risctl.data.batch import Batch, InstanceTargets, collate
from risctl.data.loading.instance_dataset import InstanceDataset
from risctl.data.store.reader import Store
from risctl.language.coco_classes import CLASSES, SPLITS
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.schema import Recipe
from risctl.systems.base import System
from risctl.systems.registry import build_system
from risctl.systems.zsi.model import ZSI
from risctl.systems.zsi.targets import Instances, sample_anchors, sample_regions

REFERENCE: dict[str, Any] = {
    "conventions": "mmdet1",
    "tower": "reference",
    "encoder_kernel": 3,
    "mask_background_sync": "generalised",
    "unseen_boxes": "reference",
    "border_anchors": False,
}


CLASS_WORDS = " ".join((*SPLITS["48_17"].seen, *SPLITS["48_17"].unseen)).split()


def vectors_of(vocabulary: Vocabulary, dim: int = 12) -> np.ndarray:
    values = np.random.default_rng(0).standard_normal((len(vocabulary), dim))
    values[:2] = 0
    return values.astype(np.float32)


def system_of(*words: str, **changes: Any) -> ZSI:
    torch.manual_seed(0)
    vocabulary = Vocabulary((*WORDS, *CLASS_WORDS, *words))
    system = build_system(recipe_of(SMALL | changes).model, vocabulary=vocabulary, vectors=vectors_of(vocabulary))
    assert isinstance(system, ZSI)
    return settled(system)


def settled(system: ZSI) -> ZSI:
    """Return the system with norms that have seen something, and with scores that are not all alike."""
    torch.nn.init.normal_(system.box_head.to_words.weight, std=0.3)
    torch.nn.init.normal_(system.box_head.from_vocabulary.weight, std=0.3)
    system.train()
    with torch.no_grad():
        for seed in range(3):
            system(batch_of(system, seed=seed))
    return system.eval()


def batch_of(system: ZSI, *, sizes: tuple[tuple[int, int], ...] = ((40, 60), (70, 50)), seed: int = 0) -> Batch:
    return collate(items_of(system, sizes=sizes, seed=seed))


class ZSIContract(DetectorContract, InstanceLearnerContract):
    """On images that share an input's size, some with a border in it; several sizes have a test of their own."""

    sizes = ((40, 60), (50, 80), (40, 58), (30, 45))

    def vectors(self, vocabulary: Vocabulary, recipe: Recipe) -> np.ndarray:
        return vectors_of(vocabulary, recipe.model.text.dim)

    def stir(self, system: System) -> None:
        """The encoder begins with weights so small that all regions look alike."""
        assert isinstance(system, ZSI)
        for layer in (system.box_head.to_words, system.box_head.from_vocabulary):
            torch.nn.init.normal_(layer.weight, std=0.3)
        for part in (system.mask_head.to_words, system.mask_head.encode):
            torch.nn.init.normal_(part.weight, std=0.3)
        for name, scale in system.visual.named_parameters():
            if name.endswith("bn2.weight"):
                torch.nn.init.ones_(scale)


class TestPaper(ZSIContract):
    """The paper's form."""

    def recipe(self) -> Recipe:
        return recipe_of(SMALL)


class TestReference(ZSIContract):
    """The published code's form, with a ResNet whose norms stand still."""

    def recipe(self) -> Recipe:
        return recipe_of(SMALL | REFERENCE | {"visual": {"name": "resnet18"}})

    def may_lack_gradient(self, name: str) -> bool:
        """The anchors of the coarse maps reach beyond so small an image, so they are not trained."""
        return name.startswith(("neck.layer_blocks.1.", "neck.layer_blocks.2.", "neck.layer_blocks.3."))


class TestMobileNet(ZSIContract):
    """The light form with another's backbone, and masks learned in some regions only."""

    def recipe(self) -> Recipe:
        return recipe_of(SMALL | {"visual": {"name": "mobilenet_v2"}, "masks": 2})


def test_the_backbone_is_trained_as_published() -> None:
    """Norms keep their statistics, not their scales; the first stage stands still; a block begins by passing on."""
    backbone = system_of(visual={"name": "resnet18"}).visual.train()
    assert not any(module.training for module in backbone.modules() if isinstance(module, torch.nn.BatchNorm2d))
    frozen = {name.split(".")[0] for name, one in backbone.named_parameters() if not one.requires_grad}
    assert frozen == {"conv1", "bn1", "layer1"}
    assert backbone.layer2[0].bn1.weight.requires_grad
    assert not backbone.layer3[1].bn2.weight.any() and backbone.layer3[1].bn1.weight.all()


def test_anchors_across_the_border_are_trained_only_if_the_recipe_says_so() -> None:
    anchors = torch.tensor([[-4.0, 8, 28, 40], [8, 8, 40, 40], [40, 40, 72, 60], [30, 0, 60, 62]])
    instances = Instances(
        boxes=anchors.clone(), labels=torch.ones(4, dtype=torch.long), masks=torch.ones(4, 64, 64) > 0
    )
    count = {}
    for border in (True, False):
        sampled = sample_anchors(
            [torch.zeros(2, 2, 2)],
            [torch.zeros(4, 2, 2)],
            [anchors],
            instances,
            conventions=BoxConvention("torchvision"),
            height=64,
            width=64,
            border=border,
        )
        count[border] = int(sampled.labels.sum())
    assert count == {True: 4, False: 2}


def test_proposals_in_training_are_twice_as_many_as_published() -> None:
    model = recipe_of({"system": "zsi", "text": {"vectors": "given.txt", "vocabulary": "given.txt"}}).model
    assert (model.training_proposals, model.proposals) == (2000, 1000)
    system = system_of(proposals=5, training_proposals=9)
    maps = system._seen_maps(torch.rand(1, 3, 64, 64), torch.zeros(1, 64, 64, dtype=torch.bool))[0][0]
    assert len(system.eval().propose(maps, height=64, width=64).corners) == 5
    assert len(system.train().propose(maps, height=64, width=64).corners) == 9


def test_losses_are_means_over_the_samples_of_the_batch() -> None:
    """An image with more matched regions counts more than another; only pooled over each image they count alike."""
    system = system_of(loss_pooling="image").train()
    batch = batch_of(system)
    output = system(batch)
    terms = {}
    for pooling in ("image", "batch"):
        torch.manual_seed(0)
        system.loss_pooling = pooling
        terms[pooling] = system.loss(output, batch)
    torch.manual_seed(0)
    rows = range(len(batch.images))
    instances = [
        system._instances(row, output.extras["regions"][row], output.extras["sentence_vectors"][row], batch)
        for row in rows
    ]
    parts = [system._sample(output.extras["regions"][row], instances[row]) for row in rows]
    counts = torch.tensor([float(len(regions.labels)) for _, regions, *_ in parts])
    means = torch.stack([system._losses(part)["class"] for part in parts])
    assert torch.allclose(terms["batch"]["class"], (counts * means).sum() / counts.sum(), atol=1e-5)
    assert torch.allclose(terms["image"]["class"], means.mean(), atol=1e-5)
    assert set(terms["batch"]) == set(terms["image"])


def test_the_published_size() -> None:
    """The 48/17 and 65/15 checkpoints' shapes, and how many parameters there are without the backbone."""
    for split, boxes in (("48_17", 196), ("65_15", 264)):
        model = recipe_of({"system": "zsi", "split": split, "text": {"vectors": "GoogleNews.bin"}, **REFERENCE}).model
        with torch.device("meta"):
            system = build_system(model, vocabulary=Vocabulary(["man"]))
        assert isinstance(system, ZSI)
        assert tuple(system.box_head.deltas.weight.shape) == (boxes, 1024)
        assert tuple(system.box_head.vocabulary.shape) == (4717, 300)
        assert tuple(system.seen.shape) == (boxes // 4, 300)


def test_an_image_is_segmented_alike_in_a_batch_of_other_sizes() -> None:
    system = system_of()
    items = items_of(system, sizes=((40, 60), (90, 40), (64, 64)))
    assert len({item.image.shape for item in items}) == 3
    batch = collate(items)
    with torch.no_grad():
        together = system(batch).logits
        for row, item in enumerate(items):
            alone = system(collate([item])).logits[0]
            height, width = alone.shape
            assert torch.allclose(together[row, :height, :width], alone, atol=1e-5)


def test_background_is_learned_where_regions_are_proposed() -> None:
    system = system_of()
    with torch.no_grad():
        system.rpn.compare.weight[0::2] = torch.tensor([1.0, 2.0, 6.0])[:, None, None, None].expand(3, 12, 1, 1)
    assert torch.allclose(system.background, torch.full((12,), 3.0))
    assert torch.allclose(system.mask_vectors(system.seen, generalised=False)[0], system.background)
    system.mask_background_sync = "generalised"
    assert torch.equal(system.mask_vectors(system.seen, generalised=False), system.seen)
    assert torch.allclose(system.mask_vectors(system.seen, generalised=True)[0], system.background)


def test_no_gradient_reaches_the_background_through_the_heads() -> None:
    system = system_of().train()
    batch = batch_of(system)
    terms = system.loss(system(batch), batch)
    (terms["class"] + terms["mask"]).backward()
    assert system.rpn.compare.weight.grad is None or not system.rpn.compare.weight.grad.any()
    assert system.box_head.to_words.weight.grad.any()


def test_unseen_scores_are_the_seen_distribution_through_word_space() -> None:
    system = system_of()
    regions = system.encode_image(*_one(system)).regions[0]
    seen, unseen = system.query_split()
    shares = regions.boxes.scores.softmax(1)
    mean = shares @ torch.cat([system.background[None], system.seen[1:]])
    assert torch.allclose(system.classify(regions.boxes, unseen)[:, 1:], mean @ system.unseen[1:].T, atol=1e-5)
    assert torch.allclose(system.classify(regions.boxes, seen)[:, 1:], mean @ system.seen[1:].T, atol=1e-5)


def test_whose_box_an_unseen_class_gets() -> None:
    assert system_of(**REFERENCE).query_split()[1].box_classes.tolist() == list(range(1, 18))
    system = system_of()
    wanted = system.query(system.seen[[5, 7]] * 0.5).box_classes
    assert wanted.tolist() == [5, 7]


def test_a_phrase_is_what_its_noun_and_its_place_say() -> None:
    """Of two things found equally good, "left" and "right" choose; the noun decides what is looked for."""
    system = system_of("zebra")
    words, mask = system.preprocess.text("the left dog behind the man")
    asked = system.encode_text(words[None], mask[None]).sentence[0]
    dog = system.text.vectors[system.text.words.index("dog")]
    assert torch.allclose(asked[:12], dog, atol=1e-6)
    assert asked[12:].tolist() == [1, 0, 0, 0, 0, 0, 0, 1]


def test_an_expression_is_encoded_by_the_vector_that_was_trained() -> None:
    """A class has the split's own vector, in the plural and of two words too; who knows no word asks for nothing."""
    system = system_of("traffic", "light", "dogs", "far", "right", split="65_15")
    system.unseen += 1
    system.seen += 1

    def asked(text: str) -> torch.Tensor:
        words, mask = system.preprocess.text(text)
        return system.encode_text(words[None], mask[None]).sentence[0]

    fork, dog = (SPLITS["65_15"].unseen.index("fork"), SPLITS["65_15"].seen.index("dog"))
    assert torch.equal(asked("the fork on the far right")[:12], system.unseen[1 + fork])
    assert asked("the fork on the far right")[12:].tolist() == [0, 1, 0, 0, 0, 0, 0, 1]
    assert torch.equal(asked("two small dogs")[:12], system.seen[1 + dog])
    light = SPLITS["65_15"].seen.index("traffic light")
    assert torch.equal(asked("second traffic light from left")[:12], system.seen[1 + light])
    assert not asked("xyzzy")[:12].any()


def test_seen_categories_among_the_queried_make_detection_generalised(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the published 48/17 has it: the mask head's background is that of the proposals only then."""
    system = system_of(mask_background_sync="generalised")
    image, geometry = system.preprocess.image(np.zeros((50, 70, 3), dtype=np.uint8))
    visual = system.encode_image(image[None], geometry.padding()[None])
    told: list[bool] = []
    own = ZSI.mask_vectors
    monkeypatch.setattr(
        ZSI,
        "mask_vectors",
        lambda self, vectors, *, generalised: (told.append(generalised), own(self, vectors, generalised=generalised))[
            1
        ],
    )
    for parts, generalised in (
        ([("dog", "cup")], False),
        ([("dog", "zebra")], True),
        ([("zebra",), ("dog",)], True),
    ):
        told.clear()
        assert system.detect(visual, parts, geometry=geometry, min_score=-1.0)
        assert set(told) == {generalised}


def _one(system: ZSI) -> tuple[torch.Tensor, torch.Tensor]:
    batch = batch_of(system, sizes=((50, 70),))
    return batch.images, batch.padding


def test_all_annotated_instances_of_seen_categories_are_targets() -> None:
    """Of a batch with things: seen classes count, with their boxes; unseen and other ones are no targets."""
    system = system_of().train()
    batch = batch_of(system, sizes=((40, 60),))
    masks = torch.zeros(3, 64, 96, dtype=torch.bool)
    masks[0, 8:24, 10:42] = masks[1, 30:60, 50:90] = masks[2, :10, :10] = True
    ids = {name: number for number, name in CLASSES.items()}
    categories = torch.tensor([ids["zebra"], ids["skateboard"], ids["person"]])
    batch = replace(batch, instances=(InstanceTargets(categories=categories, masks=masks),))
    output = system(batch)
    found = system._instances(0, output.extras["regions"][0], output.extras["sentence_vectors"][0], batch)
    assert found.labels.tolist() == [1 + SPLITS["48_17"].seen.index(name) for name in ("zebra", "person")]
    assert found.boxes.tolist() == [[10, 8, 42, 24], [0, 0, 10, 10]]
    assert torch.equal(found.masks, masks[[0, 2]])
    terms = system.loss(output, batch)
    assert all(value.isfinite() for value in terms.values())
    nothing = InstanceTargets(categories=categories[:0], masks=masks[:0])
    terms = system.loss(output, replace(batch, instances=(nothing,)))
    assert terms["mask"] == 0 and terms["box"] == 0 and terms["class"] > 0
    sum(terms.values()).backward()


@pytest.mark.parametrize(("changes", "expected"), [({}, 0.001), ({"encoder_std": 0.1}, 0.1)])
def test_the_encoder_begins_with_weights_of_this_spread(changes: dict[str, Any], expected: float) -> None:
    vocabulary = Vocabulary((*WORDS, *CLASS_WORDS))
    head = build_system(recipe_of(SMALL | changes).model, vocabulary=vocabulary).get_submodule("box_head")
    for name, spread in (("to_words", expected), ("from_vocabulary", expected), ("deltas", 0.001)):
        assert float(head.get_submodule(name).weight.detach().std()) == pytest.approx(spread, rel=0.2)


def test_the_heads_learn_from_so_many_regions() -> None:
    """At most a quarter of them at things."""
    mask = torch.zeros(1, 64, 96, dtype=torch.bool)
    mask[0, 8:40, 10:60] = True
    thing = Instances.of_masks(mask, torch.tensor([3]))
    proposed = torch.cat([thing.boxes.expand(20, 4), torch.tensor([[70.0, 45, 90, 60]]).expand(20, 4)])
    conventions = system_of(regions=12).conventions
    sampled = sample_regions(proposed, thing, count=12, conventions=conventions, stds=STDS)
    assert len(sampled.corners) == 12 and int(sampled.inside.sum()) == 3
    assert system_of(regions=12).learned_regions == 12


@pytest.mark.parametrize(("masks", "expected"), [(None, 4), (1, 1), (9, 4)])
def test_masks_are_trained_in_a_limited_number_of_regions(
    masks: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    system = system_of(regions=16, masks=masks).train()
    thing = torch.zeros(1, 64, 96, dtype=torch.bool)
    thing[0, 8:40, 10:60] = True
    things = InstanceTargets(categories=torch.tensor([1]), masks=thing)  # a person
    own = Instances.of_masks(thing, things.categories)
    near = own.boxes + torch.tensor([[x, y, 0.0, 0.0] for x in range(4) for y in range(4)])  # more than may be chosen
    monkeypatch.setattr(system, "proposing", lambda *_, **__: Proposals(corners=near, scores=torch.ones(len(near))))
    looked: list[int] = []
    look = system.look
    monkeypatch.setattr(system, "look", lambda maps, corners: looked.append(len(corners)) or look(maps, corners))
    batch = replace(batch_of(system, sizes=((40, 60),)), instances=(things,))
    terms = system.loss(system(batch), batch)
    assert looked == [expected] and terms["mask"] > 0


def test_training_items_are_images_with_all_their_instances(tmp_path: Path) -> None:
    """A flipped image has flipped masks, and a batch keeps them."""
    store = Store(tiny_store(tmp_path, images=4, validation=1))
    system = system_of()
    items = {flip: InstanceDataset(store, "train", system.preprocess, flip=flip) for flip in (0.0, 1.0)}
    assert len(items[0.0]) == 3
    plain, mirrored = (items[flip].item(0, 0) for flip in (0.0, 1.0))
    assert plain.instances.categories.tolist() == [1, 1]
    width = plain.geometry.inner_width
    assert (plain.instances.masks[..., :width].flip(-1) == mirrored.instances.masks[..., :width]).float().mean() > 0.97
    batch = collate([plain, mirrored]).to("cpu")
    assert batch.instances is not None and len(batch.instances) == 2
