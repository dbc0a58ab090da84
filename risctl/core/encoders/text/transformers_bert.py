"""Reads pretrained BERT and RoBERTa of transformers, and makes their attention masks."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from risctl.data.download.hub import MODEL, model_folder
from risctl.data.download.pretrained import quietly
from risctl.errors import MachineError


def attended(mask: Tensor) -> Tensor:
    """Returns the attention mask of a mask (B, L) of tokens."""
    if mask.is_meta:  # transformers would look whether anything is masked; a mask of all pairs is taken as it is
        return mask[:, None, None].expand(-1, -1, mask.shape[1], -1)
    return mask.long()


def pretrained_state(kind: Any, source: str, *, name: str, **options: Any) -> dict[str, Tensor]:
    """Reads weights from a folder of transformers or a hub id, under transformers' names.

    Args:
        kind: The class of the model, such as `BertModel`.
        source: The folder or the hub id.
        name: What the model is called in messages.
        options: Further arguments of `from_pretrained`.

    Raises:
        CheckpointError: The folder lacks files, or the hub has no such model.
        MachineError: They are not in the folder or the hub's cache and cannot be downloaded.
    """
    folder = model_folder(source, MODEL, option="model.text.weights")
    try:
        with quietly():
            model = kind.from_pretrained(str(folder), local_files_only=True, **options)
    except (OSError, ValueError) as error:
        raise MachineError(
            f"expected {name}'s weights in the folder {source!r}, in the hub's cache or on the net, got: "
            f"{str(error).splitlines()[0]}; give model.text.weights a folder, or null"
        ) from error
    return dict(model.state_dict())
