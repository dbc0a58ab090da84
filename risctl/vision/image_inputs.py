"""Reads an image in any form that a caller may hold: path, URL, PIL, numpy, torch, file object or bytes."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np
from PIL import Image

from risctl.errors import DataError, UsageError
from risctl.vision.images import read_image

if TYPE_CHECKING:
    from torch import Tensor

    ImageInput: TypeAlias = str | Path | bytes | IO[bytes] | Image.Image | np.ndarray | Tensor
else:  # torch is not loaded for a type
    ImageInput: TypeAlias = object

MAX_BYTES = 100_000_000
"""Encoded bytes that are read from a URL or a file object at most."""

TIMEOUT = 30.0
"""Seconds that a server may stay silent."""

MAX_SECONDS = 120.0
"""Seconds that a download may take in all."""

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
_ACCEPTED = (
    "a path, an http(s) URL, bytes, an open binary file, a PIL image, a numpy array (H, W), (H, W, 3) or (H, W, 4), "
    "or a torch tensor (3, H, W)"
)


def read_input(image: ImageInput) -> np.ndarray:
    """Reads an image as RGB, as a viewer shows it.

    Args:
        image: A path; an http or https URL, fetched with bounds on size and time; encoded bytes; an open binary file; a
            PIL image; a numpy array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, uint16 or floats in [0, 1]; or
            a torch tensor (1, H, W), (3, H, W) or (H, W) of uint8 or floats in [0, 1].

    Returns:
        Uint8 RGB (H, W, 3).

    Raises:
        DataError: The image cannot be read or fetched.
        UsageError: `image` is of another type.
    """
    if isinstance(image, str) and _URL.match(image):
        return read_image(_fetched(image))
    if isinstance(image, (str, Path, bytes, Image.Image, np.ndarray)):
        return read_image(image)
    if isinstance(image, (bytearray, memoryview)):
        return read_image(bytes(image))
    torch = sys.modules.get("torch")  # a tensor comes only from a caller that has imported torch
    if torch is not None and isinstance(image, torch.Tensor):
        return _from_tensor(image)
    if callable(getattr(image, "read", None)):
        return read_image(_from_file(image))
    raise UsageError(f"expected an image as {_ACCEPTED}; got {type(image).__name__}")


def _from_tensor(tensor: Tensor) -> np.ndarray:
    shape = tuple(tensor.shape)
    if tensor.ndim not in (2, 3) or (tensor.ndim == 3 and shape[0] not in (1, 3, 4)):
        hint = "; move the channels first" if tensor.ndim == 3 and shape[-1] in (1, 3, 4) else ""
        hint = "; give a list of images" if tensor.ndim == 4 else hint
        raise UsageError(f"an image as a torch tensor is (3, H, W) or (H, W); got {shape}{hint}")
    values = tensor.detach().cpu()
    values = values.float() if values.is_floating_point() else values
    return read_image(values.movedim(0, -1).numpy() if values.ndim == 3 else values.numpy())


def _from_file(file: Any) -> bytes:
    try:
        data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"the image file cannot be read: {error}") from error
    if not isinstance(data, bytes):
        raise UsageError(f'expected a file opened in binary mode, as open(path, "rb"); got {type(file).__name__}')
    if len(data) > MAX_BYTES:
        raise DataError(f"the image file has more than {MAX_BYTES:,} bytes, the limit; scale the image down first")
    return data


def _fetched(url: str) -> bytes:
    if not url.lower().startswith(("http://", "https://")):
        scheme = url.partition("://")[0]
        raise UsageError(f"expected an http or https URL, got {scheme}://; download the image and give its path")
    from risctl.vision.image_download import fetch  # the network is loaded only for a URL

    return fetch(url, max_bytes=MAX_BYTES, timeout=TIMEOUT, max_seconds=MAX_SECONDS)
