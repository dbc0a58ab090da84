"""Thresholds that were chosen for a model on a store: the file that keeps them, and how a model gets them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from risctl.checkpoints.checkpoint import open_checkpoint
from risctl.checkpoints.loaded_model import resolve_checkpoint
from risctl.errors import DataError
from risctl.files import cache_folder, replacing
from risctl.inference.predictor import Predictor
from risctl.json_text import parse_object
from risctl.models.local_copies import copy_of
from risctl.models.names import parse_name
from risctl.models.predictor import PromptedPredictor
from risctl.output_files import slug
from risctl.systems.base import System
from risctl.systems.protocols import InstanceScorer

FORMAT = 1
_BYTES = 2**20
_WEIGHTS = (".safetensors", ".bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Thresholds of a model.

    Attributes:
        model: Its name.
        weights: What tells its weights from others.
        no_target_threshold: A phrase whose score is below it has no match.
        min_score: The score from which an instance belongs to the answer; None: the model's own, or it has none.
        chosen_on: The store, the split and its samples, as JSON values.
        figures: What was measured there, as JSON values.
    """

    model: str
    weights: str
    no_target_threshold: float
    min_score: float | None
    chosen_on: Mapping[str, Any]
    figures: Mapping[str, Any]

    def describe(self) -> str:
        """Returns one line on the thresholds and where they come from."""
        instances = "" if self.min_score is None else f", instances from {self.min_score:.4g}"
        return (
            f"calibrated: no match below {self.no_target_threshold:.4g}{instances}, chosen on "
            f"{self.chosen_on.get('data')}, split {self.chosen_on.get('split')}"
        )


def cached_path(model: str | Path | None) -> Path:
    """Returns where the calibration of a model is kept: in `$RISCTL_CACHE`, else in the user's cache folder.

    Raises:
        CheckpointError: There is no such checkpoint or run folder.
        UsageError: The name is wrong.
    """
    name = parse_name(model)
    if name is None:
        key = str(resolve_checkpoint(model).resolve())
    else:
        sources = (str(Path(one).resolve()) if Path(one).is_dir() else one for one in name.sources)
        key = "+".join((*sources, str(name.chooser), str(name.is_global_local)))
    known = hashlib.sha256(key.encode()).hexdigest()[:16]
    return cache_folder() / "calibration" / f"{slug(Path(str(model or 'mini')).name.lower())[:40]}-{known}.json"


def weights_of(model: str | Path | None) -> str:
    """Returns what tells the weights of a model from others: digests, revisions, or names and sizes of files.

    Raises:
        CheckpointError: There is no such checkpoint or run folder, or it is damaged.
        UsageError: The name is wrong.
    """
    name = parse_name(model)
    if name is None:
        with open_checkpoint(resolve_checkpoint(model)) as file:
            parts: Any = file.header["sha256"]
    else:
        parts = [_weights_of_part(source) for source in name.sources] + [name.chooser]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def find_calibration(model: str | Path | None) -> Calibration | None:
    """Returns the calibration that is cached for a model, None if there is none.

    Raises:
        DataError: The file cannot be read.
        CheckpointError: There is no such model.
        UsageError: The name is wrong.
    """
    path = cached_path(model)
    return read_calibration(path) if path.is_file() else None


def read_calibration(path: Path) -> Calibration:
    """Reads a file that `write_calibration` wrote.

    Raises:
        DataError: It is missing or damaged.
    """
    try:
        if path.stat().st_size > _BYTES:
            raise ValueError("it is too large")
        values = parse_object(path.read_bytes(), max_bytes=_BYTES)
        if values.pop("risctl_calibration", None) != FORMAT:
            raise ValueError(f"it has no risctl_calibration {FORMAT}")
        found = Calibration(**values)
        for threshold in (found.no_target_threshold, found.min_score):
            if threshold is not None and not (isinstance(threshold, float | int) and 0 <= threshold <= 1):
                raise ValueError("its thresholds are no numbers from 0 to 1")
        if not isinstance(found.chosen_on, dict) or not isinstance(found.weights, str):
            raise ValueError("it lacks what it was chosen on")
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"{path} cannot be read as the calibration of a model ({error}); write it anew with `risctl models "
            "calibrate`"
        ) from error
    return found


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Writes a calibration, whole or not at all.

    Raises:
        MachineError: The disk refuses.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as beside:
        text = json.dumps({"risctl_calibration": FORMAT, **asdict(calibration)}, indent=2)
        beside.write_text(text + "\n", encoding="utf-8")


def put_into(
    target: Predictor | PromptedPredictor | System, calibration: Calibration, *, given: float | None = None
) -> None:
    """Gives a model that was opened its calibrated thresholds.

    Args:
        target: The model.
        calibration: The thresholds.
        given: The no-target threshold that the person gave, which stays.
    """
    system = target.system if isinstance(target, Predictor) else target
    if given is None:
        system.no_target_threshold = calibration.no_target_threshold
    if calibration.min_score is not None and isinstance(system, InstanceScorer):
        system.min_score = calibration.min_score


def _weights_of_part(source: str) -> Any:
    copy = copy_of(source)
    if copy.folder is None:
        return source
    if copy.in_cache:
        return [source, copy.folder.name]
    files = sorted(file for file in copy.folder.iterdir() if file.suffix in _WEIGHTS and file.is_file())
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
