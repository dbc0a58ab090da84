"""The command line, run in the tests' own process."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from helpers.command_line import Ran, Run

from risctl.cli.app import main


@pytest.fixture
def risctl(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run the command line in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, stdin: bytes = b"") -> Ran:
        monkeypatch.setattr(sys, "argv", ["risctl", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as leaving:
            main()
        return Ran(int(leaving.value.code or 0), *capfd.readouterr())

    return run
