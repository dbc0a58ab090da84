"""The house's own rules, read from its source: rooms in one direction, no circles, nothing that runs foreign text."""

from __future__ import annotations

import ast
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

import risctl

PACKAGE = Path(risctl.__file__).resolve().parent
ROOMS = (
    "cli",
    "demo",
    "environment",
    "labelling",
    "visualization",
    "export",
    "training",
    "evaluation",
    "models",
    "zeroshot",
    "inference",
    "checkpoints",
    "recipe",
    "systems",
    "core",
    "metrics",
    "data",
    "weights",
    "runtime",
    "language",
    "results",
    "vision",
    "devices",
    "distributed",
    "interrupts",
    "output_files",
    "network",
    "files",
    "threads",
    "json_text",
    "section",
    "errors",
)
HEAVY = {
    "torch",
    "torchvision",
    "spacy",
    "transformers",
    "pydantic",
    "h5py",
    "numpy",
    "accelerate",
    "scipy",
    "yaml",
    "onnx",
    "onnxruntime",
    "fastapi",
    "starlette",
    "uvicorn",
}
FILES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES = 400


def _name(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_name(file): file for file in FILES}


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _imports(tree: ast.AST) -> set[str]:
    """The modules that a piece of code imports; of `from a import b`, `a.b` if that is one of ours, else `a`."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in MODULES else str(node.module))
    return found


def _room(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "risctl" and len(parts) > 1 and parts[1] in ROOMS else None


def test_every_part_of_the_package_is_a_known_room() -> None:
    found = {module.split(".")[1] for module in MODULES if "." in module}
    assert found - {"__main__"} == set(ROOMS)


def test_a_room_imports_only_rooms_below_it() -> None:
    upward = []
    for module, file in MODULES.items():
        room = _room(module)
        for other in _imports(_tree(file)):
            if room and _room(other) and ROOMS.index(str(_room(other))) < ROOMS.index(room):
                upward.append(f"{module} imports {other}")
    assert not upward


def test_no_files_import_each_other() -> None:
    # `risctl/__init__.py` is left out: it is the front door, which the rooms ask for the version only.
    graph = {
        module: {other for other in _imports(_tree(file)) if other in MODULES and other not in ("risctl", module)}
        for module, file in MODULES.items()
        if module != "risctl"
    }
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        if module in trail:
            pytest.fail("a circle of imports: " + " > ".join((*trail[trail.index(module) :], module)))
        if module not in done:
            for other in sorted(graph[module]):
                visit(other, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


class _OnImport(ast.NodeTransformer):
    """Leaves of a file what runs when it is imported: neither functions nor what is for type checkers."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        return None

    def visit_If(self, node: ast.If) -> ast.If | None:
        return None if getattr(node.test, "id", "") == "TYPE_CHECKING" else node


@pytest.mark.parametrize("module", [module for module in MODULES if _room(module) == "cli"])
def test_commands_import_nothing_heavy_before_they_run(module: str) -> None:
    found = _imports(_OnImport().visit(ast.parse(MODULES[module].read_text(encoding="utf-8"))))
    assert not {name for name in found if name.split(".")[0] in HEAVY}
    assert {name for name in found if name.startswith("risctl.")} <= {
        name for name in found if _room(name) in ("cli", "errors", "interrupts")
    }


@pytest.mark.parametrize("module", MODULES)
def test_nothing_runs_foreign_text(module: str) -> None:
    tree = _tree(MODULES[module])
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    named = {node.func.id for node in calls if isinstance(node.func, ast.Name)}
    assert not named & {"eval", "exec", "compile", "__import__"}
    assert not _imports(tree) & {"cPickle", "dill", "joblib", "marshal", "shelve"}
    # Naming the error that torch raises is all that a module may do with pickle; one subclasses its Python unpickler.
    used = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    allowed = {"UnpicklingError", "_Unpickler"} if module == "risctl.data.pickles" else {"UnpicklingError"}
    assert {one.attr for one in used if ast.unparse(one.value) == "pickle"} <= allowed
    assert "pickle" not in {one.module for one in ast.walk(tree) if isinstance(one, ast.ImportFrom)}
    for node in calls:
        called = ast.unparse(node.func)
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if called == "torch.load":
            assert keywords.get("weights_only") == "True"
        if called in ("np.load", "numpy.load"):
            assert keywords.get("allow_pickle", "False") == "False"
        assert called not in ("yaml.load", "yaml.unsafe_load", "yaml.full_load", "os.system")
        assert keywords.get("shell", "False") == "False"


@pytest.mark.parametrize("module", MODULES)
def test_no_file_is_too_long_to_read(module: str) -> None:
    lines = len(MODULES[module].read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES, f"{lines} lines; one idea a file"


SCRIPTS = sorted((*PACKAGE.parent.glob("benchmarks/*.py"), *PACKAGE.parent.glob("tools/*.py")))


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_scripts_of_the_repository_import_names_that_exist(file: Path) -> None:
    absent = []
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("risctl"):
            for alias in node.names:
                module = import_module(str(node.module))
                if not hasattr(module, alias.name) and f"{node.module}.{alias.name}" not in MODULES:
                    absent.append(f"{node.module}.{alias.name}")
    assert not absent
