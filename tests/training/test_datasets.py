"""Which changes of images a recipe may ask for depends on what its system is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.tiny import build_tiny, tiny_recipe, tiny_store

from risctl.data.loading.instance_dataset import InstanceDataset
from risctl.data.store.reader import Store
from risctl.errors import RecipeError, UsageError
from risctl.language.vocabulary import Vocabulary
from risctl.training.datasets import training_dataset


@pytest.mark.parametrize("key", ["zoom", "paste"])
def test_images_are_composed_for_those_who_learn_from_all_things(tmp_path: Path, key: str) -> None:
    path = tiny_store(tmp_path, images=4, validation=1)
    recipe = tiny_recipe(path, data={"augment": {key: 0.5}})
    with Store(path) as store:
        system = build_tiny(recipe.model, vocabulary=Vocabulary.from_texts(store.texts("train")))
        with pytest.raises(UsageError, match="zoom and paste"):
            training_dataset(recipe, store, system)
        system.instances_only = True
        items = training_dataset(recipe, store, system)
        assert isinstance(items, InstanceDataset)
        assert (items.zoom, items.paste) == ((0.5, 0.0) if key == "zoom" else (0.0, 0.5))


def test_a_store_of_boxes_is_named_in_the_recipe(tmp_path: Path) -> None:
    path = tiny_store(tmp_path, images=4, validation=1)
    for boxes_only in ([], [str(path)]):
        recipe = tiny_recipe(path, data={"augment": {"paste": 1.0}, "boxes_only": boxes_only})
        with Store(path) as store:
            system = build_tiny(recipe.model, vocabulary=Vocabulary.from_texts(store.texts("train")))
            system.instances_only = True
            items = training_dataset(recipe, store, system)
            assert isinstance(items, InstanceDataset)
            # A rectangle of another image, pasted, would be learned as if it were an object's outline.
            assert items.paste == (0.0 if boxes_only else 1.0)
            instances = items.item(0, 0).instances
            assert instances is not None and instances.boxes_only == bool(boxes_only)


def test_a_store_of_boxes_is_one_of_those_trained_on(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"data\.boxes_only: expected files of"):
        tiny_recipe(tmp_path / "tiny.h5", data={"boxes_only": ["other.h5"]})


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"items": "instances"}, "data.items=instances has no expressions about an image"),
        ({"items": "box_grounding"}, "data.items=box_grounding has no expressions about an image"),
        ({}, "vlt is trained on all instances of an image, once each"),
        ({"frames": 3}, "this vlt is trained on the frames around each annotated one"),
        ({"augment": {"crop": {"keep_object": True}}}, "each expression has a crop of its own"),
    ],
)
def test_where_expressions_cannot_share_an_image_it_is_said(tmp_path: Path, data: dict[str, Any], told: str) -> None:
    path = tiny_store(tmp_path, images=4, validation=1)
    recipe = tiny_recipe(path, data={"phrases_per_image": 3, **data})
    with Store(path) as store:
        system = build_tiny(recipe.model, vocabulary=Vocabulary.from_texts(store.texts("train")))
        system.instances_only = not data
        with pytest.raises(UsageError, match=r"data\.phrases_per_image=3, but") as refused:
            training_dataset(recipe, store, system)
    assert told in str(refused.value) and str(refused.value).endswith("; set it to 1")
