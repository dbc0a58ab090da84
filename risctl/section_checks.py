"""Checks that several sections make of their fields, to be given to `field_validator`."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import ValidationInfo
from pydantic_core import PydanticCustomError


def divides(other: str, *, named: str) -> Callable[[int, ValidationInfo], int]:
    """Return a check that a number divides the field `other`, which people know as `named`."""

    def check(value: int, info: ValidationInfo) -> int:
        whole = info.data.get(other)
        if whole is not None and whole % value:
            raise PydanticCustomError(
                "clash", "a number that divides `{of}` ({whole}) evenly", {"of": named, "whole": whole}
            )
        return value

    return check


def multiple_of(cell: int) -> Callable[[int], int]:
    """Return a check that a number is a multiple of `cell`."""

    def check(value: int) -> int:
        if value % cell:
            below = value // cell * cell
            raise PydanticCustomError(
                "clash",
                "a multiple of {cell}, for instance {below} or {above}",
                {"cell": cell, "below": below, "above": below + cell},
            )
        return value

    return check


def imagenet_has_it(value: str | None, info: ValidationInfo) -> str | None:
    """Check that `imagenet` weights are asked for a backbone that has some."""
    name = info.data.get("name")
    if value == "imagenet" and name is not None and not name.startswith(("resnet", "mobilenet")):
        raise PydanticCustomError("clash", "a file or null: {name} has no `imagenet` weights", {"name": name})
    return value
