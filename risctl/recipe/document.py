"""Reads and writes recipes as YAML, with the line number of every key, by YAML 1.2's rules for plain scalars.

PyYAML follows YAML 1.1, where `3e-4` is a string, `no` is false and `1:30` is ninety. Here numbers and booleans
are those of YAML 1.2 (and JSON). Duplicate keys, anchors and tags other than YAML's own are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

Path = tuple[str, ...]

_CORE = (
    ("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    ("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]+$"), "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        re.compile(
            r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
        ),
        "-+.0123456789",
    ),
)

_BREAKS = re.compile("[\x85\u2028\u2029]")


class DocumentError(Exception):
    """The text is not valid YAML for a recipe.

    Attributes:
        problems: Pairs of a line number, counted from 1, and what is wrong there.
    """

    def __init__(self, problems: list[tuple[int, str]]) -> None:
        self.problems = problems
        super().__init__("; ".join(f"line {line}: {what}" for line, what in problems))


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2's plain scalars."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  PyYAML's own form

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(
                None, None, "recipes cannot use anchors and aliases; write the value out", event.start_mark
            )
        return super().compose_node(parent, index)


def _int(loader: _Loader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))


def _float(loader: _Loader, node: yaml.ScalarNode) -> float:
    text = str(loader.construct_scalar(node)).lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


class _Dumper(yaml.SafeDumper):
    """SafeDumper that quotes whatever YAML 1.1 or 1.2 would not read as a string."""


for _tag, _pattern, _first in _CORE:
    _Loader.add_implicit_resolver(_tag, _pattern, list(_first))
_Loader.add_constructor("tag:yaml.org,2002:int", _int)
_Loader.add_constructor("tag:yaml.org,2002:float", _float)


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = None
    if any(pattern.match(text) for _, pattern, _ in _CORE):
        style = "'"
    elif _BREAKS.search(text):
        style = '"'  # PyYAML writes these breaks bare within other quotes and reads them back as spaces
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def read(text: str) -> tuple[Any, dict[Path, int]]:
    """Parses a YAML document.

    Returns:
        The value, and the line number, counted from 1, of every key path in it.

    Raises:
        DocumentError: The text is not YAML, or has duplicate keys, keys that are not strings, anchors or tags.
    """
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None, {}
        lines = dict(_lines(node, ()))
        problems = list(_invalid_keys(node, ()))
        if problems:
            raise DocumentError(problems)
        return loader.construct_document(node), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(part for part in (error.context, error.problem) if part)
        raise DocumentError([(mark.line + 1 if mark else 1, what)]) from None
    except yaml.reader.ReaderError as error:
        raise DocumentError(
            [(text[: error.position].count("\n") + 1, f"a character that YAML forbids: {error.reason}")]
        ) from None
    except RecursionError:
        raise DocumentError([(1, "nested too deeply")]) from None
    finally:
        if loader:
            loader.dispose()


def _lines(node: yaml.Node, path: Path) -> Iterator[tuple[Path, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, str(key.value))
            yield inner, key.start_mark.line + 1
            yield from _lines(value, inner)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*path, str(index)), value.start_mark.line + 1
            yield from _lines(value, (*path, str(index)))


def _invalid_keys(node: yaml.Node, path: Path) -> Iterator[tuple[int, str]]:
    if isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag != "tag:yaml.org,2002:str":
                yield line, f"the key {_shown(key)} is not a string; quote it if it is meant"
                continue
            dotted = ".".join((*path, key.value))
            if key.value in first:
                yield line, f"{dotted} is given twice, first on line {first[key.value]}"
            first.setdefault(key.value, line)
            yield from _invalid_keys(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _invalid_keys(value, (*path, str(index)))


def _shown(node: yaml.Node) -> str:
    return repr(node.value) if isinstance(node, yaml.ScalarNode) else "(a list or mapping)"


def dump(value: Any) -> str:
    """Returns plain values as a YAML document, keys in their order; `read` returns the same values."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
