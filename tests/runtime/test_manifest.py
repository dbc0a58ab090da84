"""What is wrong with an exported folder is said in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from risctl.errors import CheckpointError
from risctl.runtime.manifest import MANIFEST, VOCABULARY, is_exported, read_manifest

pytest.importorskip("onnx")
from helpers.exported_folder import write_exported


def test_a_folder_is_read(tmp_path: Path) -> None:
    folder = write_exported(tmp_path / "model")
    assert is_exported(folder) and not is_exported(tmp_path)
    manifest = read_manifest(folder)
    assert manifest.graphs["encode"].outputs == ("seen",)
    assert manifest.vocabulary()[2:] == ["the", "bright", "part"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": "other"}, "another program"),
        ({"format_version": 99}, "cannot read"),
        ({"graphs": {}}, "damaged"),
        ({"graphs": {"encode": {"file": "../x.onnx", "inputs": [], "outputs": []}}}, "damaged"),
        ({"image": {"kind": "MiniPreprocess", "size": 10**9}}, "image.size"),
        ({"text": {"kind": "hashed_words", "max_words": -1}}, "text.max_words"),
        ({"output": {"threshold": 7, "no_target_threshold": 0}}, "threshold"),
        ({"sha256": []}, "damaged"),
    ],
)
def test_a_wrong_description_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        read_manifest(write_exported(tmp_path / "model", **changes))


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    folder = write_exported(tmp_path / "model")
    (folder / VOCABULARY).write_text(json.dumps(["<pad>", "<unk>"]))
    with pytest.raises(CheckpointError, match="differs from its digest"):
        read_manifest(folder).vocabulary()
    (folder / MANIFEST).write_text("{")
    with pytest.raises(CheckpointError, match="damaged"):
        read_manifest(folder)
    (folder / MANIFEST).unlink()
    with pytest.raises(CheckpointError, match="missing"):
        read_manifest(folder)
