"""Writes the JSON files of formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from risctl.output_files import OutputFiles


def write_json(path: Path, data: Any, outputs: OutputFiles) -> None:
    """Writes JSON, whole or not at all."""
    outputs.write_text(path, json.dumps(data, ensure_ascii=False, allow_nan=False) + "\n")
