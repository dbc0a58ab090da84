"""Prepares images, encodes them once, and decodes expressions against them: the one path that every caller takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from risctl.core.encoders.base import TextFeatures, VisualFeatures
from risctl.data.batch import Preprocess
from risctl.systems.base import Output, System
from risctl.systems.protocols import WindowEncoder
from risctl.vision.geometry import Geometry

Tokens = tuple[Tensor, Tensor]
"""One expression's token ids (L,) and its mask (L,), as `Preprocess.text` returns them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedImage:
    """An image as a network takes it.

    Attributes:
        tensor: The network's input, (3, h, w), or (T, 3, h, w) of a frame and those around it.
        geometry: How the image lies in that input.
        row: The image's row in its store; -1 if it comes from elsewhere.
        frame: Where the image stands among T frames, None of an image alone.
        encoded: What the encoder made of it, where it was encoded with others; None: not yet.
    """

    tensor: Tensor
    geometry: Geometry
    row: int = -1
    frame: int | None = None
    encoded: EncodedImage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedImage:
    """What an image encoder makes of one image, of one clip, or of several frames of one size.

    Attributes:
        features: The features, one row per image or clip.
        geometry: How each image lies in the network's input.
    """

    features: VisualFeatures
    geometry: Geometry


def prepare(preprocess: Preprocess, pixels: np.ndarray, *, row: int = -1) -> PreparedImage:
    """Prepares an image, uint8 RGB (H, W, 3), with a system's `preprocess`; `row` is its row in a store."""
    tensor, geometry = preprocess.image(pixels)
    return PreparedImage(tensor=tensor, geometry=geometry, row=row)


def encode(system: System, image: PreparedImage) -> EncodedImage:
    """Encodes one image on the device of `system`; one that was encoded with others stays as it is."""
    if image.encoded is not None:
        return image.encoded
    device = device_of(system)
    padding = image.geometry.padding()[None].to(device, torch.bool)
    if image.frame is not None:
        assert isinstance(system, WindowEncoder)
        frame = torch.tensor([image.frame], device=device)
        features = system.encode_window(image.tensor[None].to(device), padding, frame)
        return EncodedImage(features=_of_image(features), geometry=image.geometry)
    return EncodedImage(features=system.encode_image(image.tensor[None].to(device), padding), geometry=image.geometry)


def encode_together(system: System, images: Sequence[PreparedImage]) -> list[EncodedImage]:
    """Encodes images, those whose inputs are of one size together, and returns them in their order.

    On a GPU a batch takes less time than its images one by one. Its sums may be rounded differently.
    """
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for place, image in enumerate(images):
        alone = (-1, place) if image.frame is not None or image.encoded is not None else ()
        by_shape.setdefault(alone or tuple(image.tensor.shape), []).append(place)
    device = device_of(system)
    found: dict[int, EncodedImage] = {}
    for places in by_shape.values():
        if len(places) == 1:
            found[places[0]] = encode(system, images[places[0]])
            continue
        tensors = torch.stack([images[place].tensor for place in places]).to(device)
        padding = torch.stack([images[place].geometry.padding() for place in places]).to(device, torch.bool)
        features = system.encode_image(tensors, padding)
        for row, place in enumerate(places):
            own = features.select(torch.tensor([row], device=device))
            found[place] = EncodedImage(features=own, geometry=images[place].geometry)
    return [found[place] for place in range(len(images))]


def _of_image(features: VisualFeatures) -> VisualFeatures:
    """Returns the features of clips of one frame as those of images."""
    return replace(features, maps=tuple(feature_map[:, 0] for feature_map in features.maps))


def encode_frames(system: System, frames: Sequence[PreparedImage], *, as_clip: bool) -> EncodedImage:
    """Encodes the frames of a video, all of one size.

    Args:
        system: The system.
        frames: T frames.
        as_clip: Whether they are encoded together, as one clip (1, T, 3, h, w), or each alone, as (T, 3, h, w).
    """
    device = device_of(system)
    geometry = frames[0].geometry
    images = torch.stack([frame.tensor for frame in frames]).to(device)
    padding = geometry.padding()[None].to(device, torch.bool)
    if as_clip:
        features = system.encode_image(images[None], padding)
    else:
        features = system.encode_image(images, padding.expand(len(images), -1, -1))
    return EncodedImage(features=features, geometry=geometry)


def encode_texts(system: System, tokens: Sequence[Tokens]) -> TextFeatures:
    """Encodes N expressions together, the shorter ones padded."""
    ids, masks = zip(*tokens, strict=True)
    device = device_of(system)
    return system.encode_text(
        pad_sequence(list(ids), batch_first=True).to(device), pad_sequence(list(masks), batch_first=True).to(device)
    )


def decode(system: System, image: EncodedImage, text: TextFeatures) -> Output:
    """Decodes N expressions for one image or clip, or one expression for N frames.

    Args:
        system: The system.
        image: One encoded image or clip, or N frames.
        text: N encoded expressions, or one.

    Returns:
        N rows.
    """
    frames, expressions = len(image.features.padding), len(text.words)
    index = torch.zeros(max(frames, expressions), dtype=torch.int64, device=text.words.device)
    if frames > 1 and expressions == 1:
        return system.decode(image.features, text.select(index))
    return system.decode(image.features.select(index), text)


def device_of(system: System) -> torch.device:
    """Returns the device of the parameters of `system`; the CPU for a system without any."""
    parameter = next(system.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device


@contextmanager
def evaluation_mode(system: System) -> Iterator[None]:
    """Puts `system` in evaluation mode within the block, then back in the mode it was in."""
    was_training = system.training
    system.eval()
    try:
        yield
    finally:
        system.train(was_training)
