"""Finds the graphs of the model that the package ships."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from risctl.runtime.manifest import is_exported

_FOLDER = Path(__file__).resolve().parent.parent / "models" / "mini_onnx"


def is_mini(model: Path | None) -> bool:
    """Returns whether a model's name means the one that comes with the package: none at all, or "mini"."""
    return model is None or (str(model) == "mini" and not model.exists())


def mini_folder() -> Path | None:
    """Returns the folder of mini's graphs, whose weights are those of `mini.safetensors` beside it; None without one.

    `tools/ship_mini_graph.py` makes it.
    """
    return _FOLDER if is_exported(_FOLDER) else None


def is_available() -> bool:
    """Returns whether mini can answer without torch: its graphs are there, and so is ONNX Runtime."""
    return mini_folder() is not None and find_spec("onnxruntime") is not None
