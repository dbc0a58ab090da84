"""Training on features computed before is training on the images; whatever makes them others is refused by name."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import small_models
from helpers.tiny import tiny_dataset, tiny_store

from risctl.data.features.reader import FeatureCache
from risctl.data.records import Expression
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.errors import DataError, UsageError
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.load import parse_recipe
from risctl.recipe.schema import Recipe
from risctl.systems.registry import build_system
from risctl.training.features import extract, keys
from risctl.training.features.attach_features import attach_features
from risctl.training.features.extract import FeatureRun
from risctl.training.features.keys import default_path
from risctl.training.run import resume, train

CPU = torch.device("cpu")
VLT = small_models.VLT | {
    "head_channels": 8,
    "dropout": 0.0,
    "visual": {"name": "small_cnn", "frozen": True},
    "text": {"hidden": 8, "dim": 8, "dropout": 0.0},
}
STEP = {
    "system": "step",
    "input_size": 64,
    "input_fit": "longest",
    "max_words": 6,
    "folds": 1,
    "filters": 4,
    "attention": 8,
    "embedding": 8,
    "context_channels": 8,
    "visual": {"name": "small_cnn", "frozen_stages": 3},
    "text": {"hidden": 8, "dim": 8},
}
REFERFORMER = {
    "system": "referformer",
    "queries": 1,  # with several, any noise may turn their matching over
    "short_side": 64,
    "longest_side": 96,
    "max_words": 8,
    "hidden": 32,
    "heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "feed_forward": 16,
    "mask_channels": 8,
    "visual": {"name": "small_cnn", "frozen": True},
    "text": {
        "tokens": None,
        "weights": None,
        "layers": 1,
        "width": 16,
        "heads": 2,
        "feed_forward": 16,
        "frozen": True,
        "frozen_dropout": False,
    },
}
TEXTS_ALONE = REFERFORMER | {"visual": {"name": "small_cnn"}}
# Like a published recipe whose backbone is a known one and whose own part is small.
LIGHT = VLT | {"visual": {"name": "resnet18", "frozen": True}}


def recipe_of(store: Path, model: dict[str, Any], **sections: dict[str, Any]) -> Recipe:
    return parse_recipe(
        {
            "name": "tried",
            "model": model,
            "data": {"store": str(store), "batch_size": 4, "workers": 0, **sections.get("data", {})},
            "optim": {"name": "adam", "lr": 1e-4},
            "train": {"epochs": 1, "max_steps": 3, "log_every": 1, "eval_limit": 1, **sections.get("train", {})},
        },
        source="tests",
    )


def prepare(recipe: Recipe, *, shard: tuple[int, int] = (1, 1), path: Path | None = None) -> Path:
    with Store(Path(recipe.data.store)) as store:
        run = FeatureRun(recipe, store)
        plan = run.plan(path=path, shard=shard)
        run.write(plan, device=CPU, batch=3)
        extract.finish(plan.path, shard[1])
        return plan.path


def losses(recipe: Recipe, run: Path) -> list[float]:
    train(recipe, out=run, device="cpu")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_store(tmp_path_factory.mktemp("features"))


@pytest.mark.parametrize(
    ("model", "augment", "noise"),
    [
        pytest.param(VLT, {"flip": 0.5}, 2e-3, id="vlt"),
        pytest.param(STEP, {"flip": 0.5}, 2e-3, id="step"),
        pytest.param(LIGHT, None, 2e-3, id="light head"),
        pytest.param(REFERFORMER, {"flip": 0.5}, 2e-3, id="referformer, pictures and texts"),
        pytest.param(
            TEXTS_ALONE, {"flip": 0.5, "photometric": True}, 2e-3, id="referformer, texts of changed pictures"
        ),
    ],
)
def test_losses_are_those_of_the_images(
    store: Path, tmp_path: Path, model: dict[str, Any], augment: dict[str, float] | None, noise: float
) -> None:
    own = tmp_path / "own.h5"
    shutil.copy(store, own)
    given: dict[str, Any] = {"augment": augment} if augment else {}
    if model is REFERFORMER:
        given["batch_size"] = 1  # images of several sizes would be padded, which leaves its trace in their features
    with_images = losses(recipe_of(own, model, data=given), tmp_path / "pictures")
    recipe = recipe_of(own, model, data=given | {"features": "auto"})
    path = prepare(recipe)
    assert path == default_path(recipe, own) == tmp_path / "own.tried.features.h5"
    with_features = losses(recipe, tmp_path / "features")
    assert len(with_features) == 3
    assert with_features == pytest.approx(with_images, rel=noise)
    assert with_features != with_images, "fp16 leaves its trace, or the features were not used"
    log = (tmp_path / "features" / "log.txt").read_text()
    assert f"features: {path}" in log


def test_a_cached_training_reads_no_image_and_resumes_exactly(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(store, VLT, data={"features": str(tmp_path / "f.h5"), "augment": {"flip": 0.5}})
    prepare(recipe, path=tmp_path / "f.h5")
    looked_at: list[int] = []
    pixels = Store.pixels

    def counted(self: Store, row: int) -> np.ndarray:
        looked_at.append(row)
        return pixels(self, row)

    monkeypatch.setattr(Store, "pixels", counted)
    train(recipe, out=tmp_path / "whole", device="cpu")
    # The first one to check the features by, and those of the validation.
    with Store(store) as opened:
        validated = set(opened.images("val").tolist())
    assert set(looked_at) <= validated | {0} and looked_at.count(0) == 1
    short = recipe.model_copy(update={"train": recipe.train.model_copy(update={"max_steps": 2})})
    train(short, out=tmp_path / "parts", device="cpu")
    resume(tmp_path / "parts", recipe=recipe, device="cpu")
    tails = [
        [
            json.loads(line)["loss"]
            for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()[:4]
            if "loss" in line
        ]
        for run in ("whole", "parts")
    ]
    assert tails[0] == tails[1]


def test_shards_made_apart_are_the_one_file(store: Path, tmp_path: Path) -> None:
    recipe = recipe_of(store, VLT)
    whole = prepare(recipe, path=tmp_path / "whole.features.h5")
    for number in (2, 3, 1):
        joined = prepare(recipe, path=tmp_path / "parts.features.h5", shard=(number, 3))
    with FeatureCache(whole) as one, FeatureCache(joined) as other:
        assert one.keys("images") == other.keys("images") and len(one.keys("images")) == 10
        for key in one.keys("images"):
            for mine, theirs in zip(one.sample("images", key), other.sample("images", key), strict=True):
                assert np.allclose(mine.astype(np.float32), theirs.astype(np.float32), atol=1e-2)


def test_what_is_there_is_not_computed_again_and_what_is_stale_is(store: Path, tmp_path: Path) -> None:
    path = prepare(recipe_of(store, VLT), path=tmp_path / "f.h5")
    before = path.stat().st_mtime_ns
    prepare(recipe_of(store, VLT), path=path)
    assert path.stat().st_mtime_ns == before
    prepare(recipe_of(store, VLT, train={"seed": 1}), path=path)
    assert path.stat().st_mtime_ns != before


def test_without_a_file_auto_trains_on_images_and_says_so(store: Path, tmp_path: Path) -> None:
    recipe = recipe_of(store, VLT, data={"features": "auto"}, train={"max_steps": 1})
    train(recipe, out=tmp_path / "run", device="cpu")
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "features: none at" in log and f"risctl prepare features {store} --recipe tried" in log
    with pytest.raises(DataError, match=r"named\.h5.*risctl prepare features"):
        train(recipe_of(store, VLT, data={"features": "named.h5"}), out=tmp_path / "other", device="cpu")


# What makes a cache stale, and what it must be called.

CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "weights": ({}, {"train": {"seed": 1}}, "the visual encoder's weights changed"),
    "encoder": ({"visual": {"name": "resnet18", "frozen": True}}, {}, "the visual encoder's name changed: SmallCNN"),
    "preprocessing": ({"input_size": 96}, {}, "the visual encoder's preprocessing changed"),
    "orientations": ({}, {"data": {"augment": {"flip": 0.5}}}, "no mirrored samples, which data.augment.flip needs"),
    "split": ({}, {"data": {"train_split": "val"}}, "of the split 'train', not of 'val'"),
}


@pytest.mark.parametrize("which", CHANGES)
def test_a_stale_cache_is_refused_by_what_changed(store: Path, tmp_path: Path, which: str) -> None:
    model, sections, said = CHANGES[which]
    path = prepare(recipe_of(store, VLT), path=tmp_path / "f.h5")
    data = {"features": str(path), **sections.get("data", {})}
    changed = recipe_of(store, VLT | model, data=data, train=sections.get("train", {}))
    with pytest.raises(DataError, match=said) as caught:
        train(changed, out=tmp_path / "run", device="cpu")
    assert str(path) in str(caught.value) and "risctl prepare features" in str(caught.value)


def test_features_of_another_store_or_version_are_refused(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = prepare(recipe_of(store, VLT), path=tmp_path / "f.h5")
    write_store(tiny_dataset(images=9), tmp_path / "other.h5")
    with pytest.raises(DataError, match="of another store"):
        train(recipe_of(tmp_path / "other.h5", VLT, data={"features": str(path)}), out=tmp_path / "a", device="cpu")
    monkeypatch.setattr(keys, "__version__", "99")
    with pytest.raises(DataError, match=r"this is risctl 99"):
        train(recipe_of(store, VLT, data={"features": str(path)}), out=tmp_path / "b", device="cpu")


def test_what_no_key_tells_is_found_by_computing_one_sample(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(store, VLT, data={"features": str(tmp_path / "f.h5")})
    prepare(recipe, path=tmp_path / "f.h5")
    pixels = Store.pixels
    monkeypatch.setattr(Store, "pixels", lambda self, row: 255 - pixels(self, row))
    with pytest.raises(DataError, match="gives others now than are kept"):
        train(recipe, out=tmp_path / "run", device="cpu")


# What cannot be had with features.


IMPOSSIBLE: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "colour": ({}, {"augment": {"colour": 0.2}}, r"data\.augment\.colour changes.*data\.augment\.flip goes"),
    "a backbone that trains": (
        {"visual": {"name": "small_cnn"}},
        {},
        r"encoders is frozen.*model\.visual\.frozen=true",
    ),
    "clips": ({}, {"frames": 2}, "clips are of frames drawn anew each time"),
    "things": ({}, {"items": "instances"}, "data.items=instances learns its backbone"),
    "questions": ({}, {"items": "box_grounding"}, "data.items=box_grounding learns from boxes"),
}


@pytest.mark.parametrize("which", IMPOSSIBLE)
def test_where_no_features_can_be_auto_goes_without_and_a_named_file_is_refused(
    store: Path, tmp_path: Path, which: str
) -> None:
    model, data, said = IMPOSSIBLE[which]
    recipe = recipe_of(store, VLT | model, data=data | {"features": "auto"})
    with Store(store) as opened:
        system = build_system(recipe.model, vocabulary=Vocabulary(["red"]))
        told = attach_features(recipe, (opened,), system, None, device=CPU)
        assert (
            told is not None and told.startswith("features: none, so the encoders run whole") and re.search(said, told)
        )
        named = recipe_of(store, VLT | model, data=data | {"features": str(tmp_path / "f.h5")})
        with pytest.raises(UsageError, match=said):
            attach_features(named, (opened,), system, None, device=CPU)
        with pytest.raises(UsageError, match=said):
            FeatureRun(recipe, opened)


def test_a_backbone_that_is_let_loose_later_trains_on_images_again(store: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.h5"
    shutil.copy(store, own)
    prepare(recipe_of(own, VLT))
    recipe = recipe_of(own, VLT | {"visual": {"name": "small_cnn"}}, data={"features": "auto"}, train={"max_steps": 1})
    assert len(losses(recipe, tmp_path / "run")) == 1
    assert "features: none, so the encoders run whole at every step" in (tmp_path / "run" / "log.txt").read_text()


def test_images_of_several_sizes_that_fill_up_a_batch_keep_auto_away(store: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.h5"
    shutil.copy(store, own)
    path = prepare(recipe_of(own, REFERFORMER, data={"features": "auto"}))
    several = recipe_of(own, REFERFORMER, data={"features": "auto"})
    assert losses(several, tmp_path / "auto") == losses(recipe_of(own, REFERFORMER), tmp_path / "pictures")
    assert "features: none" in (tmp_path / "auto" / "log.txt").read_text()
    losses(recipe_of(own, REFERFORMER, data={"features": str(path)}), tmp_path / "named")
    assert f"features: {path}" in (tmp_path / "named" / "log.txt").read_text()


# Several stores in one training.


def test_joined_stores_have_a_file_each(store: Path, tmp_path: Path) -> None:
    own, other = tmp_path / "own.h5", tmp_path / "other.h5"
    shutil.copy(store, own)
    dataset = tiny_dataset(images=7)
    said = [replace(record, expressions=tuple(map(_said_otherwise, record.expressions))) for record in dataset.records]
    write_store(replace(dataset, name="other", records=said), other)
    data = {"also": [str(other)], "augment": {"flip": 0.5}, "batch_size": 1}
    with_images = losses(recipe_of(own, REFERFORMER, data=data), tmp_path / "pictures")
    recipe = recipe_of(own, REFERFORMER, data=data | {"features": "auto"})
    with Store(own) as first, Store(other) as second:
        run = FeatureRun(recipe, first, also=[second])
        first_path = run.write(run.plan(), device=CPU)
        losses(recipe, tmp_path / "half")
        half = (tmp_path / "half" / "log.txt").read_text()
        assert "none at " in half and f"'data.also=[{other}]'" in half
        second_path = run.write(run.plan(second), device=CPU)
    assert [first_path.name, second_path.name] == ["own.tried.features.h5", "other.tried.features.h5"]
    with_features = losses(recipe, tmp_path / "features")
    assert len(with_features) == 3 and with_features == pytest.approx(with_images, rel=2e-3)
    log = (tmp_path / "features" / "log.txt").read_text()
    assert f"features: {first_path}, 20 images" in log and f"; {second_path}, 10 images" in log
    with pytest.raises(UsageError, match=r"each with its own; set data\.features=auto"):
        losses(recipe_of(own, REFERFORMER, data=data | {"features": str(first_path)}), tmp_path / "one")
    second_path.unlink()
    shutil.copy(first_path, second_path)
    with pytest.raises(DataError, match=r"other\.tried\.features\.h5 are stale: they are of another store"):
        losses(recipe, tmp_path / "mixed")


def _said_otherwise(expression: Expression) -> Expression:
    text = f"that {expression.sent}"
    return replace(expression, raw=text, sent=text, tokens=tuple(text.split()))


# What cannot be kept.


def test_features_beyond_fp16_are_refused(store: Path, tmp_path: Path) -> None:
    with Store(store) as opened:
        run = FeatureRun(recipe_of(store, VLT), opened)
        with torch.no_grad():
            run.system.get_submodule("visual").stem[0].weight.mul_(1e9)
        with pytest.raises(DataError, match="fp16 holds 65,504 at most"):
            run.write(run.plan(path=tmp_path / "f.h5"), device=CPU)


def test_a_plan_foresees_what_is_written(store: Path, tmp_path: Path) -> None:
    for model in (VLT, STEP, REFERFORMER):
        recipe = recipe_of(store, model, data={"augment": {"flip": 0.5}})
        with Store(store) as opened:
            dry = FeatureRun(recipe, opened, dry=True).plan(path=tmp_path / "x.h5")
            real = FeatureRun(recipe, opened).plan(path=tmp_path / "x.h5")
        assert (dry.total, dry.need, dry.each) == (real.total, real.need, real.each)
        assert real.pictures == 10 and real.total["images"] == 20
        assert real.each * real.pictures <= real.need_all == real.need
