"""Defines what the recipe sections of visual and text encoders share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

from pydantic import ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from risctl.section import Section

PRETRAINED = "hf:"
"""What the name of an encoder of transformers begins with."""

ANY_PRETRAINED = f"{PRETRAINED}FOLDER_OR_ID"
"""What stands in lists for any of them."""

_FILES = ("weights", "tokens")
"""What an encoder of transformers reads from its own folder, unless the recipe names another one or null."""


class EncoderSection(Section):
    """A section that names an encoder. A field that the named encoder does not take is off.

    Attributes:
        off: The fields that only some encoders take, with what they hold for the others.
    """

    off: ClassVar[Mapping[str, Any]] = {}

    name: str

    @classmethod
    def encoders(cls) -> Sequence[str]:
        """Returns the names of the encoders that the system takes."""
        raise NotImplementedError

    @classmethod
    def options_of(cls, name: str) -> Mapping[str, Any]:
        """Returns the fields that an encoder takes, with their defaults."""
        raise NotImplementedError

    @classmethod
    def read_config(cls, source: str) -> dict[str, Any]:
        """Reads the configuration of an encoder of transformers from its folder or the hub."""
        raise NotImplementedError

    @field_validator("name", check_fields=False)
    @classmethod
    def _system_takes_the_encoder(cls, value: str) -> str:
        names = cls.encoders()
        if value not in names and not (is_pretrained(value) and ANY_PRETRAINED in names):
            raise PydanticCustomError("clash", "one of {names}", {"names": ", ".join(names)})
        return value

    @field_validator("*")
    @classmethod
    def _encoder_takes_the_option(cls, value: Any, info: ValidationInfo) -> Any:
        name, option = info.data.get("name"), str(info.field_name)
        if name is None or option not in cls.off:
            return value
        off, options = cls.off[option], cls.options_of(name)
        named = {"name": name, "option": option}
        if option not in options and value != off:
            taking = [one for one in cls.encoders() if option in cls.options_of(one)]
            raise PydanticCustomError(
                "clash",
                "{off}: {name} has no `{option}`" + (", only {taking}" if taking else ""),
                {**named, "off": "null" if off is None else str(off).lower(), "taking": ", ".join(taking)},
            )
        if value is None and options.get(option) is not None and option not in _FILES:
            raise PydanticCustomError("clash", "a value: {name} needs `{option}`", named)
        return value

    def resolved(self) -> Self:
        """Returns the section with the configuration of an encoder of transformers filled in."""
        if not is_pretrained(self.name) or getattr(self, "config", None) is not None:
            return self
        return self.model_copy(update={"config": self.read_config(self.name.removeprefix(PRETRAINED))})


def default_of(option: str, find: Callable[[str], Any], *, off: Any = None) -> Callable[[dict[str, Any]], Any]:
    """Returns what gives the default of a field, which depends on the encoder.

    Args:
        option: The field.
        find: Returns an encoder's entry in its registry, by name.
        off: The default for encoders that do not take the field.
    """

    def default(data: dict[str, Any]) -> Any:
        name = data.get("name")
        if name is None:
            return off
        if option in _FILES and is_pretrained(name):
            return name.removeprefix(PRETRAINED)
        return find(name).options.get(option, off)

    return default


def is_pretrained(name: str) -> bool:
    """Returns whether `name` is that of an encoder of transformers."""
    return name.startswith(PRETRAINED) and name != PRETRAINED
