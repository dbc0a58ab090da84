"""Everything public has a docstring; those of the public API say what goes in, what comes out, and what fails."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import risctl
from risctl import errors

REPOSITORY = Path(__file__).resolve().parents[1]
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def defined(tree: ast.Module, place: str) -> Iterator[tuple[str, str | None]]:
    """Yields the module itself and every public class, function, method and property in it, with its docstring."""
    yield place, ast.get_docstring(tree)
    waiting: list[tuple[str, ast.Module | ast.ClassDef]] = [(place, tree)]
    while waiting:
        name, node = waiting.pop()
        for one in node.body:
            if not isinstance(one, (ast.ClassDef, *FUNCTIONS)) or one.name.startswith("_"):
                continue
            if any(re.search(r"\boverload\b|\.setter$", ast.unparse(mark)) for mark in one.decorator_list):
                continue  # the docstring stands at the implementation, or at the getter
            yield f"{name}.{one.name}", ast.get_docstring(one)
            if isinstance(one, ast.ClassDef):
                waiting.append((f"{name}.{one.name}", one))


def test_everything_public_has_a_docstring() -> None:
    found: dict[str, str | None] = {}
    for path in sorted((REPOSITORY / "risctl").rglob("*.py")):
        place = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        found.update(defined(ast.parse(path.read_text(encoding="utf-8")), place))
    assert len(found) > 4000
    without = [name for name, text in found.items() if not text]
    covered = 100 * (1 - len(without) / len(found))
    assert not without, f"{covered:.2f} % of {len(found)} have a docstring"


def members(kind: type) -> Iterator[tuple[str, Callable[..., Any], bool]]:
    """Yields the public methods and properties that a class defines: name, function, and whether it is a property."""
    for name, one in vars(kind).items():
        if name.startswith("_") and name != "__init__":
            continue
        if isinstance(one, (staticmethod, classmethod)):
            yield name, one.__func__, False
        elif isinstance(one, property):
            assert one.fget is not None
            yield name, one.fget, True
        elif inspect.isfunction(one):
            # What a dataclass makes is not written by anybody: its fields are.
            if not (dataclasses.is_dataclass(kind) and name == "__init__"):
                yield name, one, False
        elif hasattr(one, "attrname"):
            yield name, one.func, True


def problems_of(thing: Any, name: str) -> list[str]:
    """Returns what the docstrings of a public class or function lack, with those of its methods and properties."""
    text = inspect.getdoc(thing) or ""
    if not inspect.isclass(thing):
        return _function_problems(thing, name, is_property=False)
    found = [] if text and (not issubclass(thing, Exception) or thing.__doc__) else [f"{name}: no docstring"]
    if dataclasses.is_dataclass(thing):
        found += [
            f"{name}: the field {field.name} is not described"
            for field in dataclasses.fields(thing)
            if not field.name.startswith("_") and not re.search(rf"^ {{4}}{field.name}: ", text, re.MULTILINE)
        ]
    for member, function, is_property in members(thing):
        found += _function_problems(function, f"{name}.{member}", is_property=is_property)
    return found


def _function_problems(function: Callable[..., Any], name: str, *, is_property: bool) -> list[str]:
    text = inspect.getdoc(function) or ""
    if not text:
        # A class's own docstring says what its constructor does where that takes nothing.
        return (
            [] if name.endswith("__init__") and len(inspect.signature(function).parameters) < 2 else [f"{name}: none"]
        )
    parameters = [one for one in inspect.signature(function).parameters if one not in ("self", "cls")]
    listed = text.partition("Args:\n")[2]
    found = [
        f"{name}: the argument {one} is not described"
        for one in parameters
        if not (re.search(rf"^ {{4}}\*{{0,2}}{one}( \(.*\))?: ", listed, re.MULTILINE) or f"`{one}`" in text)
    ]
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(tree, FUNCTIONS)
    gives = tree.returns is not None and ast.unparse(tree.returns).strip("'\"") not in ("None", "Self", "NoReturn")
    says = re.match(r"(Returns|Yields|Whether)\b", text) or re.search(r"^(Returns|Yields):$", text, re.MULTILINE)
    if gives and not is_property and not says:
        found.append(f"{name}: what it returns is not described")
    for raised in sorted(_raised(tree)):
        if not re.search(rf"^ {{4}}{raised}: |Raises `{raised}`|raise `{raised}`", text, re.MULTILINE):
            found.append(f"{name}: {raised} is not described")
    return found


def _raised(tree: ast.AST) -> set[str]:
    """Returns the errors of the package that a function's own body raises."""
    calls = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)]
    names = {call.func.id for call in calls if isinstance(call.func, ast.Name)}
    return {name for name in names if isinstance(getattr(errors, name, None), type)}


def public_api(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Returns what `import risctl` offers, what it returns, and its errors: what the reference of Python describes."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "tools"))
    returned = importlib.import_module("site_reference").RETURNED
    found = {f"risctl.{name}": getattr(risctl, name) for name in risctl.__all__ if not name.startswith("_")}
    for path in returned:
        module, _, name = path.rpartition(".")
        found[path] = getattr(importlib.import_module(module), name)
    kinds = {
        name: one for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, BaseException)
    }
    return found | {f"risctl.errors.{name}": one for name, one in kinds.items()}


def test_the_public_api_is_described_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    api = public_api(monkeypatch)
    counted = sum(1 + (len(list(members(one))) if inspect.isclass(one) else 0) for one in api.values())
    assert len(api) >= 25 and counted > 100
    problems = [problem for name, one in api.items() for problem in problems_of(one, name)]
    assert not problems, f"{len(problems)} problems in {counted} names"


def well(number: int, *, limit: int = 3) -> int:
    """Halves a number.

    Args:
        number: The number.
        limit: The largest.

    Returns:
        The half.

    Raises:
        UsageError: It is too large.
    """
    if number > limit:
        raise errors.UsageError("too large")
    return number // 2


def silent(number: int) -> int:
    return number


def badly(number: int) -> int:
    """Halves."""
    from risctl.errors import UsageError

    if number > 3:
        raise UsageError("too large")
    return number // 2


@dataclasses.dataclass
class Half:
    """A half.

    Attributes:
        whole: What it is of.
    """

    whole: int
    rest: int

    @property
    def both(self) -> int:
        return self.whole + self.rest


def test_what_is_not_described_is_found() -> None:
    assert problems_of(well, "well") == []
    assert problems_of(silent, "silent") == ["silent: none"]
    assert problems_of(badly, "badly") == [
        "badly: the argument number is not described",
        "badly: what it returns is not described",
        "badly: UsageError is not described",
    ]
    assert problems_of(Half, "Half") == ["Half: the field rest is not described", "Half.both: none"]
    assert [name for name, text in defined(ast.parse("class A:\n  def b(self): ...\n  def _c(self): ...\n"), "m")] == [
        "m",
        "m.A",
        "m.A.b",
    ]
