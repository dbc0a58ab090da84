"""Reads and writes recipes as YAML, with the line number of every key, by YAML 1.2's rules for plain scalars.

PyYAML follows YAML 1.1, where `3e-4` is a string, `no` is false and `1:30` is ninety. Here numbers and booleans
are those of YAML 1.2 (and JSON). Duplicate keys, anchors and all tags but those of JSON's types are refused, and so is
what is too long or nested too deeply to be a recipe: the parser reads some 50,000 characters a second.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, ClassVar

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

MAX_CHARACTERS = 100_000
MAX_DEPTH = 40
MAX_DIGITS = 400
_MOST_PROBLEMS = 50

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
    yaml_constructors: ClassVar[dict[Any, Any]] = {}
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.depth > MAX_DEPTH:
            raise yaml.composer.ComposerError(
                None, None, f"nested more than {MAX_DEPTH} levels deep", self.peek_event().start_mark
            )
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(
                None, None, "recipes cannot use anchors and aliases; write the value out", event.start_mark
            )
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _text_of(loader: _Loader, node: yaml.Node, kind: str, expected: str) -> str:
    """Returns the text of a scalar, which a tag may claim to be of a kind that its text is not."""
    text = str(loader.construct_scalar(node)) if isinstance(node, yaml.ScalarNode) else None
    if text is None or not _PATTERNS[kind].match(text):
        got = "a list or mapping" if text is None else repr(text if len(text) <= 40 else f"{text[:37]}...")
        raise _wrong(node, f"expected {expected}, got {got}")
    return text


def _wrong(node: yaml.Node, what: str) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, what, node.start_mark)


def _int(loader: _Loader, node: yaml.Node) -> int:
    text = _text_of(loader, node, "int", "a whole number")
    if len(text) > MAX_DIGITS:
        raise _wrong(node, f"expected a whole number of at most {MAX_DIGITS} digits, got one of {len(text):,}")
    return int(text)


def _float(loader: _Loader, node: yaml.Node) -> float:
    text = _text_of(loader, node, "float", "a number").lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


def _bool(loader: _Loader, node: yaml.Node) -> bool:
    return _text_of(loader, node, "bool", "true or false").lower() == "true"


def _null(loader: _Loader, node: yaml.Node) -> None:
    _text_of(loader, node, "null", "null")


def _unknown(_: _Loader, node: yaml.Node) -> Any:
    tag = node.tag.replace("tag:yaml.org,2002:", "!!")
    raise _wrong(node, f"the tag {tag:.60} is not for recipes; write the value without it")


class _Dumper(yaml.SafeDumper):
    """SafeDumper that quotes whatever YAML 1.1 or 1.2 would not read as a string."""


_PATTERNS = {tag.rpartition(":")[2]: pattern for tag, pattern, _ in _CORE}
_CONSTRUCTORS: dict[str, Any] = {
    "int": _int,
    "float": _float,
    "bool": _bool,
    "null": _null,
    "str": yaml.SafeLoader.construct_yaml_str,
    "seq": yaml.SafeLoader.construct_yaml_seq,
    "map": yaml.SafeLoader.construct_yaml_map,
}
for _tag, _pattern, _first in _CORE:
    _Loader.add_implicit_resolver(_tag, _pattern, list(_first))
for _kind, _constructor in _CONSTRUCTORS.items():
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _constructor)
_Loader.add_constructor(None, _unknown)


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
        DocumentError: The text is not YAML, is too long or nested too deeply for a recipe, or has duplicate keys, keys
            that are not strings, aliases or tags.
    """
    if len(text) > MAX_CHARACTERS:
        raise DocumentError([(1, f"a recipe has at most {MAX_CHARACTERS:,} characters, this text has {len(text):,}")])
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None, {}
        lines = dict(_lines(node, ()))
        problems = list(islice(_invalid_keys(node, ()), _MOST_PROBLEMS))
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
    except (ValueError, OverflowError) as error:  # an escape such as "\\U00110000" is no character
        raise DocumentError([(loader.line + 1 if loader else 1, str(error))]) from None
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
