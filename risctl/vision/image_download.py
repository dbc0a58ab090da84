"""Fetches an image over http or https, within bounds of size and time."""

from __future__ import annotations

from risctl.errors import DataError
from risctl.network.http_client import Bounds, BrokenError, RefusedError, open_url, printable


def fetch(url: str, *, max_bytes: int, timeout: float, max_seconds: float) -> bytes:
    """Fetches a URL.

    Args:
        url: An http or https URL; proxies of the environment are used.
        max_bytes: The size beyond which the download is refused.
        timeout: Seconds that the server may stay silent.
        max_seconds: Seconds that the whole download may take.

    Raises:
        DataError: The scheme is another, the server refuses, breaks off, or a bound is exceeded.
    """
    shown, data = printable(url), bytearray()
    try:
        with open_url(url, bounds=Bounds(silence=min(timeout, max_seconds))) as answer:
            if answer.status != 200:
                raise RefusedError(f"the server answers {answer.status} {answer.reason}".rstrip())
            if answer.length is not None and answer.length > max_bytes:
                raise RefusedError(f"it has {answer.length:,} bytes; the limit for an image is {max_bytes:,}")
            for block in answer.blocks(max_seconds=max_seconds):
                data += block
                if len(data) > max_bytes:
                    raise RefusedError(f"it has more than {max_bytes:,} bytes, the limit for an image")
    except (RefusedError, BrokenError) as error:
        raise DataError(f"{shown} cannot be fetched: {error}; download it first") from error
    return bytes(data)
