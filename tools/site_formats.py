"""Writes the reference of file formats from the docstrings and tables of the modules that define them."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

from site_markdown import prose, table

from risctl.data.formats.registry import FORMATS
from risctl.data.store.schema import NUMBERS, TEXTS
from risctl.evaluation.scoring.open_source import ACCEPTED
from risctl.evaluation.scoring.template import template
from risctl.inference.video_output_files import VideoPredictions
from risctl.labelling.worker import COLUMNS
from risctl.results import Prediction
from risctl.runtime.manifest import ANSWER, ENCODE, FORMAT, MANIFEST, VERSION, Manifest

PACKAGE = Path(__file__).resolve().parents[1] / "risctl"
_ALIGNED = re.compile(r"^\S.*?\S {2,}\S", re.MULTILINE)
_TYPES = {"<i4": "int32", "<i8": "int64", "<u4": "uint32", "|u1": "uint8", "<f8": "float64"}


def file_formats() -> str:
    """Returns the page: every format that the package writes and reads again."""
    return "\n".join(
        (
            "What risctl writes and reads again. JSON is UTF-8; every file is whole or absent.\n",
            *_section("A store (`.h5`)", "data/store/schema.py"),
            table(
                ("column", "numbers", "a row"), ((f"`{name}`", _TYPES[k], str(n)) for name, (k, n) in NUMBERS.items())
            ),
            "Texts: " + ", ".join(f"`{name}`" for name in TEXTS) + ".\n",
            *_section("Shards of a store", "data/store/shards.py"),
            *_section("Features of frozen encoders", "data/features/schema.py"),
            *_section("Word vectors", "language/vector_cache.py"),
            *_section("A checkpoint (`.safetensors`)", "checkpoints/checkpoint.py"),
            *_section("A run folder", "training/run_folder.py"),
            *_section("An exported model", "runtime/manifest.py"),
            f"`{MANIFEST}` has the format `{FORMAT}`, version {VERSION}; the graphs are `{ENCODE}` and `{ANSWER}`.\n",
            _attributes(Manifest),
            *_section("Predictions of a picture", "inference/output_files.py"),
            _of_function("The record (`.json`)", Prediction.to_dict),
            *_section("Predictions of a video", "inference/video_output_files.py"),
            _paragraphs(inspect.getdoc(VideoPredictions) or "", skip=1),
            *_section("Labels of a collection", "labelling/output.py"),
            "A row has the columns " + ", ".join(f"`{name}`" for name in COLUMNS) + ".\n",
            "## Predictions of other tools\n",
            f"`risctl score` takes {ACCEPTED}.\n",
            _of_function("A line of `--template`", template),
            *_section("Thresholds of a model", "models/calibrated.py"),
            "## Annotation tools\n",
            "`--format` and `--to` take " + ", ".join(f"`{name}`" for name in FORMATS) + ".\n",
            table(("format", "what is written"), ((f"`{name}`", _first_line(one)) for name, one in FORMATS.items())),
        )
    )


def _section(title: str, module: str) -> Iterator[str]:
    """Yields a heading and the docstring of a module, without importing it."""
    found = ast.get_docstring(ast.parse((PACKAGE / module).read_text(encoding="utf-8")))
    if not found:
        raise ValueError(f"risctl/{module} has no docstring")
    yield f"## {title}\n"
    yield _paragraphs(found)


def _paragraphs(text: str, *, skip: int = 0) -> str:
    """Returns a docstring as Markdown; a paragraph that is aligned in columns stays as it is."""
    written = []
    for part in re.split(r"\n\s*\n", text.strip())[skip:]:
        aligned = len(_ALIGNED.findall(inspect.cleandoc(part))) > 1
        written.append(f"```text\n{inspect.cleandoc(part)}\n```" if aligned else prose(part))
    return "\n\n".join(written) + "\n"


def _of_function(title: str, function: Callable[..., object]) -> str:
    """Returns what a function's docstring says before its sections, and the keys of the dictionary that it gives."""
    about = re.split(r"\n(?:Raises|Returns|Args|Yields):", inspect.getdoc(function) or "")[0]
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    (written,) = [node for node in ast.walk(tree) if isinstance(node, ast.Dict)]
    keys = [key.value for key in written.keys if isinstance(key, ast.Constant)]
    return f"**{title}.** {prose(about)}\n\nKeys: {', '.join(f'`{key}`' for key in keys)}.\n"


def _attributes(kind: type) -> str:
    """Returns the attributes of a class as its docstring has them, as a table."""
    listed = (inspect.getdoc(kind) or "").partition("Attributes:\n")[2]
    rows = [
        (f"`{name}`", meaning) for name, meaning in re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", listed, re.MULTILINE)
    ]
    return table(("", "what it is"), rows)


def _first_line(function: Callable[..., object]) -> str:
    return (inspect.getdoc(function) or "").partition("\n\n")[0]
