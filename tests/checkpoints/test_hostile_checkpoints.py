"""Checkpoints from strangers: refused in one line, before anything is built by them or takes memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.small_models import VLT
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from risctl.checkpoints import checkpoint
from risctl.checkpoints.checkpoint import save_checkpoint
from risctl.checkpoints.loaded_model import load_checkpoint, read_weights
from risctl.errors import CheckpointError
from risctl.language.byte_pairs import BytePairs, vocabulary_from_list
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.load import parse_recipe
from risctl.systems.registry import build_system


def rewrite(path: Path, *, header: dict[str, Any] | None = None, tensors: dict[str, Tensor] | None = None) -> Path:
    """Change header entries and tensors of a checkpoint, with the digests of what it then holds."""
    with safe_open(path, framework="pt") as file:
        entries = json.loads(file.metadata()["risctl"])
    every = {**load_file(path), **(tensors or {})}
    entries["sha256"] = {prefix: checkpoint._digest(every, prefix) for prefix in entries["sha256"]}
    save_file(every, path, metadata={"risctl": json.dumps({**entries, **(header or {})})})
    return path


@pytest.fixture
def saved(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    path = tmp_path / "best.safetensors"
    path.write_bytes((tiny_checkpoint / "best.safetensors").read_bytes())
    return path


def some_weight(path: Path) -> tuple[str, Tensor]:
    return next((name, one) for name, one in load_file(path).items() if one.ndim == 2 and name.startswith("model."))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(saved: Path, value: float) -> None:
    name, tensor = some_weight(saved)
    tensor[0, 0] = value
    rewrite(saved, tensors={name: tensor})
    for read in (load_checkpoint, read_weights):
        with pytest.raises(CheckpointError, match=rf"not finite.*first in {name}"):
            read(saved)
    floats = {one: given for one, given in load_file(saved).items() if given.is_floating_point()}
    rewrite(saved, tensors={one: torch.full_like(given, value) for one, given in floats.items()})
    with pytest.raises(CheckpointError, match="not finite"):
        load_checkpoint(saved)


@pytest.mark.parametrize(
    ("dtype", "says"),
    [
        (torch.complex64, "holds another type, expected floating-point numbers"),
        (torch.int32, "holds int32, expected floating-point numbers"),
        (torch.bool, "holds bool, expected floating-point numbers"),
        (torch.float8_e4m3fn, "holds another type, expected floating-point numbers"),
    ],
)
def test_other_kinds_of_numbers_are_refused(saved: Path, dtype: torch.dtype, says: str) -> None:
    name, tensor = some_weight(saved)
    rewrite(saved, tensors={name: torch.zeros(tensor.shape).to(dtype)})
    with pytest.raises(CheckpointError, match=says):
        load_checkpoint(saved)


def test_half_precision_is_read(saved: Path) -> None:
    name, tensor = some_weight(saved)
    rewrite(saved, tensors={name: tensor.half()})
    own = load_checkpoint(saved).system.state_dict()[name.removeprefix("model.")]
    assert own.dtype == torch.float32 and torch.equal(own, tensor.half().float())


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ({"sha256": 3}, "sha256"),
        ({"sha256": ["model."]}, "sha256"),
        ({"sha256": {"model.": 4}}, r"sha256\.model\."),
        ({"sha256": {}}, "digest"),
        ({"vocabulary": 3}, "expected a list of words, got int"),
        ({"vocabulary": {"a": 1}}, "expected a list of words, got dict"),
        ({"vocabulary": [["a"], {}]}, r"vocabulary\.0"),
        ({"vocabulary": ["<byte-pairs>", ["a"], "<byte-pairs>"]}, r"vocabulary\.1"),
        ({"vocabulary": ["<byte-pairs>", "a", "<byte-pairs>", "b"]}, "lacking"),
        ({"vocabulary": ["<tokenizer>", "{}"]}, "tokenizer"),
        ({"vocabulary": []}, "vocabulary"),
        ({"format_version": "2"}, "no format version"),
        ({"format_version": True}, "no format version"),
        ({"format_version": 0}, "format_version"),
        ({"format_version": 10**400}, "upgrade it"),
        ({"recipe": [1]}, "no recipe"),
        ({"recipe": {"model": [1]}}, "no recipe"),
        ({"risctl": ["0.1"]}, "risctl in its header"),
        ({"step": "many"}, "step in its header"),
        ({"step": -1}, "step in its header"),
        ({"dataset": [1]}, "dataset in its header"),
        ({"dataset": {"also": [3]}}, r"dataset\.also\.0"),
        ({"without_vector": 3}, "without_vector"),
        ({"metrics": [1]}, "metrics in its header"),
        ({"protocol": "\ud800"}, "no JSON"),
        ({"metrics": {"mIoU": float("nan")}}, "NaN is no JSON number"),
    ],
)
def test_header_entries_of_the_wrong_kind_are_named(saved: Path, header: dict[str, Any], says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        load_checkpoint(rewrite(saved, header=header))


def test_a_header_nested_deeply_or_of_endless_digits_is_refused(saved: Path) -> None:
    tensors = load_file(saved)
    with safe_open(saved, framework="pt") as file:
        text = file.metadata()["risctl"]
    for more in (', "x": ' + "[" * 100_000, ', "x": ' + "[" * 200 + "]" * 200, ', "x": ' + "9" * 5000):
        save_file(tensors, saved, metadata={"risctl": text[:-1] + more + "}"})
        with pytest.raises(CheckpointError, match="its header is no JSON"):
            load_checkpoint(saved)


HUGE = {**VLT, "text": {"dim": 16384, "hidden": 16384, "vectors": None}, "hidden": 2048, "head_channels": 2048}


def test_a_recipe_that_asks_for_more_than_the_file_holds_takes_no_memory(saved: Path) -> None:
    with safe_open(saved, framework="pt") as file:
        recipe = json.loads(file.metadata()["risctl"])["recipe"]
    rewrite(saved, header={"recipe": {**recipe, "model": HUGE}})
    code = (
        "import resource, sys\n"
        "from risctl.checkpoints.loaded_model import load_checkpoint\n"
        "from risctl.errors import CheckpointError\n"
        "import risctl.systems.vlt.build\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n"
        "    load_checkpoint(sys.argv[1])\n"
        "except CheckpointError as error:\n"
        "    print(error)\n"
        "assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(saved)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "does not fit the model of its recipe" in run.stdout


def test_numbers_that_make_no_model_are_one_line(saved: Path) -> None:
    with safe_open(saved, framework="pt") as file:
        recipe = json.loads(file.metadata()["risctl"])["recipe"]
    model = {**VLT, "visual": {"name": "hf:gone", "config": {"model_type": "swin", "num_heads": [3], "depths": "x"}}}
    with pytest.raises(CheckpointError):
        load_checkpoint(rewrite(saved, header={"recipe": {**recipe, "model": model}}))


def test_a_mean_of_another_shape_is_refused_though_the_model_fits(tmp_path: Path) -> None:
    recipe = parse_recipe(
        {"name": "x", "model": VLT, "data": {"store": "none.h5"}, "train": {"epochs": 1}}, source="tests"
    )
    vocabulary = Vocabulary(["a"])
    system = build_system(recipe.model, vocabulary=vocabulary)
    name = next(iter(system.state_dict()))
    mean = {name: torch.zeros(3, 3)}
    save_checkpoint(tmp_path / "x.safetensors", system=system, recipe=recipe, vocabulary=vocabulary, mean=mean)
    with pytest.raises(CheckpointError, match=rf"{name} is \(3, 3\)"):
        load_checkpoint(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    "words", [["<byte-pairs>", "a"], ["<tokenizer>", "{"], ["<tokenizer>"], ["<pad>", "<unk>", "a", "a"]]
)
def test_vocabularies_that_are_none(words: list[str]) -> None:
    with pytest.raises(CheckpointError):
        vocabulary_from_list(words)


@pytest.mark.parametrize(
    "table", ["[]", "3", '{"a": "b"}', '{"a": 1e999}', '{"a": [1]}', '{"a": NaN}', "[" * 100_000, '{"a": 0, "b": 0}']
)
def test_tokenizer_files_of_something_else(tmp_path: Path, table: str) -> None:
    (tmp_path / "vocab.json").write_text(table)
    (tmp_path / "merges.txt").write_text("a b\n")
    with pytest.raises(CheckpointError, match=r"vocab\.json"):
        BytePairs.load(str(tmp_path))


def test_a_tensor_without_a_digest_is_refused(saved: Path) -> None:
    with pytest.raises(CheckpointError, match="its tensor 'more' is of no group"):
        load_checkpoint(rewrite(saved, tensors={"more": torch.zeros(2)}))
