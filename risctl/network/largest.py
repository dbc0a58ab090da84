"""Says how large a file may be that is downloaded."""

from __future__ import annotations

import os
import re

from risctl.errors import UsageError

MAX_BYTES = 50 * 10**9
"""The length beyond which no file is downloaded, unless the environment variable `RISCTL_MAX_DOWNLOAD_GB` says more."""


def largest_download() -> int:
    """Returns the length in bytes beyond which no file is downloaded.

    Raises:
        UsageError: `RISCTL_MAX_DOWNLOAD_GB` is no positive number.
    """
    stated = os.environ.get("RISCTL_MAX_DOWNLOAD_GB", "").strip()
    if not stated:
        return MAX_BYTES
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", stated) or float(stated) == 0:
        raise UsageError(f"expected a number of gigabytes in RISCTL_MAX_DOWNLOAD_GB, got {stated[:40]!r}")
    return int(float(stated) * 10**9)
