"""The shipped ablations: one file a row, each on its base, with where it comes from; listed in docs/fidelity.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from risctl.recipe.ablations import Ablation, ablations
from risctl.recipe.load import load_recipe
from risctl.recipe.shipped import shipped_ablations, shipped_recipes

DOCS = Path(__file__).resolve().parents[2] / "docs" / "fidelity.md"
ROWS = ablations()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_is_named_after_its_paper_and_table_and_says_how_it_is_run(row: Ablation) -> None:
    assert row.name.startswith(f"{row.section.paper}-{row.section.table}-")
    text = row.file.read_text(encoding="utf-8")
    header = text.partition("\nname:")[0]
    assert f"\nname: {row.name}\n" in text
    if row.base == "risctl zeroshot eval":
        assert f"risctl zeroshot eval --settings {row.name} " in header
        return
    assert f"risctl train {row.name} " in header
    assert row.base in shipped_recipes()
    recipe = load_recipe(row.file)
    assert (recipe.name, recipe.ablation) == (row.name, row.section)
    assert recipe.description
    assert recipe != load_recipe(row.base)


def test_every_paper_has_rows_and_no_two_rows_are_alike() -> None:
    assert {row.section.paper for row in ROWS} == {"global-local-clip", "referformer", "step", "vlt", "zsi"}
    assert [*shipped_ablations()] == sorted(row.name for row in ROWS)
    assert len({(row.section.paper, tuple(map(str, row.changes.items()))) for row in ROWS}) == len(ROWS)


def test_a_figure_has_its_dataset_and_a_source() -> None:
    for row in ROWS:
        assert row.section.source
        if row.section.published is not None:
            assert " on " in row.section.published, row.name
            assert "not found" not in row.section.source, row.name


def listed() -> list[str]:
    """Return the rows of the table as docs/fidelity.md has them."""
    return [
        f"| {row.section.paper} | {row.section.table} | {row.section.row} | `{row.name}` "
        f"| {row.section.published or 'not found'} | {row.section.source} |"
        for row in ROWS
    ]


def test_the_list_in_the_docs_is_that_of_the_files() -> None:
    if not DOCS.is_file():
        pytest.skip("these tests do not stand in a checkout")
    lines = DOCS.read_text(encoding="utf-8").splitlines()
    names = {f"`{row.name}`" for row in ROWS}
    there = [line for line in lines if any(name in line for name in names) and line.startswith("| ")]
    assert there == listed()
