"""Reads the configurations of models of transformers, from which encoders are rebuilt without their folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import get_default_device, nn

from risctl.data.download.hub import MODEL, model_folder
from risctl.data.download.model_files import check_model_fits
from risctl.errors import CheckpointError

_UNUSED = ("id2label", "label2id", "architectures", "transformers_version")


def read_model_config(source: str, *, option: str) -> tuple[Path, dict[str, Any]]:
    """Reads the configuration of a model.

    Args:
        source: A folder in the layout of transformers, or a hub id.
        option: The recipe key that names it, for messages.

    Returns:
        The model's folder, and the configuration as JSON values.

    Raises:
        CheckpointError: There is no such folder, or its configuration cannot be read.
        MachineError: The hub cannot be reached.
    """
    from transformers import AutoConfig

    folder = model_folder(source, (("config.json",),), option=option)
    try:
        config = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the library checks little of what it reads
        raise unreadable(folder, error, what="a model of transformers") from error
    values: dict[str, Any] = json.loads(config.to_json_string(use_diff=True))
    return folder, {key: value for key, value in values.items() if key not in _UNUSED}


def check_fits(weights: str, build: Callable[[], nn.Module], *, option: str) -> None:
    """Compares the size of a model with that of the weights it is to load; not on the meta device, where none are.

    Args:
        weights: A folder in the layout of transformers, or a hub id.
        build: Builds the model.
        option: The recipe key that names the weights, for messages.

    Raises:
        CheckpointError: The model is far larger than its weights, or cannot be built.
        MachineError: The hub cannot be reached.
    """
    if get_default_device().type != "meta":
        check_model_fits(model_folder(weights, MODEL, option=option), build)


def unreadable(folder: Path, error: Exception, *, what: str) -> CheckpointError:
    """Returns the error for a folder that transformers cannot read as `what`, in one line."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return CheckpointError(f"{folder} cannot be read as {what}: {first[:200]}")
