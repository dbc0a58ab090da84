"""Training as published: rates at every step, parameter groups, modes of frozen parts, items and steps of an epoch."""

from __future__ import annotations

import math
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.published_referformer import referformer_shapes
from helpers.published_vlt import darknet_convolutions
from helpers.tiny import tiny_store
from torch import nn

from risctl.data.datasets.registry import DATASETS
from risctl.data.loading.image_dataset import ReferringImageDataset
from risctl.data.loading.joint_dataset import JointDataset
from risctl.data.loading.loader import EpochSampler
from risctl.data.store.reader import Store
from risctl.data.transforms.preprocess import ShortSidePreprocess
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.load import load_recipe
from risctl.systems.base import System
from risctl.systems.referformer.published import our_name
from risctl.systems.registry import build_system
from risctl.training.lr_schedule import LRSchedule
from risctl.training.optimizer import build_optimizer, set_rate

TRAIN = {
    name: DATASETS[name].published[split_by]["train"]
    for name, split_by in (("refcoco", "unc"), ("refcoco+", "unc"), ("refcocog", "umd"))
}
"""Images, refs and sentences that the sets are published with."""


@cache
def built(name: str) -> System:
    """A recipe's system at its full size, without values."""
    with torch.device("meta"):
        return build_system(load_recipe(name).model, vocabulary=Vocabulary(["a", "b"]), vectors=None, pretrained=False)


def rates(name: str, *, steps_per_epoch: int, total: int) -> np.ndarray:
    """The learning rate of the main group at each step of a recipe's training."""
    optim = load_recipe(name).optim
    schedule = LRSchedule.of(optim, steps_per_epoch=steps_per_epoch, total=total)
    return np.array([optim.lr * schedule(step) for step in range(total)])


@pytest.mark.parametrize("name", ["vlt-refcoco", "vlt-refcoco+", "vlt-refcocog"])
def test_rates_of_vlt_are_the_published_ones_in_every_epoch(name: str) -> None:
    steps = math.ceil(int(TRAIN[name.removeprefix("vlt-")]["refs"] or 0) / 128)
    by_epoch = [1e-3] * 39 + [1e-4] * 5 + [1e-5] * 5 + [1e-6]
    found = rates(name, steps_per_epoch=steps, total=50 * steps)
    np.testing.assert_allclose(found, np.repeat(by_epoch, steps), rtol=1e-12)


def test_rates_of_step_fall_by_the_papers_power_over_700_000_steps() -> None:
    total = 700_000
    found = rates("step-refcoco", steps_per_epoch=120_624, total=total)
    np.testing.assert_allclose(found, 2.5e-4 * (1 - np.arange(total) / total) ** 0.9, rtol=1e-9)
    for name in ("step-refcoco", "step-refcoco+", "step-refcocog-google", "step-refclef"):
        recipe = load_recipe(name)
        assert (recipe.optim, recipe.train.max_steps) == (load_recipe("step-refcoco").optim, total)


@pytest.mark.parametrize(("name", "rate", "warmup"), [("zsi-48-17", 0.01, 500), ("zsi-65-15", 0.0075, 7000)])
def test_rates_of_zsi_warm_up_and_drop_as_in_its_configuration(name: str, rate: float, warmup: int) -> None:
    """mmdetection 1's `lr_config`: policy step at 8 and 11, linear warm-up from a third."""
    steps = 1500
    step = np.arange(12 * steps)
    epoch = step // steps
    regular = rate * 0.1 ** ((epoch >= 8).astype(int) + (epoch >= 11))
    share = (1 - step / warmup) * (1 - 1 / 3)
    published = np.where(step < warmup, regular * (1 - share), regular)
    np.testing.assert_allclose(rates(name, steps_per_epoch=steps, total=12 * steps), published, rtol=2e-4)


REFERFORMERS = {
    "referformer-pretrain": (12, (8, 10)),
    "referformer-refcoco": (12, (8, 10)),
    "referformer-ref-youtube-vos": (6, (3, 5)),
    "referformer-joint": (12, (8, 10)),
    "referformer-a2d": (6, (3, 5)),
    "referformer-a2d-scratch": (12, (8, 10)),
}


@pytest.mark.parametrize("name", REFERFORMERS)
def test_rates_of_referformer_are_those_of_multisteplr_in_every_group(name: str) -> None:
    """main.py: MultiStepLR stepped after each epoch, with groups at 1e-4, 5e-5 (backbone) and 1e-5 (text)."""
    (epochs, drops), steps = REFERFORMERS[name], 100
    recipe = load_recipe(name)
    modules = nn.ModuleDict({"visual": nn.Linear(2, 2), "text": nn.ModuleDict({"roberta": nn.Linear(2, 2)})})
    modules["rest"] = nn.Linear(2, 2)
    optimizer = build_optimizer(modules, recipe.optim)
    frozen = recipe.model.text.frozen
    wanted = sorted([5e-5, 1e-5, 1e-4])
    reference = torch.optim.AdamW([{"params": [nn.Parameter(torch.zeros(1))], "lr": rate} for rate in wanted])
    published = torch.optim.lr_scheduler.MultiStepLR(reference, list(drops))
    schedule = LRSchedule.of(recipe.optim, steps_per_epoch=steps, total=epochs * steps)
    for epoch in range(epochs):
        for step in range(epoch * steps, (epoch + 1) * steps):
            set_rate(optimizer, recipe.optim.lr * schedule(step))
            found = sorted(group["lr"] for group in optimizer.param_groups)
            assert found == pytest.approx(sorted(published.get_last_lr()), rel=1e-9), (epoch, step)
        reference.step()
        published.step()
    assert frozen == (name not in ("referformer-pretrain", "referformer-refcoco"))


def grouped(name: str) -> dict[str, tuple[float, float]]:
    """The learning rate and the weight decay of every parameter that a recipe trains."""
    system, optim = built(name), load_recipe(name).optim
    names = {id(one): own for own, one in system.named_parameters()}
    return {
        names[id(one)]: (group["lr"], group["weight_decay"])
        for group in build_optimizer(system, optim).param_groups
        for one in group["params"]
    }


@pytest.mark.parametrize("name", ["referformer-pretrain", "referformer-ref-youtube-vos", "referformer-a2d-scratch"])
def test_groups_of_referformer_by_the_published_names(name: str) -> None:
    """main_pretrain.py, opts.py, backbone.py: four groups by parts of names, and one decay for everything."""
    recipe = load_recipe(name)
    backbone = recipe.model.visual.name
    decay = 1e-4 if "scratch" in name else 5e-4
    wanted: dict[str, tuple[float, float]] = {}
    for theirs in referformer_shapes(backbone):
        resnet = backbone.startswith("resnet")
        norm = resnet and re.search(r"body\.(bn1|.*\.(bn\d|downsample\.1))\.", theirs)  # buffers of FrozenBatchNorm
        still = resnet and theirs.startswith(("backbone.0.body.conv1", "backbone.0.body.layer1"))
        repeated = theirs.startswith("transformer.decoder.bbox_embed.")
        buffer = theirs.endswith(("relative_position_index", "position_ids", "attn_mask"))
        if norm or still or repeated or buffer or (recipe.model.text.frozen and theirs.startswith("text_encoder.")):
            continue
        rate = 5e-5 if "backbone.0" in theirs else 1e-5 if "text_encoder" in theirs else 1e-4
        ours = our_name(theirs)
        assert ours is not None, theirs
        wanted[ours] = (rate, decay)
    found = grouped(name)
    assert found.keys() == wanted.keys()
    assert all(found[ours] == pytest.approx(values) for ours, values in wanted.items())


def test_vlt_trains_everything_behind_its_56th_convolution_at_one_rate() -> None:
    """Adam at 1e-3 without a decay of its own: the penalty on kernels is a term of the loss."""
    found = grouped("vlt-refcoco")
    assert set(found.values()) == {(1e-3, 0.0)}
    still = darknet_convolutions()[:56]
    frozen = [one for one in built("vlt-refcoco").visual.parameters() if not one.requires_grad]
    numbers = sum(kernel * kernel * inputs * outputs + 2 * outputs for kernel, inputs, outputs in still)
    assert sum(one.numel() for one in frozen) == numbers
    assert sum(one.numel() for one in built("vlt-refcoco").parameters() if one.requires_grad) == 38_235_398


@pytest.mark.parametrize(("name", "rate"), [("zsi-48-17", 0.01), ("zsi-65-15", 0.0075)])
def test_zsi_decays_all_that_it_trains_and_stands_still_up_to_the_first_stage(name: str, rate: float) -> None:
    """optimizer = dict(type='SGD', lr, momentum=0.9, weight_decay=1e-4), no paramwise options; frozen_stages=1."""
    found = grouped(name)
    assert set(found.values()) == {(rate, 1e-4)}
    still = {own for own, one in built(name).named_parameters() if not one.requires_grad}
    assert all(own.startswith(("visual.conv1.", "visual.bn1.", "visual.layer1.")) for own in still)
    assert {own for own in found if own.startswith("visual.layer2.0.bn1")}
    # The word vectors are fixed: no parameter compares with them but the background's, in the proposal network.
    assert not {own for own in found if "vectors" in own or own.split(".")[0] in ("seen", "unseen")}


def test_step_decays_what_it_trains_as_adams_penalty() -> None:
    assert set(grouped("step-refcoco").values()) == {(2.5e-4, 5e-3)}
    assert load_recipe("step-refcoco").optim.name == "adam"


@pytest.mark.parametrize(
    ("name", "norms", "dropouts"),
    [
        # BatchNorms in training mode, of all; dropouts that act, of all with a rate above 0.
        ("vlt-refcoco", 1.0, 1.0),  # Keras: the training phase reaches frozen norms too
        ("zsi-48-17", 0.0, 1.0),  # norm_eval
        ("referformer-pretrain", 0.0, 1.0),  # FrozenBatchNorm; RoBERTa trains
        ("referformer-ref-youtube-vos", 0.0, 1.0),  # RoBERTa is frozen, and its dropout acts
        ("referformer-a2d-scratch", 0.0, 1.0),
        ("step-refcoco", 0.0, 1.0),  # a batch of one has no statistics
        ("cris-refcoco", 1.0, 1.0),  # CLIP's norms train
        ("rela-grefcoco", 0.0, 1.0),  # BERT's dropout acts
        ("lavt-refcoco", 0.0, 0.0),  # BERT stays in evaluation mode
    ],
)
def test_modes_of_norms_and_dropouts_in_training(name: str, norms: float, dropouts: float) -> None:
    system = built(name).train()
    backbone_norms = [one for one in system.visual.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
    acting = [one for one in system.modules() if isinstance(one, nn.Dropout) and one.p > 0]
    if backbone_norms:
        assert np.mean([one.training for one in backbone_norms]) == norms
    if acting:
        assert np.mean([one.training for one in acting]) == dropouts > 0
    if name.startswith("referformer"):
        rates_of_text = {one.p for one in system.text.modules() if isinstance(one, nn.Dropout)}
        assert rates_of_text == {0.1}  # transformers' own rate in RoBERTa, and the resizer's
        others = {one.p for part, one in system.named_modules() if isinstance(one, nn.Dropout) and "text" not in part}
        assert others <= {0.0 if "scratch" in name else 0.1, 0.0}
    system.eval()
    assert not any(one.training for one in system.modules())


def keys(length: int, **options: Any) -> list[int]:
    sampler = EpochSampler(length, seed=0, **options)
    sampler.set_epoch(3)
    return [index for batch in sampler for _, index in batch]


def published_steps(items: int, *, gpus: int, batch: int) -> int:
    """Steps of an epoch under DistributedSampler, which repeats the first items, and a batch sampler that drops."""
    return math.ceil(items / gpus) // batch


@pytest.mark.parametrize(
    ("name", "items", "steps"),
    [
        # An item per sentence of the three sets together.
        ("referformer-pretrain", 321_327, published_steps(321_327, gpus=8, batch=2)),
        ("referformer-refcoco", 120_624, published_steps(120_624, gpus=8, batch=2)),
        ("referformer-refcoco+", 120_191, published_steps(120_191, gpus=8, batch=2)),
        ("referformer-refcocog", 80_512, published_steps(80_512, gpus=8, batch=2)),
        ("referformer-a2d", 15_741, published_steps(15_741, gpus=8, batch=2)),
        ("referformer-ref-youtube-vos", 60_001, published_steps(60_001, gpus=8, batch=1)),
        # An item per ref, in groups of 128 that begin anew at the end.
        ("vlt-refcoco", 42_404, math.ceil(42_404 / 128)),
        ("vlt-refcoco+", 42_278, math.ceil(42_278 / 128)),
        ("vlt-refcocog", 42_226, math.ceil(42_226 / 128)),
    ],
)
def test_items_and_steps_of_an_epoch_at_full_size(name: str, items: int, steps: int) -> None:
    recipe = load_recipe(name)
    data = recipe.data
    counted = "refs" if data.sentences == "random" else "sentences"
    sets = [one.split("/")[1].split("_")[0] for one in data.stores]
    if all(one in TRAIN for one in sets):
        assert sum(int(TRAIN[one][counted] or 0) for one in sets) == items
    found = keys(items, batch_size=data.batch_size, accumulate=recipe.optim.accumulate, last_batch=data.last_batch)
    per_step = data.batch_size * recipe.optim.accumulate
    assert len(found) == steps * per_step
    # A shuffled order of everything, and then the beginning again.
    assert sorted(found[:items]) == list(range(items))
    assert found[items:] == found[: len(found) - items]
    assert np.corrcoef(found[:items], np.arange(items))[0, 1] < 0.05


def published_group_order(flags: np.ndarray, *, batch: int, gpus: int, rng: np.random.Generator) -> list[list[int]]:
    """Batches of an epoch under mmdetection 1's DistributedGroupSampler, of all processes together."""
    indices: list[int] = []
    for flag in np.unique(flags):
        own = rng.permutation(np.flatnonzero(flags == flag)).tolist()
        whole = math.ceil(len(own) / batch / gpus) * batch * gpus
        indices += own + own[: whole - len(own)]
    starts = rng.permutation(len(indices) // batch)
    return [indices[start * batch : (start + 1) * batch] for start in starts]


@pytest.mark.parametrize(("upright", "wide"), [(21, 40), (5, 7), (0, 9), (16, 16)])
def test_batches_of_zsi_hold_images_of_one_orientation_as_published(upright: int, wide: int) -> None:
    recipe = load_recipe("zsi-48-17")
    assert recipe.data.same_orientation
    flags = np.random.default_rng(0).permutation([0] * upright + [1] * wide)
    sampler = EpochSampler(len(flags), 2, seed=0, accumulate=4, last_batch="drop", kinds=flags)
    published = published_group_order(flags, batch=2, gpus=4, rng=np.random.default_rng(1))
    for epoch in range(3):
        sampler.set_epoch(epoch)
        batches = [[index for _, index in batch] for batch in sampler]
        assert len(batches) == len(sampler) == len(published)
        assert all(len({flags[index] for index in batch}) == 1 for batch in batches)
        # Every image comes, and as many of each kind are repeated as published; first those of the kind's own order.
        times = np.bincount([index for batch in batches for index in batch], minlength=len(flags))
        theirs = np.bincount([index for batch in published for index in batch], minlength=len(flags))
        assert times.min() >= 1 and [times[flags == kind].sum() for kind in (0, 1)] == [
            theirs[flags == kind].sum() for kind in (0, 1)
        ]
    orders = []
    for _ in range(2):  # the order depends on the seed and the epoch alone, and can be gone on with
        sampler.set_epoch(2)
        orders.append(list(sampler))
    sampler.set_epoch(2)
    sampler.skip(3)
    assert orders[0] == orders[1] and list(sampler) == orders[0][3:]


def test_orientations_are_those_of_the_images(tmp_path: Path) -> None:
    with Store(tiny_store(tmp_path)) as store:  # all of its images are wide
        preprocess = ShortSidePreprocess(short=32, longest=None, max_words=4, vocabulary=Vocabulary(["left"]))
        first, second = (ReferringImageDataset(store, split, preprocess) for split in ("train", "val"))
        assert first.orientations().tolist() == [1] * len(first)
        assert JointDataset([first, second]).orientations().shape == (len(first) + len(second),)
