"""`risctl recipes`: what each command prints, where, and with which exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.command_line import Run

from risctl.cli.options import complete_recipe, complete_shipped
from risctl.recipe.load import load_recipe, shipped_recipes


def test_ls_lists_every_shipped_recipe(risctl: Run) -> None:
    ran = risctl("recipes", "ls")
    assert (ran.code, ran.err) == (0, "")
    assert [line.split()[0] for line in ran.out.splitlines()] == ["name", *shipped_recipes()]
    rows = json.loads(risctl("recipes", "ls", "--json").out)
    row = next(row for row in rows if row["name"] == "vlt-refcocog")
    assert (row["system"], row["dataset"], row["file"]) == (
        "vlt",
        "refcocog_umd",
        str(shipped_recipes()["vlt-refcocog"]),
    )


def test_show_prints_the_file_as_it_is(risctl: Run) -> None:
    ran = risctl("recipes", "show", "vlt-scenes")
    assert ran.out.rstrip() == shipped_recipes()["vlt-scenes"].read_text(encoding="utf-8").rstrip()


def test_show_full_has_every_key_and_is_a_recipe(risctl: Run, tmp_path: Path) -> None:
    ran = risctl("recipes", "show", "vlt-scenes", "--full", "optim.lr=3e-4", "~data.augment")
    assert "betas" in ran.out
    file = tmp_path / "full.yaml"
    file.write_text(ran.out, encoding="utf-8")
    assert load_recipe(file) == load_recipe("vlt-scenes", ["optim.lr=3e-4", "~data.augment"])
    assert json.loads(risctl("recipes", "show", "vlt-scenes", "--json").out)["name"] == "vlt-scenes"


def test_cp_edit_validate(risctl: Run, tmp_path: Path) -> None:
    ran = risctl("recipes", "cp", "vlt-scenes")
    assert (ran.code, ran.out.strip()) == (0, "vlt-scenes.yaml")
    copy = tmp_path / "vlt-scenes.yaml"
    assert copy.read_bytes() == shipped_recipes()["vlt-scenes"].read_bytes()
    assert risctl("recipes", "validate", "vlt-scenes.yaml").out == "valid: vlt-scenes (vlt)\n"
    copy.write_text(copy.read_text(encoding="utf-8").replace("batch_size: 16", "batchsize: 16"), encoding="utf-8")
    ran = risctl("recipes", "validate", str(copy), "train.epochs=0")
    assert ran.code == 3
    assert ran.out == ""
    assert "data.batchsize (line " in ran.err
    assert "did you mean data.batch_size?" in ran.err
    assert "train.epochs (override 'train.epochs=0')" in ran.err


def test_validate_as_json_answers_on_stdout_either_way(risctl: Run) -> None:
    good = json.loads(risctl("recipes", "validate", "vlt-scenes", "optim.lr=3e-4", "--json").out)
    assert good["valid"] is True
    assert good["recipe"]["optim"]["lr"] == 3e-4
    ran = risctl("recipes", "validate", "vlt-scenes", "optim.lr=0", "data.foo=1", "--json")
    bad = json.loads(ran.out)
    assert (ran.code, bad["valid"], len(bad["problems"])) == (3, False, 2)


def test_cp_overwrites_only_when_told(risctl: Run, tmp_path: Path) -> None:
    target = tmp_path / "mine.yaml"
    target.write_text("precious", encoding="utf-8")
    ran = risctl("recipes", "cp", "vlt-scenes", "mine.yaml")
    assert ran.code == 2
    assert "--overwrite" in ran.err
    assert target.read_text(encoding="utf-8") == "precious"
    for option in ("--overwrite", "--force"):
        assert risctl("recipes", "cp", "vlt-scenes", "mine.yaml", option).code == 0
    assert target.read_text(encoding="utf-8").startswith("# A small VLT")
    (tmp_path / "folder").mkdir()
    assert risctl("recipes", "cp", "vlt-scenes", "folder").out.strip() == str(Path("folder/vlt-scenes.yaml"))


def test_unknown_names_suggest_the_nearest(risctl: Run) -> None:
    ran = risctl("recipes", "cp", "vlt-scene")
    assert (ran.code, "did you mean 'vlt-scenes'?" in ran.err) == (2, True)
    ran = risctl("recipes", "show", "vlt-refcocoo")
    assert (ran.code, "did you mean the shipped recipe 'vlt-refcoco'?" in ran.err) == (3, True)


def test_schema_is_json_schema(risctl: Run) -> None:
    schema = json.loads(risctl("recipes", "schema").out)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert set(schema["$defs"]["Recipe"]["required"]) == {"name", "model", "data", "train"}
    assert schema["if"] == {"required": ["base"]} and schema["then"] == {"$ref": "#/$defs/RecipeOnBase"}


def test_completion_offers_names_files_and_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vlt-own.yaml").touch()
    (tmp_path / "vlt-notes.txt").touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "deep.yml").touch()
    assert complete_recipe("vlt-s") == ["vlt-scenes"]
    assert complete_recipe("vlt-o") == ["vlt-own.yaml"]
    assert "sub/" in complete_recipe("")
    assert complete_recipe("sub/") == ["sub/deep.yml"]
    assert complete_recipe("nowhere/x") == []
    assert complete_shipped("vlt-refcocog") == ["vlt-refcocog"]


def test_ls_of_a_paper_lists_its_tables(risctl: Run) -> None:
    ran = risctl("recipes", "ls", "--paper", "step")
    assert (ran.code, ran.err) == (0, "")
    head, *rows = ran.out.splitlines()
    assert head.split() == ["table", "row", "name", "on", "changes", "published"]
    tables = [row.split()[0] for row in rows]
    assert tables == sorted(tables)
    assert {"folds", "components"} <= set(tables)
    assert next(row for row in rows if "step-folds-1" in row).endswith("val 56.58, testA 58.70, testB 55.39")
    found = json.loads(risctl("recipes", "ls", "--paper", "step", "--json").out)
    assert len(found) == len(rows)
    one = next(row for row in found if row["name"] == "step-components-no-context")
    assert (one["base"], one["settings"], one["published"]) == ("step-refcoco", {"model.context_rate": None}, None)
    ran = risctl("recipes", "ls", "--paper", "stepp")
    assert (ran.code, "did you mean 'step'?" in ran.err) == (2, True)


def test_an_ablation_is_shown_copied_and_valid_where_it_is_put(risctl: Run, tmp_path: Path) -> None:
    name = "vlt-queries-learned"
    assert "base: vlt-refcoco" in risctl("recipes", "show", name).out
    assert "query_source: learned" in risctl("recipes", "show", name, "--full").out
    (tmp_path / "deep").mkdir()
    assert risctl("recipes", "cp", name, "deep").out.strip() == str(Path(f"deep/{name}.yaml"))
    assert load_recipe(tmp_path / "deep" / f"{name}.yaml") == load_recipe(name)
    assert risctl("recipes", "validate", f"deep/{name}.yaml").out == f"valid: {name} (vlt)\n"
    assert name in complete_shipped("vlt-queries")


def test_options_of_zeroshot_are_shown_and_copied_and_no_recipe(risctl: Run) -> None:
    name = "global-local-clip-text-sentence"
    assert "text_weight: 1.0" in risctl("recipes", "show", name).out
    assert json.loads(risctl("recipes", "show", name, "--json").out)["zeroshot"] == {"text_weight": 1.0}
    assert risctl("recipes", "cp", name).code == 0
    ran = risctl("recipes", "validate", name)
    assert (ran.code, f"--settings {name}" in ran.err) == (3, True)
