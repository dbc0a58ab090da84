"""A model's folder is checked before transformers reads it: sizes, depth, archives, what a configuration asks for."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_transformers import write_text, write_visual
from safetensors.torch import load_file

from risctl.core.encoders.text.config import TextSection
from risctl.core.encoders.text.registry import build_text, read_tokenizer
from risctl.core.encoders.visual.config import VisualSection
from risctl.core.encoders.visual.registry import VisualInput, build_visual
from risctl.data.download import model_files
from risctl.errors import CheckpointError
from risctl.language.vocabulary import Vocabulary


@pytest.fixture
def text(tmp_path: Path) -> Path:
    return write_text(tmp_path / "bert")


def built(folder: Path) -> torch.nn.Module:
    return build_text(TextSection(name=f"hf:{folder}").resolved(), Vocabulary(["red"]), channels=8)


def configured(folder: Path, **values: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return folder


def test_a_configuration_cannot_ask_for_more_than_the_weights_hold(text: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"describes arrays of more than 16,777,216"):
        built(configured(text, hidden_size=32_768, intermediate_size=131_072))
    with pytest.raises(CheckpointError, match="far more than its"):
        built(configured(text, hidden_size=16, num_hidden_layers=10**6))
    backbone = write_visual(tmp_path / "convnext", "convnext")
    with pytest.raises(CheckpointError, match="describes arrays of more than"):
        wide = configured(backbone, hidden_sizes=[8192] * 4)
        build_visual(VisualSection(name=f"hf:{wide}").resolved(), wanted=VisualInput())


def test_files_of_settings_and_tables_are_bounded(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_files, "TABLE_BYTES", 1000)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is refused: it has .* bytes; .* at most 1,000"):
        read_tokenizer(f"hf:{text}", str(text))
    monkeypatch.setattr(model_files, "SETTINGS_BYTES", 100)
    with pytest.raises(CheckpointError, match=r"config\.json is refused"):
        built(text)


def test_settings_are_json_of_some_depth(text: Path) -> None:
    (text / "config.json").write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read as JSON: it is nested too deeply"):
        built(text)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_is_not_waited_for(text: Path) -> None:
    (text / "config.json").unlink()
    os.mkfifo(text / "config.json")
    with pytest.raises(CheckpointError, match=r"lacks config\.json|a device or pipe"):
        built(text)
    (text / "config.json").unlink()
    (text / "config.json").write_text("{}")
    os.mkfifo(text / "generation_config.json")
    with pytest.raises(CheckpointError, match=r"generation_config\.json.*a device or pipe"):
        built(text)


def test_an_archive_of_weights_cannot_unpack_to_more_than_its_size_allows(text: Path) -> None:
    packed = text / "pytorch_model.bin"
    torch.save(load_file(text / "model.safetensors"), packed)
    (text / "model.safetensors").unlink()
    assert built(text)
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("pytorch_model/data/99", bytes(2**26))
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin is refused: .* describes arrays of more than"):
        built(text)


def test_the_code_of_a_folder_is_never_asked_for(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Transformers would ask on stdin whether to run it, and take a piped "y" for an answer."""
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    ran = text / "ran"
    (text / "evil.py").write_text(f"open({str(ran)!r}, 'w')\nclass Config: pass\n")
    configured(text, model_type="evil", auto_map={"AutoConfig": "evil.Config", "AutoModel": "evil.Config"})
    with pytest.raises(CheckpointError, match="cannot be read as a model of transformers"):
        built(text)
    assert not ran.exists()


@pytest.mark.parametrize("mean", [0.5, [0.5], ["a", 1, 2], [1e999, 0, 0], {"r": 1}])
def test_the_mean_of_images_is_three_numbers(mean: Any, tmp_path: Path) -> None:
    folder = write_visual(tmp_path / "convnext", "convnext")
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": mean}))
    with pytest.raises(CheckpointError, match=r"image_mean in .*preprocessor_config\.json|cannot be read as JSON"):
        VisualSection(name=f"hf:{folder}").resolved()
