"""Defines the `stages` section: a training in several parts, each the recipe with changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from risctl.section import Section


class StageSection(Section):
    """One stage of the training: what differs from the recipe. It starts from the weights of the previous stage."""

    data: dict[str, Any] = Field(default_factory=dict, description="Changes of `data`, key by key.")
    optim: dict[str, Any] = Field(default_factory=dict, description="Changes of `optim`, key by key.")
    train: dict[str, Any] = Field(default_factory=dict, description="Changes of `train`, key by key.")


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `values` updated by `changes`: sections key by key, everything else replaced."""
    result = dict(values)
    for key, change in changes.items():
        old = result.get(key)
        both = isinstance(old, Mapping) and isinstance(change, Mapping)
        result[key] = merged(old, change) if both else change  # type: ignore[arg-type]
    return result
