"""Defines the base classes of recipe sections, shared field types, and checks that several sections make."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """Base of all recipe sections: unknown keys are refused, values are not converted, and nothing changes once read.

    Strict: `16` is a whole number, `"16"`, `16.0` and `true` are not.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        validate_default=True,  # a default can clash with a value that was given (heads with hidden)
        protected_namespaces=(),
    )


class ModelSection(Section):
    """Base of every system's `model` section.

    A subclass declares `system: Literal["<its name>"]`, which tells the sections apart, and the sections `visual` and
    `text` of its encoders, where it has encoders of its own.

    Attributes:
        protocol: The evaluation protocol of recipes that name none.
    """

    protocol: ClassVar[str] = "original"

    if TYPE_CHECKING:
        system: str
        visual: Any
        text: Any

    def resolved(self) -> Self:
        """Returns the section with what it needs of folders and the hub, apart from weights, its encoders' aside."""
        return self


def expand_home(value: str) -> str:
    """Returns a path with a leading `~/` expanded; `~name` stays, as it may just be a name."""
    return str(Path(value).expanduser()) if value == "~" or value.startswith("~/") else value


def _path_text(value: object) -> object:
    text = str(value) if isinstance(value, Path) else value
    if isinstance(text, str) and "\0" in text:
        raise PydanticCustomError("clash", "a path without NUL characters")
    return text


FileName = Annotated[str, Field(min_length=1), BeforeValidator(_path_text), AfterValidator(expand_home)]
"""A path as text, a leading `~/` expanded; relative paths are taken from the folder the command is run in."""

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
"""A number from 0 to 1."""


def divides(other: str, *, named: str) -> Callable[[int, ValidationInfo], int]:
    """Returns a check, for `field_validator`, that a number divides the field `other`.

    Args:
        other: The name of the other field of the same section.
        named: The other field's dotted key, for the message.
    """

    def check(value: int, info: ValidationInfo) -> int:
        whole = info.data.get(other)
        if whole is not None and whole % value:
            raise PydanticCustomError(
                "clash", "a number that divides `{of}` ({whole}) evenly", {"of": named, "whole": whole}
            )
        return value

    return check


def multiple_of(cell: int) -> Callable[[int], int]:
    """Returns a check, for `field_validator`, that a number is a multiple of `cell`."""

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
