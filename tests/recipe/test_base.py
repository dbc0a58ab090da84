"""Recipes on a base: what is merged, where a base may stand, and what is said where it cannot be found."""

from __future__ import annotations

from pathlib import Path

import pytest

from risctl.errors import RecipeError
from risctl.recipe.base import MOST_BASES
from risctl.recipe.load import load_recipe, parse_recipe


def write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def problems(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides)
    return [*caught.value.problems] or [str(caught.value)]


def test_sections_are_merged_and_everything_else_is_replaced(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "mine.yaml",
        "base: vlt-refcoco\nname: mine\nmodel: {queries: 4}\noptim: {schedule: {milestones: [30]}}\n"
        "data: {augment: null}\n",
    )
    mine, base = load_recipe(path), load_recipe("vlt-refcoco")
    assert (mine.name, mine.model.queries, mine.optim.schedule.milestones) == ("mine", 4, (30,))
    assert mine.optim.schedule.factor == base.optim.schedule.factor
    assert mine.model.visual == base.model.visual
    assert load_recipe(path, ["model.queries=8", "optim.lr=1e-4"]).model.queries == 8


def test_a_base_can_be_a_file_beside_the_recipe_and_have_a_base(tmp_path: Path) -> None:
    write(tmp_path / "sub", "first.yaml", "base: vlt-refcoco\nname: first\nmodel: {queries: 4}\n")
    path = write(tmp_path, "second.yaml", "base: sub/first.yaml\nname: second\nmodel: {hidden: 128}\n")
    recipe = load_recipe(path)
    assert (recipe.name, recipe.model.queries, recipe.model.hidden) == ("second", 4, 128)


def test_what_a_row_of_a_table_is_is_not_inherited(tmp_path: Path) -> None:
    path = write(tmp_path, "mine.yaml", "base: step-folds-1\nname: mine\n")
    assert load_recipe("step-folds-1").ablation is not None
    assert (load_recipe(path).ablation, load_recipe(path).model.folds) == (None, 1)


def test_all_problems_are_told_at_once_and_where_each_stands(tmp_path: Path) -> None:
    write(tmp_path, "under.yaml", "base: vlt-refcoco\nname: under\nmodel: {queriess: 4}\n")
    path = write(tmp_path, "mine.yaml", "base: under.yaml\nname: mine\noptim:\n  lr: fast\n")
    found = problems(path, "train.epochs=0")
    assert len(found) == 3
    assert any(
        one.startswith("model.queriess (under.yaml line 3): unknown key; did you mean model.queries") for one in found
    )
    assert any(one.startswith("optim.lr (line 4): expected a number") for one in found)
    assert any("train.epochs" in one for one in found)


@pytest.mark.parametrize(
    ("base", "says"),
    [
        ("vlt-refcocoo", "base (line 1): 'vlt-refcocoo' is no shipped recipe; did you mean 'vlt-refcoco'?"),
        ("../outside.yaml", "base (line 1): expected a file in"),
        ("/etc/hosts.yaml", "base (line 1): expected a file in"),
        ("link.yaml", "base (line 1): expected a file in"),
        ("nowhere.yaml", "base (line 1): there is no file 'nowhere.yaml' in"),
        ("3", "base (line 1): expected the name of a shipped recipe or a .yaml file beside this one; got 3"),
        ("[vlt-refcoco]", "base (line 1): expected the name of a shipped recipe"),
        ("mine.yaml", "base (line 1): mine.yaml is based on mine.yaml itself"),
        ("empty.yaml", "holds no recipe"),
        ("broken.yaml", "line 2:"),
        (f"{'x' * 300}.yaml", "base (line 1): expected the name"),
        ("global-local-clip-text-sentence", "zeroshot"),
    ],
)
def test_a_base_that_cannot_be_taken_is_told(base: str, says: str, tmp_path: Path) -> None:
    write(tmp_path, "outside.yaml", "name: outside\n")
    folder = tmp_path / "here"
    write(folder, "empty.yaml", "")
    write(folder, "broken.yaml", "a: [\n")
    (folder / "link.yaml").symlink_to(tmp_path / "outside.yaml")
    path = write(folder, "mine.yaml", f"base: {base}\nname: mine\n")
    assert any(says in one for one in problems(path)), problems(path)


def test_bases_on_bases_have_an_end(tmp_path: Path) -> None:
    write(tmp_path, "0.yaml", "base: vlt-refcoco\nname: zero\n")
    for number in range(1, MOST_BASES + 1):
        path = write(tmp_path, f"{number}.yaml", f"base: {number - 1}.yaml\nname: one\n")
    assert any(f"at most {MOST_BASES} bases" in one for one in problems(path))
    assert load_recipe(tmp_path / f"{MOST_BASES - 1}.yaml").name == "one"


def test_values_that_are_no_file_have_no_base() -> None:
    """A checkpoint's header must not make a reader open files."""
    with pytest.raises(RecipeError) as caught:
        parse_recipe({"base": "vlt-refcoco", "name": "mine"}, source="a header")
    assert any(one.startswith("base: unknown key") for one in caught.value.problems)
