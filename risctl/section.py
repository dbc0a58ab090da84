"""What every section of a recipe shares: unknown keys refused, no silent conversion, nothing changes once read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


class Section(BaseModel):
    """Base of the sections. Strict: `16` is a whole number, `"16"`, `16.0` and `true` are not."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        validate_default=True,  # a default can clash with a value that was given (heads with hidden)
        protected_namespaces=(),
    )


def expand_home(value: str) -> str:
    """Return a path with a leading `~/` expanded; `~name` stays, as it may just be a name."""
    return str(Path(value).expanduser()) if value == "~" or value.startswith("~/") else value


def _path_text(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


FileName = Annotated[str, Field(min_length=1), BeforeValidator(_path_text), AfterValidator(expand_home)]
"""A path as text, a leading `~/` expanded; relative paths are taken from the folder the command is run in."""

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
