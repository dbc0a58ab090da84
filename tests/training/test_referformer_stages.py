"""ReferFormer's published stages, as shipped but small: pretraining on images, then videos, A2D, or all together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.annotated_frames import annotated_frames_dataset
from helpers.tiny import tiny_dataset
from helpers.video_files import write_youtube

from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.data.datasets.ref_video.reader import read_ref_youtube_vos
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.evaluation.image_evaluator import evaluate
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.load import load_recipe
from risctl.recipe.schema import Recipe
from risctl.systems.registry import build_system
from risctl.training.run import train

SMALL = [
    "model.short_side=48",
    "model.longest_side=96",
    "model.hidden=32",
    "model.heads=4",
    "model.queries=3",
    "model.encoder_layers=1",
    "model.decoder_layers=1",
    "model.feed_forward=32",
    "model.mask_channels=16",
    "model.visual.name=small_cnn",
    "model.visual.weights=null",
    "model.text.tokens=null",
    "model.text.weights=null",
    "model.text.layers=1",
    "model.text.width=16",
    "model.text.heads=2",
    "model.text.feed_forward=16",
    "data.workers=0",
    "optim.accumulate=1",
    "data.augment.sizes=[32,48]",
    "data.augment.longest=80",
    "data.augment.crop.min_size=24",
    "data.augment.crop.max_size=48",
    "data.augment.crop.short_sides=[40,48]",
    "data.augment.crop.sizes=[]",
    "train.max_steps=1",
    "train.eval_limit=1",
]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Videos, and three stores of images with COCO's categories."""
    folder = tmp_path_factory.mktemp("stages")
    write_store(read_ref_youtube_vos(write_youtube(folder / "set")), folder / "ref-youtube-vos.h5")
    found = {"data/ref-youtube-vos.h5": folder / "ref-youtube-vos.h5"}
    for name in ("refcoco_unc", "refcoco+_unc", "refcocog_umd"):
        dataset = tiny_dataset(images=4, validation=1)
        dataset.name = name
        dataset.categories = {90: "toothbrush"}
        dataset.annotations = {key: replace(one, category_id=90) for key, one in dataset.annotations.items()}
        write_store(dataset, folder / f"{name}.h5")
        found[f"data/{name}.h5"] = folder / f"{name}.h5"
    write_store(annotated_frames_dataset(), folder / "a2d.h5")
    found["data/a2d.h5"] = folder / "a2d.h5"
    return found


def small(name: str, stores: dict[str, Path], *overrides: str) -> Recipe:
    """Return a shipped recipe on stores that are there, with a small model."""
    data = load_recipe(name).data
    there = [f"data.store={stores[data.store]}"]
    if data.also:
        there.append(f"data.also=[{', '.join(str(stores[one]) for one in data.also)}]")
    return load_recipe(name, [*SMALL, *there, *overrides])


def test_images_then_videos_then_actors(stores: dict[str, Path], tmp_path: Path) -> None:
    pretrained = tmp_path / "pretrained"
    first = train(small("referformer-pretrain", stores), out=pretrained, device="cpu")
    assert "oIoU" in first.figures
    before = load_checkpoint(pretrained).system
    assert before.classes[0].out_features == 1
    for name, figure in (("referformer-ref-youtube-vos", "J&F"), ("referformer-a2d", "mIoU")):
        start = f"train.init_weights.checkpoint={pretrained}"
        result = train(small(name, stores, start, "optim.lr=1e-9"), out=tmp_path / name, device="cpu")
        assert figure in result.figures
        after = load_checkpoint(tmp_path / name / "last.safetensors").system
        assert after.classes[0].out_features == 1
        assert torch.allclose(after.query_embedding, before.query_embedding, atol=1e-6)
        if name == "referformer-ref-youtube-vos":
            assert not any(parameter.requires_grad for parameter in after.text.roberta.parameters())


@pytest.mark.parametrize("name", ["referformer-joint", "referformer-a2d-scratch", "referformer-refcoco+"])
def test_what_begins_with_the_backbone_alone(name: str, stores: dict[str, Path], tmp_path: Path) -> None:
    assert train(small(name, stores), out=tmp_path / "run", device="cpu").steps == 1


def test_every_query_is_a_candidate_in_the_precision_of_a2d(stores: dict[str, Path]) -> None:
    """Each of the three is as good as what the system answers when it is told to choose it."""
    system = build_system(small("referformer-a2d-scratch", stores).model, vocabulary=Vocabulary(["red"]))
    with torch.no_grad():
        system.mask_head.controller.last.bias.normal_(std=0.5)
    with Store(stores["data/a2d.h5"]) as store:
        plain = evaluate(system, store, split="val", protocols="original", resamples=0)
        rows = evaluate(system, store, split="val", protocols="a2d", resamples=0).results["a2d"].rows
        assert not any(plain.results["original"].rows.others)
        decode = system.decode
        for query in range(3):
            system.decode = lambda *given, query=query: system.select_query(decode(*given), torch.tensor([query]))
            told = evaluate(system, store, split="val", protocols="a2d", resamples=0, text_batch=1).results["a2d"].rows
            for place, others in enumerate(rows.others):
                candidates = [(rows.score[place], rows.intersection[place], rows.predicted[place])]
                candidates += [(score, shared, predicted) for score, shared, _, predicted in others]
                assert len(candidates) == 3
                wanted = (told.score[place], told.intersection[place], told.predicted[place])
                assert any(wanted == pytest.approx(candidate, rel=1e-4, abs=2) for candidate in candidates)


VIDEO_SIZES = (288, 320, 352, 392, 416, 448, 480, 512)
STAGES: dict[str, dict[str, Any]] = {
    "referformer-pretrain": {"epochs": 12, "drops": (9, 11), "batch": 2, "frames": None, "sentences": "all"},
    "referformer-ref-youtube-vos": {"epochs": 6, "drops": (4, 6), "batch": 1, "frames": 5, "sentences": "clips"},
    "referformer-joint": {"epochs": 12, "drops": (9, 11), "batch": 1, "frames": 5, "sentences": "clips"},
    "referformer-a2d": {"epochs": 6, "drops": (4, 6), "batch": 2, "frames": 5, "sentences": "all"},
    "referformer-a2d-scratch": {"epochs": 12, "drops": (9, 11), "batch": 1, "frames": 6, "sentences": "all"},
}


@pytest.mark.parametrize("name", STAGES)
def test_stages_have_the_published_settings(name: str) -> None:
    """As opts.py, the scripts and the loaders of the published code have them."""
    recipe, stage = load_recipe(name), STAGES[name]
    data, optim, model, augment = recipe.data, recipe.optim, recipe.model, recipe.data.augment
    assert (recipe.train.epochs, optim.schedule.milestones) == (stage["epochs"], stage["drops"])
    assert (data.batch_size, data.frames, data.sentences) == (stage["batch"], stage["frames"], stage["sentences"])
    assert (optim.name, optim.lr, optim.clip_norm, optim.accumulate) == ("adamw", 1e-4, 0.1, 8)  # eight GPUs
    assert optim.weight_decay == (1e-4 if "scratch" in name else 5e-4)
    assert optim.decay_all
    assert optim.multipliers == {"visual": 0.5, "text.roberta": 0.1}  # 5e-5 and 1e-5
    assert model.classes == 1 and data.text_field == "sent"
    assert model.dropout == (0.0 if "scratch" in name else 0.1)
    pretraining, videos = "pretrain" in name, "youtube" in name or "joint" in name
    assert model.text.frozen != pretraining and model.text.frozen_dropout and model.text.dropout == 0.1
    assert augment is not None and augment.crop is not None and augment.flip == 0.5
    assert augment.crop.short_sides == (400, 500, 600) and augment.crop.boxes == "clipped"
    assert (augment.crop.min_size, augment.crop.max_size, augment.crop.probability) == (384, 600, 0.5)
    assert not augment.crop.keep_object
    if pretraining:
        assert not augment.photometric
        assert augment.sizes == tuple(range(480, 769, 32)) and augment.longest == 800
        assert augment.crop.sizes == (296, 328, 360, 392, 416, 448, 480, 512) and augment.crop.longest == 640
    else:
        assert augment.photometric and augment.photometric_per_frame and augment.swap_channels == 0.5
        assert augment.sizes == VIDEO_SIZES and augment.longest == 640 and augment.crop.sizes == ()
    if data.also:
        assert data.evaluation_images == "kept"
    # Evaluation: videos by their text as typed and without padding; images and A2D's frames by nearest pixels.
    assert (model.short_side, model.longest_side) == (360, None if videos else 640)
    assert (model.mask_resize, model.input_multiple) == (("bilinear", 1) if videos else ("nearest", 32))
    assert (model.lowercase, recipe.eval_text_field) == ((False, "raw") if videos else (True, "sent"))
    assert (model.centre_only, model.window) == ((True, data.frames) if "a2d" in name else (False, 1))
    started = name in ("referformer-ref-youtube-vos", "referformer-a2d")
    assert (recipe.train.init_weights is not None) == started
    if recipe.train.init_weights is not None:
        assert recipe.train.init_weights.exclude == ("classes",)


@pytest.mark.parametrize("name", ["referformer-refcoco", "referformer-refcoco+", "referformer-refcocog"])
def test_pretraining_on_one_set_differs_in_the_set_alone(name: str) -> None:
    one, three = (load_recipe(which).model_dump() for which in (name, "referformer-pretrain"))
    assert {key: one[key] for key in ("model", "optim", "train", "eval")} == {
        key: three[key] for key in ("model", "optim", "train", "eval")
    }
    differing = {key for key, value in one["data"].items() if value != three["data"][key]}
    assert differing <= {"store", "also", "evaluation_images"}


@pytest.mark.parametrize(("every", "spared"), [(False, 0.0), (True, 0.5)])
def test_norms_and_biases_decay_where_the_recipe_says_so(every: bool, spared: float) -> None:
    from risctl.recipe.schema import OptimSection
    from risctl.training.optimizer import build_optimizer

    layer = torch.nn.Linear(3, 3)
    optimizer = build_optimizer(layer, OptimSection(name="adamw", weight_decay=0.5, decay_all=every))
    decays = {id(one): group["weight_decay"] for group in optimizer.param_groups for one in group["params"]}
    assert (decays[id(layer.weight)], decays[id(layer.bias)]) == (0.5, spared)
