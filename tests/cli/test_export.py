"""`risctl export`, run as a program."""

from __future__ import annotations

from pathlib import Path

from helpers.command_line import Run


def test_what_cannot_be_exported_is_one_line(risctl: Run, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    code, out, err = risctl("export", "mini", "--out", tmp_path / "mine")
    assert (code, out) == (2, "") and "there already" in err and "Traceback" not in err
    code, out, err = risctl("export", tmp_path / "none.safetensors", "--out", tmp_path / "new")
    assert (code, out) == (6, "") and "no run folder or checkpoint" in err and "Traceback" not in err
    assert not (tmp_path / "new").exists()
