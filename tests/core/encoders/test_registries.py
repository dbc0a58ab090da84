"""Any visual encoder goes with any text encoder in every system whose fusion takes them; a wrong pair is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.tiny import tiny_store
from helpers.tiny_transformers import write_text, write_visual

from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.core.encoders.visual.registry import VISUAL_ENCODERS
from risctl.core.encoders.visual.transformers_backbone import read_config
from risctl.errors import CheckpointError, RecipeError, UsageError
from risctl.inference.predictor import Predictor
from risctl.language.coco_classes import SPLITS
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.load import parse_recipe
from risctl.recipe.schema import Recipe
from risctl.systems.registry import build_system
from risctl.training.run import train

WORDS = Vocabulary(["red", "box", "left"])


TEXT: dict[str, dict[str, Any]] = {
    "bigru": {"name": "bigru", "hidden": 8, "dim": 8},
    "bilstm": {"name": "bilstm", "hidden": 8, "dim": 8},
    "roberta": {"name": "roberta", "tokens": None, "weights": None, "layers": 1, "width": 16, "heads": 2},
    "bert": {"name": "bert", "tokens": None, "weights": None, "layers": 1, "width": 16, "heads": 2},
}


TEXT["roberta"]["feed_forward"] = TEXT["bert"]["feed_forward"] = 16


MODELS: dict[str, dict[str, Any]] = {
    "vlt": {
        "input_size": 64, "hidden": 16, "heads": 2, "feed_forward": 16, "fusion_channels": 16, "head_channels": 8,
        "queries": 2, "max_words": 6,
    },
    "step": {"input_size": 64, "folds": 1, "levels": [1, 2, 3], "attention": 8, "embedding": 8, "filters": 4},
    "cris": {
        "input_size": 64, "hidden": 16, "heads": 2, "decoder_layers": 1, "feed_forward": 16, "max_words": 6,
    },
    "referformer": {
        "short_side": 64, "hidden": 32, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "feed_forward": 16,
        "mask_channels": 8, "queries": 2,
    },
    "rela": {
        "input_size": 64, "max_words": 6, "regions": 4, "hidden": 32, "heads": 2, "pixel_layers": 1, "feed_forward": 16,
        "pixel_feed_forward": 16, "layers": 1, "mask_channels": 8,
    },
    "mini": {
        "input_size": 64, "max_words": 6, "max_count": 4, "neck": 16, "mask_channels": 8, "channels": 16, "layers": 1,
        "heads": 2,
    },
    "zsi": {"short_side": 64, "long_side": 96, "channels": 8, "hidden": 16, "vocabulary_words": 4, "proposals": 20},
}  # fmt: skip


READS_SEQUENCES = ("vlt", "step", "cris", "referformer", "rela")


OWN_TEXT: dict[str, dict[str, Any]] = {"mini": {"buckets": 64}, "zsi": {"vectors": "given.txt", "dim": 4}}


"""The text sections of the systems that read no sequence of words."""


def recipe_of(system: str, *, store: Path | None = None, **sections: Any) -> Recipe:
    values = {
        "name": "pair",
        "model": {"system": system, **MODELS[system], **sections},
        "data": {"store": str(store or "none.h5"), "batch_size": 2, "workers": 0},
        "train": {"epochs": 1, "max_steps": 1, "eval_every": None},
    }
    return parse_recipe(values, source="test")


def write_vectors(folder: Path) -> Path:
    """Writes word vectors of the classes of ZSI's split, and returns their file."""
    words = {word for name in (*SPLITS["48_17"].seen, *SPLITS["48_17"].unseen) for word in name.split()}
    generator = np.random.default_rng(0)
    lines = [" ".join([word, *map(str, generator.standard_normal(4).round(3))]) for word in sorted(words)]
    path = folder / "vectors.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("text", TEXT)
@pytest.mark.parametrize("system", READS_SEQUENCES)
def test_every_text_encoder_goes_with_every_fusion(system: str, text: str) -> None:
    recipe = recipe_of(system, visual={"name": "small_cnn", "weights": None}, text=TEXT[text])
    built = build_system(recipe.model, vocabulary=WORDS).eval()
    ids = torch.tensor([[2, 3, 0, 0, 0, 0], [4, 2, 3, 0, 0, 0]])
    visual = built.encode_image(torch.rand(2, 3, 64, 64), torch.zeros(2, 64, 64, dtype=torch.bool))
    output = built.decode(visual, built.encode_text(ids, ids > 0))
    assert output.logits.shape[0] == 2 and bool(output.logits.isfinite().all())


@pytest.mark.parametrize("name", ["darknet53", "mobilenet_v2", "shufflenet", "swin_t", "resnet18"])
@pytest.mark.parametrize("system", MODELS)
def test_visual_encoders_go_with_the_fusions_that_take_their_maps(system: str, name: str) -> None:
    visual = {"name": name, "weights": None}
    text = OWN_TEXT.get(system, TEXT["bilstm"])
    if system in ("referformer", "rela", "mini", "zsi") and 4 not in VISUAL_ENCODERS[name].strides:
        with pytest.raises(RecipeError, match=r"model\.visual\.name: expected one of small_cnn.*, hf:FOLDER_OR_ID"):
            recipe_of(system, visual=visual, text=text)
        return
    built = build_system(recipe_of(system, visual=visual, text=text).model, vocabulary=WORDS).eval()
    with torch.no_grad():
        features = built.encode_image(torch.rand(1, 3, 64, 64), torch.zeros(1, 64, 64, dtype=torch.bool))
        ids, mask = built.preprocess.text("red box")
        assert bool(built.decode(features, built.encode_text(ids[None], mask[None])).logits.isfinite().all())


@pytest.mark.parametrize("kind", ["swin", "dinov2"])
@pytest.mark.parametrize("system", MODELS)
def test_transformers_encoders_train_and_predict_from_the_checkpoint_alone(
    tmp_path: Path, system: str, kind: str
) -> None:
    visual, text = write_visual(tmp_path / kind, kind), write_text(tmp_path / "bert")
    sections: dict[str, Any] = {"visual": {"name": f"hf:{visual}"}, "text": {"name": f"hf:{text}"}}
    if system in OWN_TEXT:
        sections["text"] = OWN_TEXT[system] | ({"vectors": str(write_vectors(tmp_path))} if system == "zsi" else {})
    if system == "step" and kind == "dinov2":
        sections["input_size"] = 56
    recipe = recipe_of(system, store=tiny_store(tmp_path), **sections)
    assert recipe.model.visual.weights == str(visual)
    assert getattr(recipe.model.text, "tokens", str(text)) == str(text)
    done = train(recipe, out=tmp_path / "run", device="cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    before = Predictor.load(done.run, device="cpu").predict(pixels, ["the red box"])[0]
    shutil.rmtree(visual)
    shutil.rmtree(text)
    loaded = load_checkpoint(done.run)
    assert loaded.recipe.model.visual.config["model_type"] == kind
    after = Predictor.load(done.run, device="cpu").predict(pixels, ["the red box"])[0]
    assert np.array_equal(before.mask, after.mask) and before.score == after.score


def test_trained_weights_of_a_folder_are_those_that_training_starts_from(tmp_path: Path) -> None:
    folder = write_visual(tmp_path / "resnet", "resnet")
    text = write_text(tmp_path / "roberta", "roberta")
    sections = {"visual": {"name": f"hf:{folder}", "frozen": True}, "text": {"name": f"hf:{text}", "frozen": True}}
    model = recipe_of("referformer", **sections).model
    first, second = (build_system(model, vocabulary=WORDS) for _ in range(2))
    assert all(
        torch.equal(one, other)
        for name, one in first.state_dict().items()
        for other in [second.state_dict()[name]]
        if name.startswith(("visual.backbone", "text.model"))
    )
    trained = {name for name, one in first.named_parameters() if one.requires_grad}
    assert not any(name.startswith(("visual.", "text.model")) for name in trained)
    sections["visual"]["weights"] = None
    random = build_system(recipe_of("referformer", **sections).model, vocabulary=WORDS)
    same = [torch.equal(one, first.state_dict()[name]) for name, one in random.state_dict().items() if "conv" in name]
    assert not all(same)


@pytest.mark.parametrize(
    ("system", "text", "fits"),
    [
        ("mini", "hf:bert-base-uncased", "hashed_words"),
        ("zsi", "bigru", "word_vectors"),
        ("vlt", "hashed_words", "one of bigru, bilstm, roberta, bert, clip, hf:FOLDER_OR_ID"),
    ],
)
def test_a_text_encoder_that_the_system_cannot_read_is_refused_with_those_that_fit(
    system: str, text: str, fits: str
) -> None:
    with pytest.raises(RecipeError) as raised:
        recipe_of(system, text={"vectors": "given.txt", "name": text} if system == "zsi" else {"name": text})
    [problem] = raised.value.problems
    assert problem.startswith("model.text.name: expected") and fits in problem and text in problem


@pytest.mark.parametrize("system", ["vlt", "referformer", "mini", "zsi"])
def test_a_backbone_whose_maps_do_not_fit_is_refused_with_those_that_do(tmp_path: Path, system: str) -> None:
    folder = write_visual(tmp_path / "swin", "swin")
    visual = {"name": f"hf:{folder}", "weights": None, "config": read_config(str(folder)) | {"patch_size": 2}}
    model = recipe_of(system, visual=visual, text=OWN_TEXT.get(system, TEXT["bigru"])).model
    with pytest.raises(
        RecipeError, match=r"strides .*8, 16, 32; hf:.* has 2, 4, 8, 16. These fit: .*, hf:FOLDER_OR_ID"
    ):
        build_system(model, vocabulary=WORDS)


def test_what_is_no_encoder_is_refused_in_words(tmp_path: Path) -> None:
    text = write_text(tmp_path / "bert")
    with pytest.raises(RecipeError, match=r"model\.visual\.name: expected a vision backbone .* 'bert'"):
        build_system(recipe_of("vlt", visual={"name": f"hf:{text}"}).model, vocabulary=WORDS)
    with pytest.raises(CheckpointError, match=r"model\.visual\.name, found nothing"):
        build_system(recipe_of("vlt", visual={"name": "hf:nowhere"}).model, vocabulary=WORDS)
    with pytest.raises(RecipeError, match=r"model\.levels: expected levels from 1 to 4"):
        build_system(recipe_of("step", levels=[5], visual={"name": "swin_t"}).model, vocabulary=WORDS)
    with pytest.raises(RecipeError, match=r"model\.input_size: expected a multiple of 32"):
        build_system(recipe_of("step", input_size=72, visual={"name": "swin_t"}).model, vocabulary=WORDS)
    with pytest.raises(RecipeError, match=r"model\.text\.layers: expected null: bigru has no `layers`"):
        recipe_of("vlt", text={"name": "bigru", "layers": 2})
    with pytest.raises(RecipeError, match=r"model\.visual\.frozen_stages: expected 0: resnet18 has no"):
        recipe_of("vlt", visual={"name": "resnet18", "frozen_stages": 2})
    with pytest.raises(RecipeError, match="expected one of bigru, bilstm, roberta, bert, clip, hf:FOLDER_OR_ID"):
        recipe_of("vlt", text={"name": "gru"})
    with pytest.raises(UsageError, match="word vectors"):
        build_system(recipe_of("vlt", text=TEXT["bigru"]).model, vocabulary=WORDS, vectors=np.zeros((2, 2)))
