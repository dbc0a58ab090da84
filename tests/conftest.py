"""What all tests share: where the third-party data lies, and quiet, single-threaded torch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of third-party data and parity cases; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("RISCTL_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"third-party data not found at {folder} (set RISCTL_SHARED to where it lies)")
    return folder


@pytest.fixture(scope="session")
def refer_mini(shared: Path) -> Path:
    """A small extract in the published REFER layout."""
    return shared / "data" / "refer_mini"
