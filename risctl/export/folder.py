"""Puts an exported model into its folder, whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.errors import UsageError
from risctl.export.calibration import Calibration
from risctl.export.export import export_model
from risctl.files import new_folder
from risctl.runtime.manifest import is_exported


def export_to(
    model: str | Path,
    out: Path,
    *,
    format_name: str,
    precision: str,
    images: Sequence[np.ndarray] = (),
    overwrite: bool = False,
    share_weights: bool = False,
    calibration: Calibration | None = None,
) -> dict[str, Any]:
    """Exports a model into the folder `out`, which is there only once all is written and compared.

    Args:
        model: See `resolve_checkpoint`.
        out: The folder.
        format_name: See `export_model`.
        precision: See `export_model`.
        images: See `export_model`.
        overwrite: Whether an exported model that is there already is replaced.
        share_weights: Whether the graphs read their weights from the model's own file; see `export_model`.
        calibration: See `export_model`.

    Returns:
        The description.

    Raises:
        UsageError: The folder is there already, or the model cannot be exported.
        CheckpointError: There is no usable checkpoint.
        DataError: The store to calibrate on is missing, damaged or too small.
        MachineError: A package is missing, the disk refuses, or the graphs differ from the model.
    """
    refuse_existing(out, overwrite=overwrite)
    loaded = load_checkpoint(model)
    with new_folder(out, replace=overwrite) as made:
        return export_model(
            loaded,
            made,
            format_name=format_name,
            precision=precision,
            images=images,
            weights=loaded.path if share_weights else None,
            calibration=calibration,
        )


def refuse_existing(out: Path, *, overwrite: bool) -> None:
    """Raises `UsageError` if the folder `out` is there and must stay."""
    if out.exists() and not (overwrite and is_exported(out)):
        hint = (
            "give --overwrite, or another --out"
            if is_exported(out)
            else "it holds no exported model; give another --out"
        )
        raise UsageError(f"{out} is there already; {hint}")
