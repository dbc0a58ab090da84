"""One file that rebuilds its model, is never half there, and is refused when it is not what it should be."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny import TinySystem, build_tiny, tiny_recipe
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from risctl.checkpoints import checkpoint
from risctl.checkpoints.checkpoint import read_tensors, save_checkpoint
from risctl.checkpoints.loaded_model import SHIPPED, load_checkpoint, resolve_checkpoint
from risctl.errors import CheckpointError, MachineError
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.schema import Recipe

EXTRA = {"step": 7, "metrics": {"mIoU": 1.5}}
VOCABULARY = Vocabulary(["red", "box", "größe", '"quoted"'])


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return tiny_recipe(tmp_path / "none.h5")


@pytest.fixture
def system(recipe: Recipe) -> TinySystem:
    torch.manual_seed(3)
    return build_tiny(recipe.model, vocabulary=VOCABULARY)


@pytest.fixture
def saved(tmp_path: Path, recipe: Recipe, system: TinySystem) -> Path:
    path = tmp_path / "run" / "best.safetensors"
    save_checkpoint(path, system=system, recipe=recipe, vocabulary=VOCABULARY, extra=EXTRA)
    return path


def rewrite(path: Path, **changes: Any) -> None:
    """Change header entries of a checkpoint; None takes one out."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["risctl"])
    header.update(changes)
    header = {key: value for key, value in header.items() if value is not None}
    save_file(load_file(path), path, metadata={"risctl": json.dumps(header)})


def test_rebuilds_its_model_unaided(saved: Path, recipe: Recipe, system: TinySystem) -> None:
    for given in (saved, saved.parent, str(saved.parent)):
        loaded = load_checkpoint(given, build=build_tiny)
        assert loaded.recipe == recipe and loaded.vocabulary == VOCABULARY and loaded.path == saved
        assert loaded.header["step"] == 7 and loaded.header["metrics"] == {"mIoU": 1.5}
        assert not loaded.system.training
        state = loaded.system.state_dict()
        assert all(torch.equal(state[name], tensor) for name, tensor in system.state_dict().items())


def test_the_same_content_gives_the_same_bytes(tmp_path: Path, saved: Path, recipe: Recipe, system: TinySystem) -> None:
    other = tmp_path / "other.safetensors"
    save_checkpoint(other, system=system, recipe=recipe, vocabulary=VOCABULARY, extra=EXTRA)
    assert other.read_bytes() == saved.read_bytes()


def test_a_running_mean_is_what_is_loaded(tmp_path: Path, recipe: Recipe, system: TinySystem) -> None:
    path = tmp_path / "last.safetensors"
    mean = {"head.weight": torch.full_like(system.head.weight, 0.25)}
    training = {"exp_avg head.weight": torch.ones_like(system.head.weight)}
    save_checkpoint(path, system=system, recipe=recipe, vocabulary=VOCABULARY, mean=mean, training=training)
    loaded = load_checkpoint(path, build=build_tiny).system
    assert isinstance(loaded, TinySystem)
    assert torch.equal(loaded.head.weight, mean["head.weight"])
    assert torch.equal(loaded.head.bias, system.head.bias)
    _, tensors = read_tensors(path, prefixes=(checkpoint.TRAINING,))
    assert list(tensors) == ["training.exp_avg head.weight"]


def test_shared_and_sliced_tensors_are_kept(tmp_path: Path, recipe: Recipe, system: TinySystem) -> None:
    whole = torch.arange(6.0)
    training = {
        "whole": whole,
        "same": whole,
        "part": whole[2:4],
        "turned": whole.view(2, 3).t(),
        "none": torch.zeros(0),
    }
    path = tmp_path / "x.safetensors"
    save_checkpoint(path, system=system, recipe=recipe, vocabulary=VOCABULARY, training=training)
    _, tensors = read_tensors(path, prefixes=(checkpoint.TRAINING,))
    for name, tensor in training.items():
        assert torch.equal(tensors[f"training.{name}"], tensor)


def test_best_goes_before_last(saved: Path, recipe: Recipe, system: TinySystem) -> None:
    last = saved.parent / "last.safetensors"
    save_checkpoint(last, system=system, recipe=recipe, vocabulary=VOCABULARY)
    assert resolve_checkpoint(saved.parent) == saved
    saved.unlink()
    assert resolve_checkpoint(saved.parent) == last
    last.unlink()
    with pytest.raises(CheckpointError, match="found neither"):
        resolve_checkpoint(saved.parent)
    with pytest.raises(CheckpointError, match="no run folder or checkpoint file"):
        resolve_checkpoint(saved.parent / "nowhere")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_truncated_is_refused(saved: Path, share: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(saved, build=build_tiny)


def test_a_changed_byte_is_refused(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    content[-5] ^= 0x10
    saved.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="digest"):
        load_checkpoint(saved, build=build_tiny)


def test_a_pickle_is_refused_and_does_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (marker,))

    path = tmp_path / "evil.safetensors"
    torch.save(Trap(), path)
    with pytest.raises(CheckpointError, match="no safetensors file"):
        load_checkpoint(path, build=build_tiny)
    assert not marker.exists()


def test_a_huge_header_length_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge.safetensors"
    path.write_bytes(struct.pack("<Q", 2**62) + b"{}")
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)


def test_foreign_newer_and_broken_headers_are_told_apart(saved: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, foreign)
    with pytest.raises(CheckpointError, match=r"not written by risctl.*risctl import"):
        load_checkpoint(foreign)
    save_file({"weight": torch.zeros(2)}, foreign, metadata={"risctl": "{not json"})
    with pytest.raises(CheckpointError, match="no JSON"):
        load_checkpoint(foreign)
    save_file({"weight": torch.zeros(2)}, foreign, metadata={"risctl": "[1]"})
    with pytest.raises(CheckpointError, match="format version"):
        load_checkpoint(foreign)
    rewrite(saved, format_version=checkpoint.FORMAT_VERSION + 1, risctl="9.9")
    with pytest.raises(CheckpointError, match=r"risctl 9\.9.*upgrade"):
        load_checkpoint(saved)


def test_header_entries_are_checked(saved: Path) -> None:
    rewrite(saved, vocabulary=["a", "b"])
    with pytest.raises(CheckpointError, match="vocabulary"):
        load_checkpoint(saved, build=build_tiny)
    rewrite(saved, vocabulary=VOCABULARY.to_list(), recipe={"name": "x", "model": {"system": "unheard"}})
    with pytest.raises(CheckpointError, match="recipe"):
        load_checkpoint(saved, build=build_tiny)
    rewrite(saved, recipe=None)
    with pytest.raises(CheckpointError, match="lacks recipe"):
        load_checkpoint(saved, build=build_tiny)


def test_weights_of_another_model_are_named(saved: Path) -> None:
    rewrite(saved, vocabulary=[*VOCABULARY.to_list(), "more"])
    with pytest.raises(CheckpointError, match=r"embedding\.weight is \(6, 8\), expected \(7, 8\)"):
        load_checkpoint(saved, build=build_tiny)


def test_a_failed_save_leaves_the_old_file(
    saved: Path, recipe: Recipe, system: TinySystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(MachineError, match="no space"):
        save_checkpoint(saved, system=system, recipe=recipe, vocabulary=VOCABULARY)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_the_shipped_model_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_checkpoint("mini") == resolve_checkpoint(Path("mini")) == resolve_checkpoint(None) == SHIPPED
    with pytest.raises(CheckpointError, match="did you mean 'mini'"):
        resolve_checkpoint("minni")
    (tmp_path / "mini").mkdir()  # a run of that name is what is meant where there is one
    with pytest.raises(CheckpointError, match="run folder mini"):
        resolve_checkpoint("mini")
