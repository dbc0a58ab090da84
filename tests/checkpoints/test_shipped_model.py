"""The model that the package ships: how it is made of a run, found without being named, and what it is."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

import risctl
from risctl.checkpoints import loaded_model
from risctl.checkpoints.checkpoint import save_checkpoint
from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.errors import CheckpointError, UsageError
from risctl.language.coco_classes import CLASSES
from risctl.vision import rle
from risctl.zeroshot.proposals import detector
from risctl.zeroshot.proposals.base import InputImage
from risctl.zeroshot.proposals.sources import default_source, open_source

TOOL = Path(__file__).resolve().parents[2] / "tools" / "ship_mini.py"


@pytest.fixture(scope="module")
def tool():  # type: ignore[no-untyped-def]
    """`tools/ship_mini.py` as a module."""
    spec = importlib.util.spec_from_file_location("ship_mini", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def stand_in(tool, tiny_mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:  # type: ignore[no-untyped-def]
    """A tiny model in the place of the shipped one."""
    path = tmp_path / "models" / "mini.safetensors"
    tool.ship(tiny_mini, path, overrides=["model.no_target_threshold=0.25"])
    monkeypatch.setattr(loaded_model, "SHIPPED", path)
    detector.shipped_predictor.cache_clear()
    yield path
    detector.shipped_predictor.cache_clear()


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def shipped() -> Path:
    if not loaded_model.SHIPPED.is_file():
        pytest.skip(f"this copy has no shipped model ({loaded_model.SHIPPED})")
    return loaded_model.SHIPPED


def test_what_is_shipped_is_the_weights_in_half_precision(stand_in: Path, tiny_mini: Path) -> None:
    with safe_open(stand_in, framework="pt") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    whole = load_checkpoint(tiny_mini).system.state_dict()
    assert set(stored) == {f"model.{name}" for name in whole}
    for name, tensor in whole.items():
        assert stored[f"model.{name}"].dtype == torch.float16
        assert torch.equal(stored[f"model.{name}"], tensor.half())  # of the running mean
    loaded = load_checkpoint(stand_in)
    assert all(one.dtype == torch.float32 for one in loaded.system.state_dict().values())
    assert loaded.header["dataset"] == {"name": "made"} and loaded.header["step"] == 7
    assert loaded.system.no_target_threshold == 0.25


def test_two_runs_are_averaged_by_their_shares(tool, tiny_mini: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    first = load_checkpoint(tiny_mini)
    whole = {name: value.clone() for name, value in first.system.state_dict().items()}
    with torch.no_grad():
        first.system.box_selector.whole.add_(1.0)
    other = tmp_path / "other.safetensors"
    save_checkpoint(other, system=first.system, recipe=first.recipe, vocabulary=first.vocabulary)
    tool.ship(tiny_mini, tmp_path / "mean.safetensors", overrides=[], other=(other, 0.25))
    for name, value in load_checkpoint(tmp_path / "mean.safetensors").system.state_dict().items():
        if name == "box_selector.whole":
            assert torch.allclose(value, whole[name] + 0.25, atol=1e-3)
        else:
            assert torch.equal(value, whole[name].half().float()), name  # equal ones are not touched


def test_a_run_of_another_model_is_not_averaged(tool, tiny_mini: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    out = tmp_path / "mean.safetensors"
    with pytest.raises(CheckpointError, match="of another model"):
        tool.ship(tiny_mini, out, overrides=[], other=(loaded_model.SHIPPED, 0.5))
    assert not out.exists()


def test_without_a_name_the_shipped_model_answers(stand_in: Path, tiny_mini: Path, pixels: np.ndarray) -> None:
    own, whole = risctl.load(device="cpu", no_target_threshold=0), risctl.load(tiny_mini, device="cpu")
    assert own.path == stand_in
    [short], [long] = own.predict(pixels, "the red cup"), whole.predict(pixels, "the red cup")
    assert np.allclose(short.probability, long.probability, atol=0.02)
    assert (
        own.system.encode_text(*(one[None] for one in own.system.preprocess.text("cup"))).words.dtype == torch.float32
    )


def test_a_damaged_model_is_refused(stand_in: Path) -> None:
    data = bytearray(stand_in.read_bytes())
    data[-100] ^= 1
    stand_in.write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged"):
        risctl.load(device="cpu")


def test_a_copy_without_the_model_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaded_model, "SHIPPED", tmp_path / "mini.safetensors")
    with pytest.raises(CheckpointError, match=r"lacks its own model.*--model"):
        risctl.load()


def test_what_is_too_large_or_too_big_a_number_is_not_shipped(
    tool,  # type: ignore[no-untyped-def]
    tiny_mini: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "mini.safetensors"
    with monkeypatch.context() as changed:
        changed.setattr(tool, "MAX_BYTES", 1000)
        with pytest.raises(CheckpointError, match="at most 1000"):
            tool.ship(tiny_mini, out, overrides=[])
        changed.setattr(tool, "MAX_PARAMETERS", 1000)
        with pytest.raises(CheckpointError, match="parameters; a shipped model has at most 1000"):
            tool.ship(tiny_mini, out, overrides=[])
    loaded = load_checkpoint(tiny_mini)
    with torch.no_grad():
        next(loaded.system.parameters()).fill_(1e6)
    monkeypatch.setattr(tool, "load_checkpoint", lambda path: loaded)
    with pytest.raises(CheckpointError, match="half precision"):
        tool.ship(tiny_mini, out, overrides=[])
    assert not out.exists()


def test_below_the_presence_threshold_nothing_is_answered(stand_in: Path, pixels: np.ndarray) -> None:
    for presence, matched in ((0.0, True), (1.0, False)):
        [found] = risctl.load(device="cpu", no_target_threshold=presence).predict(pixels, "the elephant")
        assert found.matched == matched and 0 < found.score < 1
        assert found.mask.any() == matched and (found.box is not None) == matched
    with pytest.raises(UsageError, match="between 0 and 1"):
        risctl.load(no_target_threshold=1.5)


def test_long_phrases_are_remarked_on_and_short_ones_not(stand_in: Path) -> None:
    predictor = risctl.load(device="cpu")
    assert predictor.warnings("the red cup on the left") == []
    assert predictor.warnings("the - cup") == ["not among the words of its training: '-'"]
    assert predictor.warnings("the cup " * 10) == ["only the first 6 of 20 words are read"]


def test_instances_serve_as_proposals(stand_in: Path, pixels: np.ndarray) -> None:
    assert default_source() == "embedded"
    found = open_source("embedded", device=torch.device("cpu"), max_count=3)(InputImage(pixels=pixels, name="a.png"))
    assert 1 < len(found) <= 3 and found.masks.shape[1:] == (60, 90)
    assert (np.diff(found.scores) <= 0).all() and found.scores[-1] > 0 and found.scores[0] <= 1
    assert set(found.categories.tolist()) <= set(CLASSES)


def test_the_shipped_model_is_small_and_whole(shipped: Path) -> None:
    assert shipped.stat().st_size <= 14_000_000
    with safe_open(shipped, framework="pt") as file:
        assert all(name.startswith("model.") for name in file.keys())  # noqa: SIM118
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}  # noqa: SIM118
    loaded = load_checkpoint(shipped)
    assert sum(parameter.numel() for parameter in loaded.system.parameters()) <= 6_000_000
    assert loaded.recipe.name == "mini" and loaded.recipe.model.max_words == 20
    assert 0 < loaded.system.no_target_threshold < 1
    assert shipped.with_suffix(".md").is_file()


def test_the_shipped_model_finds_what_is_plain_to_see(shipped: Path) -> None:
    """An image that an installed dependency ships: a woman's portrait."""
    cbook = pytest.importorskip("matplotlib.cbook", reason="its sample data has the picture")
    predictor = risctl.load(device="cpu")
    with cbook.get_sample_data("grace_hopper.jpg") as file:
        image = file.read()
    woman, elephant = predictor.predict(image, ["the woman", "the elephant"])
    assert woman.matched and woman.mask.mean() > 0.3
    assert elephant.score < woman.score
    [person, *_] = predictor.detect(["person"])
    assert person.score > 0.5 and rle.area(person.segmentation) > 0.3 * woman.mask.size
