"""The part of an encoder that training leaves alone: computed once, kept, and gone on from.

An encoder all of which is frozen is its own stem. One that trains in its last part only says where the frozen part
ends, by three methods: `frozen_part` gives the modules of that part in order, none if there is none; `begin` runs them;
`finish` goes on. Its forward is the one after the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from risctl.core.encoders.base import TextFeatures, VisualFeatures

TrainerComponents = tuple[Tensor, ...]
"""What a stem gives: tensors (B, ...)."""


@runtime_checkable
class HasStem(Protocol):
    """An encoder that says itself where its frozen part ends."""

    def frozen_part(self) -> Sequence[nn.Module]:
        """Return the frozen modules that come first; none if the encoder trains from its first layer on."""

    def begin(self, inputs: Tensor, mask: Tensor) -> TrainerComponents:
        """Run the stem on what the encoder's forward takes."""

    def finish(self, parts: TrainerComponents, mask: Tensor) -> VisualFeatures | TextFeatures:
        """Go on from what `begin` gave."""


def stem_of(encoder: nn.Module) -> tuple[nn.Module, ...]:
    """Return the modules of an encoder in training mode that come first and never change; none if all of it trains."""
    if isinstance(encoder, HasStem):
        modules = tuple(encoder.frozen_part())
        return modules if all(_is_frozen(one) for one in modules) else ()
    return (encoder,) if _is_frozen(encoder) and next(encoder.parameters(), None) is not None else ()


def begin(encoder: nn.Module, inputs: Tensor, mask: Tensor) -> TrainerComponents:
    """Return what the stem of `encoder` makes of images (B, 3, H, W) with padding, or of word ids (B, L) with mask."""
    if isinstance(encoder, HasStem):
        return encoder.begin(inputs, mask)
    seen = encoder(inputs, mask)
    return seen.maps if isinstance(seen, VisualFeatures) else (seen.words, seen.sentence)


def finish_visual(encoder: nn.Module, parts: TrainerComponents, padding: Tensor) -> VisualFeatures:
    """Return what `encoder` makes of images, from what `begin` made of them, whatever its precision."""
    parts = tuple(one.float() for one in parts)
    if isinstance(encoder, HasStem):
        seen = encoder.finish(parts, padding)
        if not isinstance(seen, VisualFeatures):
            raise TypeError(f"{type(encoder).__name__} is no visual encoder")
        return seen
    strides: tuple[int, ...] = encoder.strides  # type: ignore[assignment]
    return VisualFeatures(maps=parts, strides=strides, padding=padding)


def finish_text(encoder: nn.Module, parts: TrainerComponents, mask: Tensor) -> TextFeatures:
    """Return what `encoder` makes of texts, from what `begin` made of them, whatever its precision."""
    parts = tuple(one.float() for one in parts)
    if isinstance(encoder, HasStem):
        read = encoder.finish(parts, mask)
        if not isinstance(read, TextFeatures):
            raise TypeError(f"{type(encoder).__name__} is no text encoder")
        return read
    words, sentence = parts
    return TextFeatures(words=words, mask=mask, sentence=sentence)


def digest(modules: Sequence[nn.Module]) -> str:
    """Return the sha256 (hex) of all numbers in `modules`: parameters and buffers, with their names and shapes."""
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
    """Return whether nothing in `module` trains, and no norm or dropout in it is in training mode."""
    # The mode of the encoder itself is that of the system; what is in it was frozen part by part.
    moves = any(one.training for one in module.modules() if one is not module)
    return not moves and not any(one.requires_grad for one in module.parameters())
