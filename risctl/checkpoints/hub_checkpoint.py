"""Finds a checkpoint of risctl's own in a repository of the Hugging Face hub, as `risctl push` makes one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from risctl.data.download.hub import is_hub_id, local_folder, model_folder
from risctl.errors import CheckpointError, RisctlError, UsageError
from risctl.json_text import parse_object

HUB = "hf:"
CONFIG, CHECKPOINT = "config.json", "model.safetensors"
KIND = "risctl"
"""The `model_type` in the config.json of such a repository, by which it is told from a model of transformers."""

_MAX_CONFIG = 1 << 20
_SETTINGS = ((CONFIG,),)
_ALL = ((CONFIG,), (CHECKPOINT,))


def is_own(identity: str, *, fetch: bool = True) -> bool:
    """Returns whether a repository of the hub holds a checkpoint of risctl.

    Args:
        identity: `OWNER/NAME` or `OWNER/NAME@REVISION`.
        fetch: Whether its config.json is downloaded where it is not in the hub's cache. One that cannot be had tells
            nothing: what opens the model then says why.
    """
    if not is_hub_id(identity):
        return False
    try:
        folder = model_folder(identity, _SETTINGS, option="--model") if fetch else local_folder(identity, _SETTINGS)
    except RisctlError:
        return False
    return folder is not None and _config(folder).get("model_type") == KIND


def hub_checkpoint(name: str) -> Path:
    """Returns the checkpoint of `hf:OWNER/NAME`, downloaded into the hub's cache if it is not there.

    Raises:
        UsageError: The name is put together wrongly.
        CheckpointError: There is no such repository, or it holds no checkpoint of risctl.
        MachineError: The files are neither here nor to be had.
    """
    identity = name.removeprefix(HUB)
    if not is_hub_id(identity):
        raise UsageError(f"expected {HUB}OWNER/NAME or {HUB}OWNER/NAME@REVISION, got {name!r}")
    kind = _config(model_folder(identity, _SETTINGS, option="--model")).get("model_type")
    if kind != KIND:
        raise CheckpointError(
            f"{identity} holds a model of the type {kind!s:.40}, not one that `risctl push` uploaded; "
            "`risctl models ls` says what takes models of transformers"
        )
    return model_folder(identity, _ALL, option="--model") / CHECKPOINT


def _config(folder: Path) -> dict[str, Any]:
    try:
        return parse_object((folder / CONFIG).read_bytes(), max_bytes=_MAX_CONFIG)
    except (OSError, ValueError):
        return {}
