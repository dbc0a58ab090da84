"""Defines the `ablation` section: which row of a paper's table a recipe is, and the paper's figure for it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from risctl.section import Section

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=40)]
Line = Annotated[str, Field(min_length=1, max_length=300)]


class AblationSection(Section):
    """A row of a table in which a paper takes its method apart."""

    paper: Name = Field(description="The system of the paper, as in `risctl recipes ls --paper`.", examples=["step"])
    table: Name = Field(description="What the table varies, a word or two.", examples=["folds"])
    row: Line = Field(description="The row of the table, as a person would name it.")
    published: Line | None = Field(
        default=None, description="The paper's figure for the row, with its dataset and metric; null: not found."
    )
    source: Line = Field(description="Where row and figure come from: a table of the paper, or a file of its code.")
    changes: Literal["output", "training"] = Field(
        default="output",
        description="What the row changes first: the output of a model with the same weights, or its training alone.",
    )
