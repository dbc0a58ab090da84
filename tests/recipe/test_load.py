"""Reading recipes: all problems at once with key, line, default and the key meant; overrides; shipped recipes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from risctl.core.encoders.text.registry import find_text
from risctl.core.encoders.visual.registry import find_visual
from risctl.errors import RecipeError
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.keys import known_keys, resolve_path, suggest
from risctl.recipe.load import find_recipe, load_recipe, parse_recipe, shipped_recipes
from risctl.recipe.problems import problems_of
from risctl.recipe.schema import recipe_json_schema
from risctl.systems.registry import build_system
from risctl.training.optimizer import build_optimizer

GOOD = """\
# A comment.
name: tiny
model:
  system: vlt
  input_size: 64
  visual: {name: small_cnn}
data:
  store: data/tiny.h5
  batch_size: 4
  augment: {flip: 0.5}
optim:
  lr: 1e-3
train:
  epochs: 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A good recipe on disk."""
    path = tmp_path / "tiny.yaml"
    path.write_text(GOOD, encoding="utf-8")
    return path


def problems(path: Path, *overrides: str) -> list[str]:
    """The problems of a recipe that has some."""
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides)
    assert caught.value.exit_code == 3
    return list(caught.value.problems)


def edited(file: Path, *changes: tuple[str, str]) -> Path:
    """The recipe with pieces of its text replaced."""
    text = file.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")
    return file


def test_numbers_without_a_point_are_numbers(file: Path) -> None:
    assert load_recipe(file).optim.lr == 1e-3


def test_all_problems_at_once_in_the_order_of_the_file(file: Path) -> None:
    edited(
        file,
        ("input_size: 64", "input_size: 100"),
        ("small_cnn", "smal_cnn"),
        ("batch_size: 4", "batchsize: 4"),
        ("lr: 1e-3", "lr: fast"),
        ("  epochs: 3", "  seed: -1"),
    )
    assert problems(file) == [
        "model.input_size (line 5): expected a multiple of 32, for instance 96 or 128; got 100 (default: 416)",
        (
            "model.visual.name (line 6): expected one of darknet53, small_cnn, resnet18, resnet50, resnet101, "
            "mobilenet_v2, shufflenet, clip_resnet50, clip_resnet101, clip_resnet50x4, clip_resnet50x16, "
            "clip_resnet50x64, swin_t, swin_s, swin_b, swin_l, video_swin_t, video_swin_s, video_swin_b, "
            'hf:FOLDER_OR_ID; got "smal_cnn" (default: "darknet53")'
        ),
        "data.batchsize (line 9): unknown key; did you mean data.batch_size? (default: 16)",
        'optim.lr (line 12): expected a number above 0 and at most 10; got "fast" (default: 0.001)',
        "train.epochs (in train, line 13): missing; expected a whole number from 1 to 100000",
        "train.seed (line 14): expected a whole number from 0 to 4294967295; got -1 (default: 0)",
    ]


def test_a_clash_across_sections_is_told_at_the_key(file: Path) -> None:
    edited(file, ("  lr: 1e-3", "  schedule: {name: steps, milestones: [2, 9]}"))
    (problem,) = problems(file)
    assert problem.startswith("optim.schedule.milestones (line 12): expected epochs no later than `train.epochs` (3)")


def test_a_bad_list_is_told_once_and_whole(file: Path) -> None:
    edited(file, ("lr: 1e-3", "betas: [2, 3]"))
    (problem,) = problems(file)
    assert problem.startswith("optim.betas (line 12): expected a list of 2")
    assert "got [2, 3]" in problem


def test_text_that_looks_like_a_number_is_called_text(file: Path) -> None:
    (problem,) = problems(edited(file, ("batch_size: 4", "batch_size: '4'")))
    assert 'got "4" (text)' in problem


def test_broken_yaml_names_its_line(file: Path) -> None:
    edited(file, ("  batch_size: 4", "  store: other.h5"))
    assert problems(file) == ["line 9: data.store is given twice, first on line 8"]


@pytest.mark.parametrize("content", [b"", b"- a\n", b"just words\n", b"\xff\xfe\x00"])
def test_a_file_that_is_no_recipe(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "odd.yaml"
    file.write_bytes(content)
    with pytest.raises(RecipeError, match=r"odd\.yaml"):
        load_recipe(file)


def test_overrides_set_and_take_out(file: Path) -> None:
    recipe = load_recipe(
        file,
        [
            "optim.lr=3e-4",
            "data.batch_size=16",
            "~data.augment",
            "optim.betas=[0.8, 0.9]",
            "optim.multipliers.visual.stem=0.5",
            "model.text={hidden: 64, dim: 8}",
            "model.text.dim=16",
            "description=a = b",
            "~optim.clip_norm",
        ],
    )
    assert recipe.optim.lr == 3e-4
    assert recipe.data.batch_size == 16
    assert recipe.data.augment is None
    assert recipe.optim.betas == (0.8, 0.9)
    assert recipe.optim.multipliers == {"visual.stem": 0.5}
    assert (recipe.model.text.hidden, recipe.model.text.dim) == (64, 16)
    assert recipe.description == "a = b"


def test_overrides_hold_in_their_order(file: Path) -> None:
    assert load_recipe(file, ["optim.lr=1", "optim.lr=2", "~optim.lr"]).optim.lr == 1e-3
    assert load_recipe(file, ["~data.augment", "data.augment.flip=0.25"]).data.augment.flip == 0.25  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("optim.lrr=3", "optim.lrr (override 'optim.lrr=3'): unknown key; did you mean optim.lr? (default: 0.001)"),
        ("lr=3", "lr (override 'lr=3'): unknown key; did you mean optim.lr? (default: 0.001)"),
        ("optim.batch-size=3", "did you mean data.batch_size?"),
        ("optm.lr=3", "optm (override 'optm.lr=3'): unknown key; did you mean optim?"),
        ("train.xyzzy=3", "unknown key; `risctl recipes schema` lists all"),
        ("~data.augmnt", "override '~data.augmnt': unknown key data.augmnt; did you mean ~data.augment?"),
        ("~data.augment=1", "expected ~key, without a value"),
        ("nonsense", "override 'nonsense': expected key=value or ~key"),
        ("=3", "expected key=value or ~key"),
        ("optim..lr=3", "expected key=value or ~key"),
        ("optim.lr.x=3", "optim.lr is not a section"),
        ("optim.lr=abc", "optim.lr (override 'optim.lr=abc'): expected a number above 0 and at most 10; got \"abc\""),
        ("optim.betas=[0.9", "the value is not YAML"),
        ("~data.store", "data.store (override '~data.store'): missing; expected text that is not empty"),
        ("model.system=mcn", "expected system: one of vlt, step"),
        ("optim=3", "optim (override 'optim=3'): expected a section with keys; got 3"),
    ],
)
def test_bad_overrides(file: Path, override: str, says: str) -> None:
    (problem,) = problems(file, override)
    assert says in problem


def test_problems_of_file_and_overrides_come_together(file: Path) -> None:
    found = problems(edited(file, ("epochs: 3", "epochs: none")), "optim.lr=-1", "oops")
    assert [problem.split()[0] for problem in found] == ["override", "train.epochs", "optim.lr"]


def test_a_removed_section_forgets_its_lines(file: Path) -> None:
    (problem,) = problems(file, "data.augment={flip: 2}")
    assert problem.startswith("data.augment.flip (in data.augment, override 'data.augment={flip: 2}')")


def test_the_mapping_given_is_left_as_it_was() -> None:
    values: dict[str, Any] = {"name": "a", "model": {"system": "vlt"}, "data": {"store": "x"}, "train": {"epochs": 1}}
    assert parse_recipe(values, source="a test", overrides=["data.batch_size=2"]).data.batch_size == 2
    assert values["data"] == {"store": "x"}


def test_every_shipped_recipe_is_valid_and_named_as_its_file() -> None:
    names = set(shipped_recipes())
    assert {"vlt-refcoco", "vlt-refcoco+", "vlt-refcocog", "vlt-scenes", "vlt-refer-mini"} <= names
    for name in names:
        recipe = load_recipe(name)
        assert recipe.name == name
        assert recipe.description


def test_the_published_recipes_have_the_published_settings() -> None:
    for name, words in (("vlt-refcoco", 15), ("vlt-refcoco+", 15), ("vlt-refcocog", 20)):
        recipe = load_recipe(name)
        assert recipe.model.max_words == words
        assert (recipe.optim.name, recipe.optim.lr, recipe.optim.eps) == ("adam", 1e-3, 1e-7)
        assert (recipe.optim.schedule.milestones, recipe.train.epochs) == ((40, 45, 50), 50)
        assert (recipe.data.batch_size, recipe.eval.protocol, recipe.train.best) == (128, "mcn", "mIoU")


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_headers_say_what_is_reproduced_and_the_command(name: str) -> None:
    header = shipped_recipes()[name].read_text(encoding="utf-8").partition("\nname:")[0]
    assert f"risctl train {name}" in header
    assert "Published" in header or "Reproduces no publication" in header


def test_the_recipes_of_cris_have_the_published_settings() -> None:
    named = {"cris-refcoco": 17, "cris-refcoco+": 17, "cris-refcocog-umd": 22, "cris-refcocog-google": 22}
    for name, words in named.items():
        recipe = load_recipe(name)
        assert (recipe.model.max_words, recipe.model.input_size, recipe.eval.protocol) == (words, 416, "cris")
        assert (recipe.optim.name, recipe.optim.lr, recipe.optim.weight_decay) == ("adam", 1e-4, 0.0)
        assert (recipe.optim.schedule.milestones, recipe.train.epochs, recipe.optim.clip_norm) == ((36,), 50, None)
        assert (recipe.optim.multipliers_from, recipe.train.precision, recipe.data.augment) == (2, "fp16", None)
        assert (recipe.train.sync_norms, recipe.train.eval_sentences, recipe.data.sentences) == (
            True,
            "first",
            "random",
        )


def test_the_rates_of_cris_are_the_published_groups() -> None:
    """325 tensors at a tenth, 124 at the full rate; CLIP's temperature, which no output depends on, is not built."""
    recipe = load_recipe("cris-refcoco")
    with torch.device("meta"):
        system = build_system(recipe.model, vocabulary=Vocabulary(f"w{n}" for n in range(49_406)), pretrained=False)
    optimizer = build_optimizer(system, recipe.optim)
    # Queries, keys and values of the text transformer, packed in the published model, are six tensors instead of two.
    apart = 4 * recipe.model.text.layers
    found = {group["multiplier"]: group["params"] for group in optimizer.param_groups}
    assert sum(one.numel() for one in found[1.0]) == 42_884_609 and len(found[1.0]) == 124
    assert sum(one.numel() for one in found[0.1]) == 103_964_513 - 1 and len(found[0.1]) == 325 - 1 + apart


def test_step_says_at_each_key_what_its_paper_does_not_state() -> None:
    """Recipes with the paper's settings give every key of the model, and mark those that are by analogy."""
    names = ("step-refcoco", "step-refcoco+", "step-refcocog-google", "step-refclef")
    for name in names:
        recipe = load_recipe(name)
        lines = shipped_recipes()[name].read_text(encoding="utf-8").splitlines()
        marked = {line.split(":")[0].strip() for line in lines if "# by analogy: " in line}
        assert {"coordinates", "order", "first_map", "gru_input", "state_stride", "first_state"} <= marked
        assert {"gate_bias", "candidate_bias", "context_channels", "context_activation", "directions"} <= marked
        assert {"batch_size", "augment", "protocol"} <= marked
        assert not {"folds", "filters", "attention", "embedding", "context_rate", "lr", "max_steps"} & marked
        given = {line.split(":")[0].strip() for line in lines if line.startswith("  ")}
        taken = {*find_visual(recipe.model.visual.name).options, *find_text(recipe.model.text.name).options}
        assert {"name", "weights", *type(recipe.model).model_fields, *taken} - given <= {"extra_words"}
        assert (recipe.optim.name, recipe.optim.lr, recipe.optim.weight_decay) == ("adam", 2.5e-4, 5e-3)
        assert (recipe.optim.schedule.name, recipe.optim.schedule.power) == ("poly", 0.9)
        assert (recipe.train.max_steps, recipe.model.folds, recipe.model.input_size) == (700_000, 5, 320)


def test_small_recipes_of_step_and_vlt_have_one_budget() -> None:
    step, vlt, cris = load_recipe("step-scenes"), load_recipe("vlt-scenes"), load_recipe("cris-scenes")
    assert (cris.data, cris.optim, cris.train, cris.eval) == (vlt.data, vlt.optim, vlt.train, vlt.eval)
    assert (step.data, step.optim, step.train, step.eval) == (vlt.data, vlt.optim, vlt.train, vlt.eval)
    assert step.model.input_size == vlt.model.input_size


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean the shipped recipe 'vlt-scenes'"):
        find_recipe("recipes/vlt-scene.yaml")


@pytest.mark.parametrize("odd", ["~data.augment", "x" * 5000, "", "optim.lr=3"])
def test_what_is_no_name_of_a_recipe_is_told_in_a_line(odd: str) -> None:
    with pytest.raises(RecipeError) as caught:
        find_recipe(odd)
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="a folder, not a recipe file"):
        find_recipe(tmp_path)


class _Cat(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["cat"]
    lives: int = 9


class _Dog(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["dog"]
    tricks: int


class _Home(BaseModel):
    pet: Annotated[_Cat | _Dog, Field(discriminator="kind")]


def test_sections_of_several_forms_are_told_by_their_keys() -> None:
    schema = _Home.model_json_schema()
    assert {key[-1] for key in known_keys(schema, {"pet": {"kind": "dog"}})} == {"pet", "kind", "tricks"}
    assert {key[-1] for key in known_keys(schema)} == {"pet", "kind", "tricks", "lives"}
    assert resolve_path(schema, ("pet", "dog", "tricks")) == ("pet", "tricks")
    for values, says in (
        (
            {"pet": {"kind": "dog", "trics": 3}},
            ["pet.tricks: missing; expected a whole number", "pet.trics: unknown key"],
        ),
        ({"pet": {"kind": "cow"}}, ["pet: expected kind: one of cat, dog; got"]),
    ):
        with pytest.raises(ValidationError) as caught:
            _Home.model_validate(values)
        found = problems_of(caught.value, schema=schema, values=values, origins={})
        assert len(found) == len(says)
        assert all(problem.startswith(start) for problem, start in zip(sorted(found), says))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("lr", "optim.lr"),
        ("optim.LR", "optim.lr"),
        ("model.epochs", "train.epochs"),
        ("model.dropuot", "model.dropout"),
    ],
)
def test_suggestions(typed: str, meant: str) -> None:
    found = suggest(tuple(typed.split(".")), known_keys(recipe_json_schema()))
    assert found is not None
    assert ".".join(found.path) == meant


def test_a_file_too_large_for_a_recipe_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "long.yaml").write_text("key: 1\n" * 1_500_000)
    with pytest.raises(RecipeError, match=r"it has 10,500,000 bytes, and a recipe at most 100,000 characters"):
        load_recipe(tmp_path / "long.yaml")


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("optim.lr=" + "9" * 5000, "at most 400 digits"),
        ("optim.lr=!!int abc", "expected a whole number, got 'abc'"),
        ("optim.lr=" + "[" * 5000, "nested more than 40 levels"),
        ("a." * 5000 + "b=1", "at most 20 parts"),
        ("optim.lr=" + "x" * 200_000, "at most 100,000 characters"),
        ("data.store='a\\0b'", "data.store"),
        ('data.store="a\\0b"', "a path without NUL characters"),
        ("train.seed=" + "9" * 399, "train.seed"),
    ],
)
def test_hostile_overrides_are_short_lines(override: str, says: str) -> None:
    try:
        load_recipe("vlt-refcoco", [override])
    except RecipeError as error:
        assert says in str(error) and all(len(problem) < 700 for problem in error.problems)
    else:
        assert override.startswith("data.store='")


def test_thousands_of_unknown_keys_are_told_in_seconds(tmp_path: Path) -> None:
    text = "".join(f"unheard{number}: 1\n" for number in range(4000))
    (tmp_path / "many.yaml").write_text(text)
    start = time.process_time()
    with pytest.raises(RecipeError, match="more problems"):
        load_recipe(tmp_path / "many.yaml")
    assert time.process_time() - start < 10
