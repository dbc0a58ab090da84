"""Splits an encoder into its frozen first layers, whose output can be cached, and the layers that train.

A completely frozen encoder is all prefix. An encoder whose last layers train states where its frozen part ends by three
methods: `frozen_part` returns the modules of that part in order, `begin` runs them, and `finish` runs the rest. Its
forward is `begin` followed by `finish`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from risctl.core.encoders.base import TextFeatures, VisualFeatures

PrefixOutput = tuple[Tensor, ...]
"""The output of a frozen prefix: tensors (B, ...)."""


@runtime_checkable
class HasFrozenPrefix(Protocol):
    """An encoder that states where its frozen part ends."""

    def frozen_part(self) -> Sequence[nn.Module]:
        """Returns the frozen modules that come first; none if the encoder trains from its first layer on."""

    def begin(self, inputs: Tensor, mask: Tensor) -> PrefixOutput:
        """Runs the frozen part on the arguments of the encoder's forward."""

    def finish(self, parts: PrefixOutput, mask: Tensor) -> VisualFeatures | TextFeatures:
        """Runs the rest of the encoder on the output of `begin`."""


def frozen_prefix_of(encoder: nn.Module) -> tuple[nn.Module, ...]:
    """Returns the first modules of an encoder in training mode that never change; none if all of it trains."""
    if isinstance(encoder, HasFrozenPrefix):
        modules = tuple(encoder.frozen_part())
        return modules if all(_is_frozen(module) for module in modules) else ()
    return (encoder,) if _is_frozen(encoder) and next(encoder.parameters(), None) is not None else ()


def begin(encoder: nn.Module, inputs: Tensor, mask: Tensor) -> PrefixOutput:
    """Runs the frozen part of `encoder` on images (B, 3, H, W) with padding, or on token ids (B, L) with their mask."""
    if isinstance(encoder, HasFrozenPrefix):
        return encoder.begin(inputs, mask)
    seen = encoder(inputs, mask)
    return seen.maps if isinstance(seen, VisualFeatures) else (seen.words, seen.sentence)


def finish_visual(encoder: nn.Module, parts: PrefixOutput, padding: Tensor) -> VisualFeatures:
    """Returns the visual features of `encoder` from the output of `begin`, of any precision."""
    parts = tuple(part.float() for part in parts)
    if isinstance(encoder, HasFrozenPrefix):
        seen = encoder.finish(parts, padding)
        if not isinstance(seen, VisualFeatures):
            raise TypeError(f"{type(encoder).__name__} is not a visual encoder")
        return seen
    strides: tuple[int, ...] = encoder.strides  # type: ignore[assignment]
    return VisualFeatures(maps=parts, strides=strides, padding=padding)


def finish_text(encoder: nn.Module, parts: PrefixOutput, mask: Tensor) -> TextFeatures:
    """Returns the text features of `encoder` from the output of `begin`, of any precision."""
    parts = tuple(part.float() for part in parts)
    if isinstance(encoder, HasFrozenPrefix):
        read = encoder.finish(parts, mask)
        if not isinstance(read, TextFeatures):
            raise TypeError(f"{type(encoder).__name__} is not a text encoder")
        return read
    words, sentence = parts
    return TextFeatures(words=words, mask=mask, sentence=sentence)


def digest(modules: Sequence[nn.Module]) -> str:
    """Returns the SHA-256 (hex) of the parameters and buffers of `modules`, their names and shapes included."""
    found = hashlib.sha256()
    for number, module in enumerate(modules):
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            # A norm's count of the batches it has seen changes nothing once it is frozen.
            if name.endswith("num_batches_tracked"):
                continue
            values = tensor.detach().cpu().contiguous()
            found.update(f"{number} {type(module).__name__} {name} {values.dtype} {tuple(values.shape)}".encode())
            found.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _is_frozen(module: nn.Module) -> bool:
    """Says whether nothing in `module` trains, and no norm or dropout in it is in training mode."""
    # The mode of the encoder itself is that of the system; what is in it was frozen part by part.
    changes = any(one.training for one in module.modules() if one is not module)
    return not changes and not any(parameter.requires_grad for parameter in module.parameters())
