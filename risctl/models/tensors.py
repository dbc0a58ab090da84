"""Moves the inputs of a model to its device and precision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


def moved(inputs: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """Returns the tensors of `inputs` on the device of `model`, those of floats in its precision."""
    found = {}
    for name, value in inputs.items():
        if isinstance(value, torch.Tensor):
            value = value.to(model.device, model.dtype if value.is_floating_point() else value.dtype)
        found[name] = value
    return found
