"""Models by folder: what is missing is named, and weights in several parts are whole only with all of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from risctl.data.download.hub import MODEL, PROCESSOR, model_folder
from risctl.errors import CheckpointError


def _model(folder: Path, parts: dict[str, str]) -> Path:
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))
    return folder


def test_weights_in_parts_are_whole_with_all_of_them(tmp_path: Path) -> None:
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    _model(tmp_path, {"a": names[0], "b": names[1], "c": names[0]})
    (tmp_path / names[0]).touch()
    with pytest.raises(CheckpointError, match=r"lacks model\.safetensors or .*index\.json with its parts"):
        model_folder(str(tmp_path), MODEL, option="--clip")
    (tmp_path / names[1]).touch()
    assert model_folder(str(tmp_path), MODEL, option="--clip") == tmp_path


@pytest.mark.parametrize("parts", [{"a": "../other.safetensors"}, {"a": "/etc/hosts"}, {}, [], "x"])
def test_an_index_names_files_beside_it(tmp_path: Path, parts: dict[str, str]) -> None:
    with pytest.raises(CheckpointError, match="parts"):
        model_folder(str(_model(tmp_path, parts)), MODEL, option="--clip")


def test_what_a_folder_lacks_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(CheckpointError, match=r"lacks preprocessor_config\.json or processor_config\.json$"):
        model_folder(str(tmp_path), (*MODEL, *PROCESSOR), option="--proposals sam:")
    with pytest.raises(CheckpointError, match="expected a folder or a hub id"):
        model_folder("./absent", MODEL, option="--clip")
