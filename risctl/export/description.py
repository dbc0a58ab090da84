"""Writes `model.json`, which describes an exported model, with the digests of the files beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from risctl import __version__
from risctl.runtime.manifest import FORMAT, MANIFEST, VERSION


def write_description(folder: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Writes the description of a folder's model, last of all its files.

    Args:
        folder: The folder.
        values: What is to be said, as JSON values.

    Returns:
        The whole description, with the format, the versions that wrote it, and the digest of each file.
    """
    header = {
        "format": FORMAT,
        "format_version": VERSION,
        "risctl": __version__,
        "torch": torch.__version__,
        **values,
        "sha256": {path.name: sha256(path) for path in sorted(folder.iterdir()) if path.is_file()},
    }
    text = json.dumps(header, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    return header


def sha256(path: Path) -> str:
    """Returns the digest of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
