"""The list "Differs from the published run" in the headers of recipes that claim a paper, against their keys."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import BaseModel

from risctl.recipe.load import load_recipe
from risctl.recipe.shipped import shipped_recipes

TITLE = "# Differs from the published run:\n"
TEXTS = {name: file.read_text(encoding="utf-8") for name, file in shipped_recipes().items()}
CLAIMING = sorted(name for name, text in TEXTS.items() if "\n# Published (" in text)
OTHERS = {"data", "weights"}
"""What a line may name that is no key."""

VLT = {
    "model.variant": "reference", "model.input_size": 416, "model.queries": 16, "model.hidden": 256, "model.heads": 8,
    "model.encoder_layers": 2, "model.decoder_layers": 2, "model.feed_forward": 256, "model.dropout": 0.1,
    "model.weight_penalty": 5e-4, "model.norm_momentum": 0.01, "model.visual.name": "darknet53",
    "model.visual.weights": "yolov3_480000.h5", "model.visual.frozen_convolutions": 56,
    "model.visual.batch_statistics": True, "model.text.name": "bigru", "model.text.hidden": 1024,
    "model.text.dropout": 0.1, "model.text.vectors": "en_vectors_web_lg", "data.batch_size": 128,
    "data.sentences": "random", "data.last_batch": "wrap", "data.augment": None, "optim.name": "adam",
    "optim.lr": 1e-3, "optim.eps": 1e-7, "optim.weight_decay": 0.0, "optim.schedule.name": "steps",
    "optim.schedule.milestones": (40, 45, 50), "optim.schedule.factor": 0.1, "optim.warmup_steps": 0,
    "optim.clip_norm": None, "optim.accumulate": 1, "train.epochs": 50, "train.best": "mIoU", "eval.protocol": "mcn",
}  # fmt: skip
STEP = {
    "model.input_size": 320, "model.max_words": 20, "model.folds": 5, "model.levels": (1, 2, 3, 4, 5),
    "model.refinement": "convgru", "model.reweighted_text": True, "model.text_attention": True, "model.filters": 32,
    "model.attention": 400, "model.embedding": 1000, "model.context_rate": 3, "model.loss_pixels": "all",
    "model.upsampled": "probability", "model.visual.weights": "DeepLab ResNet-101 v2", "model.text.name": "bilstm",
    "model.text.vectors": "data/glove.840B.300d.zip", "optim.name": "adam", "optim.lr": 2.5e-4,
    "optim.weight_decay": 5e-3, "optim.schedule.name": "poly", "optim.schedule.power": 0.9, "train.max_steps": 700_000,
}  # fmt: skip
ZSI = {
    "model.tower": "reference", "model.encoder_kernel": 3, "model.conventions": "mmdet1",
    "model.unseen_boxes": "reference", "model.mask_background_sync": "always", "model.short_side": 800,
    "model.long_side": 1333, "model.proposals": 1000, "model.training_proposals": 2000, "model.border_anchors": False,
    "model.loss_pooling": "batch", "model.visual.name": "resnet101", "model.visual.weights": "imagenet",
    "data.batch_size": 2, "data.same_orientation": True, "optim.accumulate": 1, "optim.name": "sgd",
    "optim.momentum": 0.9,
    "optim.weight_decay": 1e-4, "optim.schedule.name": "steps", "optim.schedule.milestones": (9, 12),
    "optim.schedule.factor": 0.1, "optim.clip_norm": 35.0, "train.epochs": 12, "data.augment.flip": 0.5,
}  # fmt: skip
REFERFORMER = {
    "model.hidden": 256, "model.heads": 8, "model.encoder_layers": 4, "model.decoder_layers": 4,
    "model.feed_forward": 2048, "model.queries": 5, "model.classes": 1, "model.short_side": 360,
    "model.text.frozen_dropout": True, "data.text_field": "sent", "data.augment.flip": 0.5,
    "data.augment.flip_text": "letters", "optim.name": "adamw",
    "optim.lr": 1e-4, "optim.decay_all": True, "optim.schedule.name": "steps", "optim.schedule.factor": 0.1,
    "optim.clip_norm": 0.1, "optim.accumulate": 1,
}  # fmt: skip
CRIS = {
    "model.input_size": 416, "model.hidden": 512, "model.heads": 8, "model.decoder_layers": 3,
    "model.feed_forward": 2048, "model.dropout": 0.1, "model.visual.name": "clip_resnet50",
    "model.visual.weights": "data/RN50.pt", "model.visual.frozen": False, "model.text.name": "clip",
    "model.text.weights": "data/RN50.pt", "model.text.frozen": False, "model.text.tokens": "ftfy and CLIP's merges",
    "data.batch_size": 64, "data.sentences": "random", "data.text_field": "sent", "data.augment": None,
    "optim.name": "adam", "optim.lr": 1e-4, "optim.weight_decay": 0.0, "optim.schedule.name": "steps",
    "optim.schedule.milestones": (36,), "optim.schedule.factor": 0.1, "optim.multipliers_from": 2,
    "optim.clip_norm": None, "optim.accumulate": 1, "train.epochs": 50, "train.precision": "fp16",
    "train.sync_norms": True, "train.eval_sentences": "first", "train.best": "mIoU", "eval.protocol": "cris",
}  # fmt: skip
RELA = {
    "model.input_size": 480, "model.max_words": 20, "model.regions": 10, "model.hidden": 256, "model.heads": 8,
    "model.pixel_layers": 6, "model.pixel_feed_forward": 1024, "model.points": 4, "model.mask_channels": 256,
    "model.layers": 9, "model.feed_forward": 2048, "model.language_weight": 0.1, "model.no_target_threshold": 0.5,
    "model.visual.name": "swin_b", "model.visual.window": 12, "model.visual.drop_path": 0.3,
    "model.visual.weights": "data/swin_base_patch4_window12_384_22k.pth", "model.language_gates": True,
    "model.text.name": "bert", "model.text.weights": "bert-base-uncased", "model.text.dropout": 0.1,
    "data.sentences": "stream", "data.text_field": "raw", "data.same_orientation": True, "data.augment": None,
    "optim.name": "adamw", "optim.lr": 1e-5, "optim.weight_decay": 0.05, "optim.decay_all": True,
    "optim.multipliers": {}, "optim.schedule.name": "steps", "optim.schedule.milestone_steps": (110_000, 140_000),
    "optim.schedule.factor": 0.1, "optim.warmup_steps": 0, "optim.clip_norm": 0.01, "optim.accumulate": 1,
    "train.max_steps": 150_000, "train.precision": "fp16", "train.best": "last", "eval.protocol": "rela",
}  # fmt: skip
LAVT = {
    "model.input_size": 480, "model.max_words": 20, "model.fusion_heads": (1, 1, 1, 1),
    "model.class_weights": (0.9, 1.1), "model.decoder_channels": None, "model.visual.name": "swin_b",
    "model.visual.window": 12, "model.visual.weights": "data/swin_base_patch4_window12_384_22k.pth",
    "model.visual.drop_path": 0.3, "model.text.name": "bert", "model.text.weights": "bert-base-uncased",
    "model.text.dropout": 0.0, "data.batch_size": 8, "data.sentences": "random", "data.text_field": "raw",
    "data.last_batch": "drop", "data.augment": None, "optim.name": "adamw", "optim.lr": 5e-5,
    "optim.weight_decay": 0.01, "optim.decay_all": True, "optim.undecayed": ("norm", "attention.table"),
    "optim.excluded": ("text.bert.embeddings.", "text.bert.encoder.layer.10.", "text.bert.encoder.layer.11."),
    "optim.schedule.name": "poly", "optim.schedule.power": 0.9, "optim.warmup_steps": 0, "optim.clip_norm": None,
    "optim.accumulate": 1, "train.epochs": 40, "train.precision": "fp32", "train.sync_norms": True,
    "train.eval_sentences": "random", "train.best": "oIoU", "eval.protocol": "lavt",
}  # fmt: skip
THREE = ("data/refcoco+_unc.h5", "data/refcocog_umd.h5")
PUBLISHED: dict[str, dict[str, Any]] = {
    **{
        f"vlt-{one}": {**VLT, "model.max_words": words}
        for one, words in (("refcoco", 15), ("refcoco+", 15), ("refcocog", 20))
    },
    **{f"step-{one}": STEP for one in ("refcoco", "refcoco+", "refcocog-google", "refclef")},
    **{f"lavt-{one}": LAVT for one in ("refcoco", "refcoco+", "refcocog-umd", "refcocog-google")},
    **{
        f"cris-{one}": {**CRIS, "model.max_words": words}
        for one, words in (("refcoco", 17), ("refcoco+", 17), ("refcocog-umd", 22), ("refcocog-google", 22))
    },
    **{f"rela-{one}": RELA for one in ("grefcoco", "refcoco", "refcoco+", "refcocog")},
    "zsi-48-17": {
        **ZSI,
        "model.mask_background_sync": "generalised",
        "optim.lr": 1e-2,
        "optim.warmup_steps": 500,
    },
    "zsi-65-15": {**ZSI, "optim.lr": 7.5e-3, "optim.warmup_steps": 7000},
    "referformer-pretrain": {**REFERFORMER, "data.also": THREE, "data.evaluation_images": "kept"},
    **{f"referformer-{one}": {**REFERFORMER, "data.also": THREE} for one in ("refcoco", "refcoco+", "refcocog")},
    **{f"referformer-{one}": REFERFORMER for one in ("joint", "ref-youtube-vos", "a2d", "a2d-scratch")},
}


def listed(name: str) -> list[tuple[list[str], str]]:
    """Return of each line of a recipe's list what it names, before the colon, and its text."""
    block = TEXTS[name].split(TITLE)[1]
    lines: list[str] = []
    for line in block.splitlines():
        if line.startswith("# - "):
            lines.append(line.removeprefix("# - "))
        elif line.startswith("#   "):
            lines[-1] += " " + line.removeprefix("#   ")
        else:
            break
    return [(names.split(", "), text) for names, _, text in (line.partition(": ") for line in lines)]


def value_at(recipe: BaseModel, key: str) -> Any:
    found: Any = recipe
    for part in key.split("."):
        assert found is None or hasattr(found, part), key
        found = None if found is None else getattr(found, part)
    return found


def test_every_recipe_that_claims_a_paper_is_compared() -> None:
    assert set(PUBLISHED) <= set(CLAIMING)
    assert {
        name for name in CLAIMING if name.split("-")[0] in ("vlt", "step", "cris", "lavt", "rela", "zsi", "referformer")
    } == set(PUBLISHED)


@pytest.mark.parametrize("name", CLAIMING)
def test_each_line_names_keys_as_they_are_or_data_or_weights(name: str) -> None:
    assert TEXTS[name].count(TITLE) == 1
    entries, recipe = listed(name), load_recipe(name)
    assert entries
    for names, text in entries:
        assert len(text) > 10 and text.endswith(".")
        for one in names:
            key, _, value = one.partition("=")
            if key not in OTHERS:
                assert re.fullmatch(r"(model|data|optim|train|eval)(\.\w+)+", key), one
                found = value_at(recipe, key)
                assert not value or str(found) == value, one


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_keys_that_depart_from_the_published_run_are_those_in_the_list(name: str) -> None:
    recipe, published = load_recipe(name), PUBLISHED[name]
    departing = {key for key, value in published.items() if value_at(recipe, key) != value}
    named = {one.partition("=")[0] for names, _ in listed(name) for one in names}
    assert departing == named & set(published)
