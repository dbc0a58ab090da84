"""Training masks rasterised from published polygons at the input's size, as ReLA's code does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import refer_files
from helpers.small_models import RELA, VLT

from risctl.data.datasets.registry import find_dataset
from risctl.data.loading.published_polygons import PublishedPolygons
from risctl.data.prepare import prepare_dataset
from risctl.data.store.reader import Store
from risctl.errors import DataError, RecipeError, UsageError
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.load import parse_recipe
from risctl.recipe.schema import Recipe
from risctl.systems.base import System
from risctl.systems.registry import build_system
from risctl.training.datasets import training_dataset
from risctl.vision import rle

TRIANGLE = [2.5, 3.2, 41.9, 8.4, 20.1, 33.7]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A store, and the `instances.json` that it was made of: the first object is a triangle, another an RLE."""
    folder = tmp_path_factory.mktemp("published")
    _, instances = refer_files.published()
    entries = {one["id"]: one for one in instances["annotations"]}
    entries[100]["segmentation"] = [TRIANGLE]
    mask = np.zeros((40, 60), dtype=bool)
    mask[20:30, 30:50] = True
    entries[101]["segmentation"] = {"size": [40, 60], "counts": rle.encode(mask)["counts"]}
    root = refer_files.write(folder / "root", instances=instances)
    prepare_dataset(find_dataset("refcoco"), source=root, out=folder / "s.h5")
    return folder / "s.h5", root / "refcoco" / "instances.json"


def recipe_of(store: Path, model: dict[str, Any] = RELA, **data: Any) -> Recipe:
    values = {
        "name": "polygons",
        "model": model,
        "data": {"store": str(store), "sentences": "all", **data},
        "train": {"epochs": 1},
    }
    return parse_recipe(values, source="test")


def system_of(recipe: Recipe) -> System:
    return build_system(recipe.model, vocabulary=Vocabulary(["left", "cup", "the", "right"]))


def test_targets_are_the_scaled_polygons_rasterised(published: tuple[Path, Path]) -> None:
    path, instances = published
    expected = rle.decode(rle.rescaled([TRIANGLE], height=40, width=60, size=(64, 64)))
    with Store(path) as store:
        recipe = recipe_of(path, polygons=[str(instances)])
        items = training_dataset(recipe, store, system_of(recipe))
        plain = training_dataset(recipe_of(path), store, system_of(recipe))
        first = items.item(0, 0)
        assert np.array_equal(first.target.numpy(), expected) and first.target.dtype == plain.item(0, 0).target.dtype
        # The stored mask, resized, differs along the outline.
        apart = (first.target != plain.item(0, 0).target).sum()
        assert 0 < int(apart) < 0.1 * expected.sum()
        # Where an object has no polygons the stored mask stays.
        assert np.array_equal(items.item(0, 2).target.numpy(), plain.item(0, 2).target.numpy())


def test_a_mirrored_sample_has_its_target_mirrored(published: tuple[Path, Path]) -> None:
    path, instances = published
    with Store(path) as store:
        recipe = recipe_of(path, polygons=[str(instances)], augment={"flip": 1.0})
        target = training_dataset(recipe, store, system_of(recipe)).item(0, 0).target.numpy()
    expected = rle.decode(rle.rescaled([TRIANGLE], height=40, width=60, size=(64, 64)))
    assert np.array_equal(target, expected[:, ::-1])


def test_several_targets_are_united_and_none_is_empty() -> None:
    polygons = PublishedPolygons(
        {1: [np.array([0.0, 0, 10, 0, 10, 10, 0, 10])], 2: [np.array([10.0, 0, 20, 0, 20, 10])]}
    )
    both = polygons.mask([1, 2], height=20, width=20, size=(40, 40))
    single = [polygons.mask([one], height=20, width=20, size=(40, 40)) for one in (1, 2)]
    assert np.array_equal(both, single[0] | single[1]) and single[0].sum() == 400
    assert not polygons.mask([], height=20, width=20, size=(40, 40)).any()


def test_what_cannot_be_is_refused(published: tuple[Path, Path], tmp_path: Path) -> None:
    path, instances = published
    with Store(path) as store:
        for changes, expected in (
            ({"model": VLT}, "data.polygons is for systems with square inputs; vlt has others"),
            ({"augment": {"crop": {}}}, "data.polygons is for training on expressions about whole images"),
        ):
            recipe = recipe_of(path, polygons=[str(instances)], **changes)
            with pytest.raises(UsageError, match=expected):
                training_dataset(recipe, store, system_of(recipe))
        content = json.loads(instances.read_text())
        content["annotations"] = content["annotations"][1:]
        (tmp_path / "other.json").write_text(json.dumps(content))
        recipe = recipe_of(path, polygons=[str(tmp_path / "other.json")])
        with pytest.raises(DataError, match="has no annotation 100, which the store has"):
            training_dataset(recipe, store, system_of(recipe))
    with pytest.raises(RecipeError) as raised:
        recipe_of(path, also=["more.h5"], polygons=["one.json"])
    assert "data.polygons: expected one file for each of 2 stores, or none" in str(raised.value.problems)
