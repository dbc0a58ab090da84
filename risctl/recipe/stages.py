"""The `stages` section: a training in several parts, each the recipe with changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from risctl.section import Section


class StageSection(Section):
    """One part of the training: what differs from the recipe. It begins with the weights of the part before."""

    data: dict[str, Any] = Field(default_factory=dict, description="Changes of `data`, key by key.")
    optim: dict[str, Any] = Field(default_factory=dict, description="Changes of `optim`, key by key.")
    train: dict[str, Any] = Field(default_factory=dict, description="Changes of `train`, key by key.")


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` with `changes` laid over them: sections key by key, anything else whole."""
    result = dict(values)
    for key, change in changes.items():
        own = result.get(key)
        both = isinstance(own, Mapping) and isinstance(change, Mapping)
        result[key] = merged(own, change) if both else change  # type: ignore[arg-type]
    return result
