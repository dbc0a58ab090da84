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


def test_a_model_or_a_clip_is_expected(risctl: Run, tmp_path: Path) -> None:
    for given, said in (
        ((), "expected MODEL, or --clip SOURCE"),
        (("mini", "--clip", "x"), "give one of them"),
        (("mini", "--vocabulary", "x"), "it is of --clip"),
        (("--clip", "x", "--precision", "int8"), "measured by masks"),
        (("--clip", "x", "--calibrate", "x.h5"), "draw no masks"),
        (("mini", "--precision", "int8", "--out", tmp_path / "new"), "give --calibrate STORE"),
    ):
        code, out, err = risctl("export", *given)
        assert (code, out) == (2, "") and said in err and "Traceback" not in err
    assert not (tmp_path / "new").exists()
