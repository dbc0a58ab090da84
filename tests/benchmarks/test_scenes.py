"""The benchmark that lays systems side by side on one page, with a step on a few scenes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from risctl.data.datasets.scenes.generate import make_scenes
from risctl.data.store.writer import write_store

_SPEC = importlib.util.spec_from_file_location(
    "scenes", Path(__file__).resolve().parents[2] / "benchmarks" / "scenes.py"
)
assert _SPEC is not None and _SPEC.loader is not None
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)


def test_systems_are_trained_and_stand_on_one_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_store(make_scenes(count=20, seed=0), tmp_path / "scenes.h5")
    changes = ["train.max_steps=1", "data.batch_size=2", "data.workers=0", "train.eval_every=null"]
    names = ["lavt", "cris", "vlt"]
    given = [
        "--only",
        *names,
        "--store",
        str(tmp_path / "scenes.h5"),
        "--out",
        str(tmp_path / "out"),
        "--set",
        *changes,
    ]
    monkeypatch.setattr(sys, "argv", ["scenes.py", *given])
    _MODULE.main()
    page = (tmp_path / "out" / "scenes.html").read_text(encoding="utf-8")
    for letter, name in zip("ABC", names, strict=True):
        assert f"{letter} {name}" in page and (tmp_path / "out" / f"{name}.jsonl").is_file()
    assert 'id="run-C"' in page and "Ability: category" in page
    told = capsys.readouterr().out
    assert "all runs" in told and "by ability" in told and "scenes.html" in told

    # A run without a result was interrupted: it goes on, before it is evaluated.
    result = tmp_path / "out" / "lavt" / "result.json"
    result.unlink()
    (tmp_path / "out" / "lavt.jsonl").unlink()
    _MODULE.main()
    assert result.is_file() and (tmp_path / "out" / "lavt.jsonl").is_file()
