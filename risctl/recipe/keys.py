"""Looks up recipe keys in the schema: what each expects, its default, and which key a mistyped one resembles.

Everything is read from the JSON Schema, so that messages, `risctl recipes schema` and validation cannot disagree.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from risctl.errors import nearest

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key of the schema.

    Attributes:
        path: The key path.
        expects: What values are expected, as a phrase.
        default: The default as YAML; None where there is no fixed one.
        item: What each value of a mapping with free keys (`optim.multipliers`) is expected to be; None for others.
    """

    path: tuple[str, ...]
    expects: str
    default: str | None
    item: str | None


def known_keys(schema: Schema, values: Any = None) -> dict[tuple[str, ...], Key]:
    """Returns every key of a schema by its path.

    Args:
        schema: The JSON Schema.
        values: The recipe's values, which decide between the forms of a section (`model` by its `system`). Without
            them, or where they do not decide, the keys of all forms are returned.
    """
    return {key.path: key for key in _walk(schema, schema, values, ())}


def resolve_path(schema: Schema, location: tuple[str | int, ...]) -> tuple[str, ...]:
    """Returns the key path of a pydantic error location, which names the form of a section as if it were a key."""
    path: list[str] = []
    node = _follow(schema, schema)
    for part in location:
        if "discriminator" in node and part in node["discriminator"]["mapping"]:
            node = _follow(schema, {"$ref": node["discriminator"]["mapping"][part]})
            continue
        path.append(str(part))
        node = _follow(schema, node.get("properties", {}).get(part, {}))
    return tuple(path)


def suggest(path: tuple[str, ...], known: Mapping[tuple[str, ...], Key]) -> Key | None:
    """Returns the key that an unknown path most likely means: the same word elsewhere, else a similar one nearby."""
    *parent, word = path
    word = word.lower().replace("-", "_")
    same = [key for key in known if key[-1] == word]
    if same:
        return known[min(same, key=lambda key: (len(key), key))]
    siblings = {key[-1]: key for key in known if list(key[:-1]) == parent}
    match = nearest(word, siblings)
    if match:
        return known[siblings[match]]
    anywhere = {key[-1]: key for key in known}
    match = nearest(word, anywhere)
    return known[anywhere[match]] if match else None


def in_yaml(value: Any) -> str:
    """Returns a plain value as one line of YAML (flow style) for messages, truncated if long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _follow(root: Schema, node: Schema) -> Schema:
    """Returns `node` with references resolved and `or null` removed."""
    while "$ref" in node:
        node = {**root["$defs"][node["$ref"].rsplit("/", 1)[-1]], **{k: v for k, v in node.items() if k != "$ref"}}
    options = [one for one in node.get("anyOf", ()) if one.get("type") != "null"]
    if len(options) == 1:
        return _follow(root, {**options[0], **{k: v for k, v in node.items() if k != "anyOf"}})
    return node


def _walk(root: Schema, node: Schema, values: Any, path: tuple[str, ...]) -> Iterator[Key]:
    given = values if isinstance(values, Mapping) else {}
    if "discriminator" in node:
        forms: Mapping[str, str] = node["discriminator"]["mapping"]
        tag = given.get(node["discriminator"]["propertyName"])
        for reference in [forms[tag]] if isinstance(tag, str) and tag in forms else forms.values():
            yield from _walk(root, _follow(root, {"$ref": reference}), values, path)
        return
    for name, raw in node.get("properties", {}).items():
        inner = _follow(root, raw)
        free = inner.get("additionalProperties")
        yield Key(
            path=(*path, name),
            expects=_expects(root, raw),
            default=in_yaml(raw["default"]) if "default" in raw else None,
            # Keys of a mapping of sections (`stages`) go on below it, as those of a section do.
            item=_expects(root, free) if isinstance(free, Mapping) and not _is_section(root, free) else None,
        )
        yield from _walk(root, inner, given.get(name), (*path, name))


def _is_section(root: Schema, node: Schema) -> bool:
    return "properties" in _follow(root, node)


def _expects(root: Schema, raw: Schema) -> str:
    options = raw.get("anyOf", ())
    or_null = " or null" if any(option.get("type") == "null" for option in options) else ""
    node = _follow(root, raw)
    return _phrase(root, node) + or_null


def _phrase(root: Schema, node: Schema) -> str:
    if "const" in node:
        return in_yaml(node["const"])
    if "enum" in node:
        return "one of " + ", ".join(str(one) for one in node["enum"])
    if "discriminator" in node:
        return "a section with " + node["discriminator"]["propertyName"]
    match node.get("type"):
        case "integer":
            return "a whole number" + _range(node)
        case "number":
            return "a number" + _range(node)
        case "boolean":
            return "true or false"
        case "string":
            if "pattern" in node:
                return f"text matching {node['pattern']}, such as {node['examples'][0]}"
            if "maxLength" in node:
                return f"text of at most {node['maxLength']} characters"
            return "text that is not empty" if node.get("minLength") else "text"
        case "array" if "prefixItems" in node:
            items = [_expects(root, one) for one in node["prefixItems"]]
            return f"a list of {len(items)}: " + "; ".join(items)
        case "array":
            return "a list, each item " + _expects(root, node["items"])
        case "object" if isinstance(node.get("additionalProperties"), Mapping):
            return "a mapping, each value " + _expects(root, node["additionalProperties"])
        case "object":
            return "a section with keys"
    return "another value"


def _range(node: Schema) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    if low is not None and high is not None:
        text = f" from {_number(low)} to {_number(high)}"
    else:
        bounds = (
            ("of at least", low),
            ("above", node.get("exclusiveMinimum")),
            ("at most", high),
            ("below", node.get("exclusiveMaximum")),
        )
        text = " and".join(f" {word} {_number(bound)}" for word, bound in bounds if bound is not None)
    return text + (f", a multiple of {node['multipleOf']}" if "multipleOf" in node else "")


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"
