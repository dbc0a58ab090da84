"""Images and videos in one training: as clips, measured on the first store, resumed exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny import assert_same_tensors, tiny_dataset, tiny_store, weights_of
from helpers.video_files import write_youtube
from helpers.video_system import recipe_of

from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.data.batch import collate
from risctl.data.datasets.ref_video.reader import read_ref_youtube_vos
from risctl.data.loading.clip_dataset import PseudoClipDataset, ReferringVideoDataset
from risctl.data.loading.joint_dataset import JointDataset
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.errors import DataError, UsageError
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.schema import Recipe
from risctl.systems.registry import build_system
from risctl.training.datasets import training_dataset
from risctl.training.dry_run import dry_run
from risctl.training.run import resume, train
from risctl.training.vocabulary import gather_vocabulary


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A store of videos and one of images."""
    folder = tmp_path_factory.mktemp("joint")
    write_store(read_ref_youtube_vos(write_youtube(folder / "set")), folder / "videos.h5")
    return folder / "videos.h5", tiny_store(folder)


def joint(stores: tuple[Path, Path], **data: Any) -> Recipe:
    augment = {
        "flip": 0.5,
        "photometric": True,
        "crop": {"short_sides": [64], "min_size": 40, "max_size": 64},
        "sizes": [32, 48],
        "longest": 80,
    }
    keys = {"also": [str(stores[1])], "augment": augment, "batch_size": 4, "workers": 0, **data}
    return recipe_of(stores[0], data=keys, train={"epochs": 1, "save_every": 2, "eval_limit": 1})


def test_images_and_videos_are_trained_on_together_and_resumed_exactly(
    stores: tuple[Path, Path], tmp_path: Path
) -> None:
    recipe = joint(stores)
    lines: list[str] = []

    class StopHereError(Exception):
        pass

    class Watcher:
        at = 0

        def line(self, text: str, *, routine: bool = False) -> None:
            lines.append(text)

        def evaluating(self, done: int, total: int) -> None:
            pass

        def step(self, step: int, total: int, **_: Any) -> None:
            if step == self.at:
                raise StopHereError

    whole, part, callback = tmp_path / "whole", tmp_path / "part", Watcher()
    result = train(recipe, out=whole, device="cpu", callback=callback)
    assert set(result.figures) == {"J", "F", "J&F"}  # of the videos
    assert any("ref-youtube-vos (videos) and tiny (fixed)" in line and "24 samples" in line for line in lines)
    callback.at = 5
    with pytest.raises(StopHereError):
        train(recipe, out=part, device="cpu", callback=callback)
    assert resume(part, device="cpu").steps == result.steps == 6
    assert_same_tensors(weights_of(whole / "last.safetensors"), weights_of(part / "last.safetensors"))
    dataset = load_checkpoint(whole / "last.safetensors").header["dataset"]
    assert [one["name"] for one in dataset["also"]] == ["tiny"]
    # Another store in the place of one of them is told.
    with pytest.raises(DataError, match=r"data\.also=FILE"):
        resume(part, recipe=joint(stores, also=[str(stores[0])]), device="cpu")
    with pytest.raises(DataError, match="had 2 stores, now there are 1"):
        resume(part, recipe=joint(stores, also=[]), device="cpu")


def test_each_store_becomes_clips_in_its_way(stores: tuple[Path, Path]) -> None:
    recipe = joint(stores)
    system = build_system(recipe.model, vocabulary=Vocabulary(["red"]))
    with Store(stores[0]) as videos, Store(stores[1]) as images:
        items = training_dataset(recipe, videos, system, also=[images])
        assert isinstance(items, JointDataset)
        assert [type(part) for part in items.parts] == [ReferringVideoDataset, PseudoClipDataset]
        assert items.parts[1].first == len(items.parts[0]) == 4
        assert {len(items.item(0, index).image) for index in range(len(items))} == {2}
        assert dry_run(recipe).items == len(items) == 24


def test_what_joint_training_cannot_do_is_told(stores: tuple[Path, Path]) -> None:
    recipe = joint(stores)
    several = recipe.model_copy(update={"model": recipe.model.model_copy(update={"classes": 91})})
    system = build_system(several.model, vocabulary=Vocabulary(["red"]))
    with Store(stores[0]) as videos, Store(stores[1]) as images:
        with pytest.raises(UsageError, match=r"category 1 is 'box' in one store|set model\.classes=1"):
            training_dataset(several, images, system, also=[_Renamed(images)])
        few = build_system(recipe.model.model_copy(update={"classes": 2}), vocabulary=Vocabulary(["red"]))
        with pytest.raises(UsageError, match="set it to 3 or more"):
            training_dataset(recipe, videos, few)
        letterboxed = build_system(
            parse(stores, {"system": "vlt", "input_size": 64, "visual": {"name": "small_cnn"}}).model,
            vocabulary=Vocabulary(["red"]),
        )
        with pytest.raises(UsageError, match=r"data\.augment\.sizes"):
            training_dataset(recipe, images, letterboxed)


def test_what_another_store_evaluates_on_is_told(stores: tuple[Path, Path], tmp_path: Path) -> None:
    other = tiny_dataset(validation=4)
    other.name = "other"
    write_store(other, tmp_path / "other.h5")
    recipe = joint(stores, also=[str(stores[1]), str(tmp_path / "other.h5")])
    lines: list[str] = []

    class Watcher:
        def line(self, text: str, *, routine: bool = False) -> None:
            lines.append(text)

        def evaluating(self, done: int, total: int) -> None:
            pass

        def step(self, step: int, total: int, **_: Any) -> None:
            raise StopIteration

    with pytest.raises(StopIteration):
        train(recipe, out=tmp_path / "run", device="cpu", callback=Watcher())
    # Four refs of the two images that the one trains on and the other keeps.
    assert any(
        "36 samples" in line and "4 left out whose images another of the stores evaluates on" in line for line in lines
    )


class _Renamed(Store):
    """The same store with another name for its category."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.path)

    @property
    def categories(self) -> dict[int, str]:  # type: ignore[override]
        return {1: "crate"}


def parse(stores: tuple[Path, Path], model: dict[str, Any]) -> Recipe:
    from risctl.recipe.load import parse_recipe

    values = joint(stores).model_dump(mode="json") | {"model": model}
    return parse_recipe(values, source="test")


def test_the_plan_counts_the_memory_of_clips(stores: tuple[Path, Path]) -> None:
    """What it foresees without computing is what autograd keeps of real clips, whose frames are 3 : 4 as it assumes."""
    recipe = recipe_of(stores[0], data={"frames": 3, "batch_size": 4})
    foreseen = dry_run(recipe).memory["activations"]
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    with Store(stores[0]) as store:
        system = build_system(recipe.model, vocabulary=gather_vocabulary(recipe, store).vocabulary).train()
        items = training_dataset(recipe, store, system)
        batch = collate([items.item(0, index) for index in range(4)])
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            system.loss(system(batch), batch)
    weights = {parameter.untyped_storage().data_ptr() for parameter in (*system.parameters(), *system.buffers())}
    counted = sum(one.untyped_storage().nbytes() for address, one in kept.items() if address not in weights)
    assert foreseen == pytest.approx(counted, rel=0.1)
    images = recipe_of(stores[1], data={"frames": None, "batch_size": 4, "val_split": "val"}, train={"best": "mIoU"})
    assert foreseen > 2 * dry_run(images).memory["activations"]
    larger = recipe_of(stores[0], data={"frames": 3, "batch_size": 4, "augment": {"sizes": [32, 96]}})
    assert dry_run(larger).memory["activations"] > 2.5 * foreseen
