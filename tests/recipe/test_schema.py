"""The schema: what it refuses, what it fills in, and that its YAML reads back as the same recipe."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from risctl.recipe.document import read
from risctl.recipe.load import parse_recipe
from risctl.recipe.schema import Recipe, recipe_json_schema


def minimal(**sections: Any) -> dict[str, Any]:
    """The least that a recipe says, with `sections` laid over it."""
    values: dict[str, Any] = {
        "name": "tiny",
        "model": {"system": "vlt"},
        "data": {"store": "data/tiny.h5"},
        "train": {"epochs": 3},
    }
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section} if isinstance(section, dict) else section
    return values


def test_the_defaults_are_the_published_vlt() -> None:
    recipe = Recipe.model_validate(minimal())
    assert (recipe.model.input_size, recipe.model.max_words, recipe.model.queries) == (416, 15, 16)
    assert (recipe.model.hidden, recipe.model.heads, recipe.model.feed_forward) == (256, 8, 256)
    assert (recipe.model.visual.name, recipe.model.visual.frozen_convolutions) == ("darknet53", 56)
    assert (recipe.model.text.hidden, recipe.model.text.dim) == (1024, 300)


def test_only_darknet_has_frozen_convolutions_by_default() -> None:
    recipe = Recipe.model_validate(minimal(model={"visual": {"name": "resnet18", "weights": "imagenet"}}))
    assert recipe.model.visual.frozen_convolutions == 0


@pytest.mark.parametrize(
    ("sections", "where"),
    [
        ({"model": {"input_size": 400}}, ("model", "input_size")),
        ({"model": {"hidden": 100}}, ("model", "heads")),
        ({"model": {"heads": 7}}, ("model", "heads")),
        (
            {"model": {"visual": {"name": "small_cnn", "frozen_convolutions": 3}}},
            ("model", "visual", "frozen_convolutions"),
        ),
        ({"model": {"visual": {"name": "darknet53", "weights": "imagenet"}}}, ("model", "visual", "weights")),
        ({"model": {"system": "maskrcnn"}}, ("model",)),
        ({"data": {"batch_size": 0}}, ("data", "batch_size")),
        ({"data": {"batch_size": True}}, ("data", "batch_size")),
        ({"data": {"batch_size": "16"}}, ("data", "batch_size")),
        ({"data": {"store": ""}}, ("data", "store")),
        ({"data": {"augment": {"flip": 1.5}}}, ("data", "augment", "flip")),
        ({"optim": {"lr": 0.0}}, ("optim", "lr")),
        ({"optim": {"lr": float("inf")}}, ("optim", "lr")),
        ({"optim": {"lr": float("nan")}}, ("optim", "lr")),
        ({"optim": {"betas": [0.9, 1.0]}}, ("optim", "betas", 1)),
        ({"optim": {"schedule": {"name": "steps"}}}, ("optim", "schedule", "milestones")),
        (
            {"optim": {"schedule": {"name": "steps", "milestones": [2], "milestone_steps": [9]}}},
            ("optim", "schedule", "milestones"),
        ),
        (
            {"optim": {"schedule": {"name": "steps", "milestone_steps": [9, 9]}}},
            ("optim", "schedule", "milestone_steps"),
        ),
        ({"optim": {"schedule": {"name": "cosine", "milestones": [2]}}}, ("optim", "schedule", "milestones")),
        ({"optim": {"schedule": {"name": "steps", "milestones": [3, 2]}}}, ("optim", "schedule", "milestones")),
        ({"optim": {"schedule": {"name": "steps", "milestones": [4]}}}, ("train",)),
        ({"train": {"epochs": 0}}, ("train", "epochs")),
        ({"train": {"ema": 1.0}}, ("train", "ema")),
        ({"eval": {"protocol": "coco"}}, ("eval", "protocol")),
        ({"eval": {"threshold": 1.0}}, ("eval", "threshold")),
        ({"name": "no spaces"}, ("name",)),
        ({"name": "../up"}, ("name",)),
        ({"surplus": 1}, ("surplus",)),
        ({"data": {"batchsize": 3}}, ("data", "batchsize")),
    ],
)
def test_refuses(sections: dict[str, Any], where: tuple[str | int, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        Recipe.model_validate(minimal(**sections))
    errors = [error for error in caught.value.errors() if error["type"] != "default_factory_not_called"]
    found = [tuple(part for part in error["loc"] if part != "vlt") for error in errors]
    assert found == [where]  # pydantic names the form of `model` as if it were a key


@pytest.mark.parametrize(("given", "kept"), [("~/a.h5", "/home/me/a.h5"), ("~other/a.h5", "~other/a.h5"), ("a~", "a~")])
def test_the_home_folder_is_expanded(monkeypatch: pytest.MonkeyPatch, given: str, kept: str) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert Recipe.model_validate(minimal(data={"store": given})).data.store == kept


def test_a_milestone_in_the_last_epoch_is_within_the_run() -> None:
    recipe = Recipe.model_validate(minimal(optim={"schedule": {"name": "steps", "milestones": [2, 3]}}))
    assert recipe.optim.schedule.milestones == (2, 3)


def test_a_recipe_cannot_be_changed_once_read() -> None:
    recipe = Recipe.model_validate(minimal())
    with pytest.raises(ValidationError, match="frozen"):
        recipe.train.epochs = 5  # type: ignore[misc]


def _objects(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [schema, *schema["$defs"].values()]


def test_the_json_schema_describes_every_key_and_forbids_others() -> None:
    schema = recipe_json_schema()
    for one in _objects(schema):
        assert one["additionalProperties"] is False, one["title"]
        for name, key in one["properties"].items():
            section = schema["$defs"][key["$ref"].rsplit("/", 1)[-1]] if "$ref" in key else {}
            assert key.get("description") or section.get("description"), f"{one['title']}.{name}"
    assert schema["$defs"]["OptimSection"]["properties"]["lr"]["exclusiveMinimum"] == 0


finite = {"allow_nan": False, "allow_infinity": False}
text = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=12
)  # no path holds NUL


@st.composite
def recipes(draw: st.DrawFn) -> dict[str, Any]:
    visual = draw(st.sampled_from(["darknet53", "small_cnn", "resnet50"]))
    epochs = draw(st.integers(2, 60))
    schedule: dict[str, Any] = {"name": draw(st.sampled_from(["constant", "cosine", "poly", "steps"]))}
    if schedule["name"] == "steps":
        schedule["milestones"] = sorted(draw(st.sets(st.integers(2, epochs), min_size=1, max_size=3)))
    return minimal(
        name=draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,20}", fullmatch=True)),
        description=draw(st.text(max_size=60)),
        model={
            "input_size": 32 * draw(st.integers(2, 20)),
            "dropout": draw(st.floats(0, 0.99)),
            "weight_penalty": draw(st.floats(0, 1)),
            "visual": {"name": visual, "weights": draw(st.none() | text), "frozen": draw(st.booleans())},
            "text": {"vectors": draw(st.none() | text)},
        }
        if visual == "resnet50"
        else {"visual": {"name": visual}},
        data={
            "store": draw(text),
            "train_split": draw(text),
            "augment": draw(st.none() | st.fixed_dictionaries({"flip": st.floats(0, 1)})),
        },
        optim={
            "lr": draw(st.floats(0, 10, exclude_min=True, **finite)),
            "eps": draw(st.floats(1e-300, 1)),
            "betas": [draw(st.floats(0, 0.999)), 0.999],
            "schedule": schedule,
            "clip_norm": draw(st.none() | st.floats(1e-6, 1e6)),
            "multipliers": draw(st.dictionaries(st.text(max_size=8), st.floats(0, 1e4), max_size=3)),
        },
        train={"epochs": epochs, "seed": draw(st.integers(0, 2**32 - 1)), "best": draw(text)},
    )


@settings(deadline=None, max_examples=60)
@example(minimal(data={"store": "~0"}))
@given(recipes())
def test_yaml_reads_back_as_the_same_recipe(values: dict[str, Any]) -> None:
    recipe = Recipe.model_validate(values)
    again, _ = read(recipe.to_yaml())
    assert parse_recipe(again, source="its own YAML") == recipe


def test_reading_a_recipe_imports_no_torch() -> None:
    program = (
        "import sys; from risctl.recipe.load import load_recipe; load_recipe('vlt-refcoco'); "
        "print({'torch', 'transformers', 'spacy', 'h5py'} & set(sys.modules) or 'nothing heavy')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "nothing heavy"
