"""A small validator of JSON Schema, for the keywords that risctl's own schema uses; it refuses any other keyword."""

from __future__ import annotations

import re
from typing import Any

NOTES = {"$schema", "$defs", "title", "description", "default", "examples", "discriminator"}
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def problems(value: Any, schema: dict[str, Any], *, root: dict[str, Any] | None = None, where: str = "") -> list[str]:
    """Return what is wrong with `value`, each with the key where it is; an empty list if nothing is."""
    root = root or schema
    found: list[str] = []
    for keyword, given in schema.items():
        if keyword not in NOTES:
            found += _check(keyword, given, value, schema, root, where)
    return found


def _check(keyword: str, given: Any, value: Any, schema: dict[str, Any], root: dict[str, Any], where: str) -> list[str]:
    def inner(one: dict[str, Any], item: Any = value, name: str = where) -> list[str]:
        return problems(item, one, root=root, where=name)

    number = isinstance(value, int | float) and not isinstance(value, bool)
    wrong = [f"{where or 'the file'}: {keyword} {given}"]
    match keyword:
        case "$ref":
            return inner(root["$defs"][given.removeprefix("#/$defs/")])
        case "type":
            known = isinstance(value, TYPES[given]) and (given == "boolean" or not isinstance(value, bool))
            return [] if known else wrong
        case "const" | "enum":
            return [] if value in (given if keyword == "enum" else [given]) else wrong
        case "anyOf":
            return [] if any(not inner(one) for one in given) else wrong
        case "oneOf":
            return [] if sum(not inner(one) for one in given) == 1 else wrong
        case "if":
            branch = "else" if inner(given) else "then"
            return inner(schema.get(branch, {}))
        case "then" | "else":
            return []
        case "required":
            return [f"{where}.{name}: required" for name in given if name not in value]
        case "properties":
            named = [(name, one) for name, one in given.items() if isinstance(value, dict) and name in value]
            return [line for name, one in named for line in inner(one, value[name], f"{where}.{name}")]
        case "additionalProperties" | "patternProperties":
            patterns = schema.get("patternProperties", {}) if keyword == "additionalProperties" else {}
            rest = (
                [name for name in value if name not in schema.get("properties", {})] if isinstance(value, dict) else []
            )
            rest = [name for name in rest if not any(re.search(pattern, name) for pattern in patterns)]
            if keyword == "patternProperties":
                pairs = [(name, one) for name in rest for pattern, one in given.items() if re.search(pattern, name)]
            else:
                pairs = [(name, given) for name in rest if given is not True]
            unknown = [f"{where}.{name}: unknown" for name, one in pairs if one is False]
            return unknown + [
                line for name, one in pairs if one is not False for line in inner(one, value[name], f"{where}.{name}")
            ]
        case "items":
            start = len(schema.get("prefixItems", ()))
            items = value[start:] if isinstance(value, list) else []
            return [line for place, item in enumerate(items) for line in inner(given, item, f"{where}[{place}]")]
        case "prefixItems":
            return [line for one, item in zip(given, value, strict=False) for line in inner(one, item)]
        case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum":
            holds = {
                "minimum": lambda: value >= given,
                "maximum": lambda: value <= given,
                "exclusiveMinimum": lambda: value > given,
                "exclusiveMaximum": lambda: value < given,
            }[keyword]
            return [] if not number or holds() else wrong
        case "multipleOf":
            return [] if not number or value % given == 0 else wrong
        case "minLength" | "minItems" | "minProperties":
            return [] if not isinstance(value, str | list | dict) or len(value) >= given else wrong
        case "maxLength" | "maxItems":
            return [] if not isinstance(value, str | list) or len(value) <= given else wrong
        case "pattern":
            return [] if not isinstance(value, str) or re.search(given, value) else wrong
    raise AssertionError(f"this validator does not know the keyword {keyword!r}")
