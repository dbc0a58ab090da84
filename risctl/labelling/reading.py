"""Reads an image by its path or address, or from a store; errors that pass are tried again."""

from __future__ import annotations

import random
import time
from functools import lru_cache
from pathlib import Path

import numpy as np

from risctl.data.download.addresses import is_address, read_bytes
from risctl.data.store.reader import Store
from risctl.errors import DataError
from risctl.network.http_client import BrokenError
from risctl.vision.images import read_image

TRIES = 5
"""How often an address is tried; a file that is not there is tried once."""
_PAUSE = 0.05  # seconds before the second try; each further pause is twice as long
_STORE_MARK = ".h5#"


def read_address(image: str, *, pause: float = _PAUSE) -> np.ndarray:
    """Returns the pixels of an image, RGB uint8 (H, W, 3).

    Args:
        image: A path, an address, or `STORE.h5#ROW`.
        pause: Seconds before an address is tried again.

    Raises:
        DataError: It is not there or cannot be read.
    """
    if is_address(image):
        return _named(fetch_address(image, pause=pause), image)
    if _STORE_MARK in image:
        path, _, row = image.rpartition("#")
        if row.isdecimal():
            try:
                return _store(path).pixels(int(row))
            except IndexError as error:
                raise DataError(f"{image}: {error}") from error
    return read_image(Path(image))


def fetch_address(address: str, *, pause: float = _PAUSE) -> bytes:
    """Returns the bytes of a file in cloud storage or on the web. Raises `DataError` if they cannot be had."""
    for left in reversed(range(TRIES)):
        try:
            return read_bytes(address)
        except BrokenError as error:
            if not left:
                raise DataError(f"{address} cannot be read, tried {TRIES} times: {error}") from error
            time.sleep(pause * (1 + random.random()))  # not all workers at once
            pause *= 2
    raise AssertionError("not reached")


def source_bytes(image: str) -> bytes:
    """Returns the encoded bytes of an image, as they are. Raises `DataError` if they cannot be read."""
    if is_address(image):
        return fetch_address(image)
    if _STORE_MARK in image and image.rpartition("#")[2].isdecimal():
        path, _, row = image.rpartition("#")
        return _store(path).image_bytes(int(row))
    try:
        return Path(image).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {image}: {error.strerror or error}") from error


def base_name(image: str) -> str:
    """Returns the file name of an image, without folders."""
    if _STORE_MARK in image and image.rpartition("#")[2].isdecimal():
        path, _, row = image.rpartition("#")
        return _store(path).image(int(row)).file_name.rpartition("/")[2]
    return image.partition("?")[0].rpartition("/")[2]


def _named(data: bytes, address: str) -> np.ndarray:
    try:
        return read_image(data)
    except DataError as error:
        raise DataError(str(error).replace("the picture", address, 1)) from error


@lru_cache(maxsize=8)
def _store(path: str) -> Store:
    return Store(path)
