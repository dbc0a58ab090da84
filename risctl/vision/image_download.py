"""Fetches an image over http or https, within bounds of size and time."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPMessage
from typing import IO

from risctl import __version__
from risctl.errors import DataError

_PIECE = 65_536
_SCHEMES = ("http://", "https://")


class _HttpOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https only: a server must not make us read a local file or speak FTP."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        if not newurl.lower().startswith(_SCHEMES):
            raise DataError(f"{req.full_url} redirects to {newurl}, which is no http or https address")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(url: str, *, max_bytes: int, timeout: float, max_seconds: float) -> bytes:
    """Fetches a URL.

    Args:
        url: An http or https URL; proxies of the environment are used.
        max_bytes: The size beyond which the download is refused.
        timeout: Seconds that the server may stay silent.
        max_seconds: Seconds that the whole download may take.

    Raises:
        DataError: The scheme is another, the server refuses, or a bound is exceeded.
    """
    if not url.lower().startswith(_SCHEMES):
        raise DataError(f"expected an http or https URL, got {url}")
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _HttpOnly(),
    ):
        opener.add_handler(handler)
    request = urllib.request.Request(url, headers={"User-Agent": f"risctl/{__version__}"})
    ends = time.monotonic() + max_seconds
    data = bytearray()
    try:
        with opener.open(request, timeout=timeout) as response:
            while piece := response.read1(_PIECE):
                data += piece
                if len(data) > max_bytes:
                    raise DataError(f"{url} has more than {max_bytes:,} bytes, the limit for an image")
                if time.monotonic() > ends:
                    raise DataError(f"{url} was not fetched within {max_seconds:g} seconds; download it first")
    except urllib.error.HTTPError as error:
        raise DataError(f"{url} cannot be fetched: the server answers {error.code} {error.reason}") from error
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(f"{url} cannot be fetched: {reason}") from error
    return bytes(data)
