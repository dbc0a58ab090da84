"""What cannot be exported says why in one line, and the documentation lists every system."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers.command_line import Run, risctl

from risctl.errors import CheckpointError, UsageError
from risctl.export.refusals import refuse_what_is_no_checkpoint
from risctl.models.registry import MODELS, OWN
from risctl.runtime.manifest import MANIFEST
from risctl.systems.registry import SYSTEMS

__all__ = ["risctl"]

DOCUMENTED = Path(__file__).parents[2] / "docs" / "how-to" / "onnx.md"


def _refused(risctl: Run, model: str | Path, *, code: int = 2) -> str:
    """Return the line that refuses a model, of which nothing is written."""
    ran = risctl("export", model, "--out", "out.onnx", "--quiet")
    assert (ran.code, ran.out) == (code, "") and not Path("out.onnx").exists()
    [line] = ran.err.splitlines()
    return line


@pytest.mark.parametrize("name", [name for name in MODELS if name != OWN])
def test_a_model_that_transformers_computes_is_refused_by_its_name(risctl: Run, name: str) -> None:
    line = _refused(risctl, name)
    assert line.startswith(f"error: {name} cannot be exported: ") and "mini" in line


def test_a_folder_of_transformers_is_refused(risctl: Run, tmp_path: Path) -> None:
    folder = tmp_path / "owl"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "owlv2"}')
    assert "cannot be exported: transformers computes it" in _refused(risctl, folder)


def test_what_is_exported_already_is_refused(risctl: Run, tmp_path: Path) -> None:
    folder = tmp_path / "done.onnx"
    folder.mkdir()
    (folder / MANIFEST).write_text("{}")
    assert f"{folder} is exported already" in _refused(risctl, folder)


def test_the_nearest_name_is_said_and_a_missing_file_stays_a_missing_file(risctl: Run, tmp_path: Path) -> None:
    assert "did you mean" in _refused(risctl, "clipsag")
    assert "no run folder or checkpoint file" in _refused(risctl, tmp_path / "absent", code=CheckpointError.exit_code)


def test_checkpoints_and_repositories_of_the_hub_are_left_to_what_opens_them(tmp_path: Path) -> None:
    for model in (OWN, tmp_path, "hf:some/repository"):
        refuse_what_is_no_checkpoint(model)
    with pytest.raises(UsageError, match="cannot be exported"):
        refuse_what_is_no_checkpoint("hf:some/repository+sam2")


def test_every_system_is_documented() -> None:
    rows = re.findall(r"^\| `([a-z-]+)`", DOCUMENTED.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(rows) == sorted(SYSTEMS)
