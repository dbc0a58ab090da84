"""Loads pretrained weights of visual backbones, as recipes name them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from safetensors.torch import load_file
from torch import Tensor, nn

from risctl.core.encoders.clip_weights import read_published_clip
from risctl.errors import CheckpointError, nearest
from risctl.weights.pytorch_file import read_state
from risctl.weights.tensor_checks import check_finite, check_kinds, check_plain

_PUBLISHED = ("imagenet", "deeplabv3")
_SHOWN = 3


@runtime_checkable
class TakesOtherNames(Protocol):
    """A backbone whose weights are published under other parameter names as well."""

    def own_names(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns `state` under the backbone's own names."""


def load_backbone(backbone: nn.Module, name: str, weights: str, *, ignored: tuple[str, ...] = ()) -> None:
    """Loads pretrained weights into a backbone.

    Args:
        backbone: The backbone.
        name: Its name in the registry.
        weights: `imagenet`, `deeplabv3`, a `.safetensors` file or torchvision's `.pth`.
        ignored: Prefixes of keys that this backbone leaves out.

    Raises:
        CheckpointError: The file is missing, damaged or of another backbone.
        MachineError: Weights cannot be downloaded.
    """
    state = _published(weights, name) if weights in _PUBLISHED else _read(Path(weights), name)
    if not any(key.startswith("backbone.") for key in backbone.state_dict()):
        # torchvision's segmentation models keep the backbone as one of their parts.
        state = {key.removeprefix("backbone."): value for key, value in state.items()}
    if isinstance(backbone, TakesOtherNames):
        state = backbone.own_names(state)
    load_state(backbone, state, source=weights, ignored=("fc.", "classifier.", "aux_classifier.", *ignored))


def load_state(module: nn.Module, state: dict[str, Tensor], *, source: str, ignored: tuple[str, ...] = ()) -> None:
    """Loads a complete state dict into `module`.

    Args:
        module: The module.
        state: The state dict.
        source: Where it is from, for errors.
        ignored: Prefixes of keys to skip.

    Raises:
        CheckpointError: Tensors are missing, unknown, or of another shape or kind, or hold numbers that are not finite.
    """
    state = {key: value for key, value in state.items() if not key.startswith(ignored)} if ignored else state
    check_state(module, state, source=source)
    module.load_state_dict(state, strict=False)


def check_state(module: nn.Module, state: Mapping[str, Tensor], *, source: str, absent: tuple[str, ...] = ()) -> None:
    """Checks that a state dict fits `module`, which may be on the meta device, and that its numbers are finite.

    Args:
        module: The module.
        state: The state dict.
        source: Where it is from, for errors.
        absent: Prefixes of keys that it may lack.

    Raises:
        CheckpointError: As `load_state` raises it.
    """
    own = module.state_dict()
    # Files of other libraries may lack the norms' step counters, which change nothing at a fixed momentum.
    missing = [
        key
        for key in own
        if key not in state and not key.endswith("num_batches_tracked") and not (absent and key.startswith(absent))
    ]
    unknown = [key for key in state if key not in own]
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    if missing or unknown or shapes:
        raise CheckpointError(f"{source} is of another model: {describe_difference(missing, unknown, shapes)}")
    check_kinds(state, own, source=source)
    check_finite(state.items(), source=source)


def describe_difference(missing: list[str], unknown: list[str], shapes: list[str]) -> str:
    """Returns one line on how two sets of names differ, with the first few names of each kind."""
    parts = []
    if missing:
        parts.append(f"{len(missing)} missing ({_some(missing)})")
    if unknown:
        close = nearest(unknown[0], missing)
        hint = f"; {unknown[0]} resembles {close}" if close else ""
        parts.append(f"{len(unknown)} unknown ({_some(unknown)}{hint})")
    if shapes:
        parts.append(f"{len(shapes)} of another shape ({_some(shapes)})")
    return ", ".join(parts)


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")


def _published(weights: str, name: str) -> dict[str, Tensor]:
    # Not at the top: torchvision, which they come with, takes seconds to import.
    from risctl.core.encoders.visual import published_weights

    return published_weights.imagenet_state(name) if weights == "imagenet" else published_weights.deeplabv3_state(name)


def _read(path: Path, name: str) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(f"expected weights of {name} at {path}, found no file; check model.visual.weights")
    if path.suffix in (".weights", ".h5", ".ckpt", ".caffemodel", ".npz"):
        raise CheckpointError(
            f"expected a .safetensors backbone, got {path}; convert it first: "
            f"risctl import {name.replace('_', '-')} {path} --out {path.with_suffix('.safetensors').name}"
        )
    if path.suffix != ".safetensors" and name.startswith("clip_"):
        return read_published_clip(path)
    if path.suffix != ".safetensors":
        return read_state(path, what=f"weights of {name}", inside=("model",))
    try:
        state = load_file(path)
    except Exception as error:  # damaged names and types come as other errors than the library's own
        raise CheckpointError(f"{path} cannot be read as weights of {name}: {error}") from error
    check_plain(state, source=path)
    return state
