"""Reads the configurations of models of transformers, from which encoders are rebuilt without their folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from risctl.data.download.hub import model_folder
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
        config = AutoConfig.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{folder} cannot be read as a model of transformers: {str(error).splitlines()[0]}"
        ) from error
    values: dict[str, Any] = json.loads(config.to_json_string(use_diff=True))
    return folder, {key: value for key, value in values.items() if key not in _UNUSED}
