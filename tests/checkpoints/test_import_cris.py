"""A published CRIS checkpoint to one of ours: names, what its shapes tell, the command, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.published_cris import cris_shapes, write_cris
from helpers.tiny_clip import write_tokenizer

from risctl.checkpoints.import_cris import import_cris
from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.core.encoders.visual import clip_resnet_maps
from risctl.core.encoders.visual.clip_resnet_maps import CLIPResNetNumbers
from risctl.errors import CheckpointError, UsageError
from risctl.inference.predictor import Predictor
from risctl.systems.cris.published import cris_model, cris_state, read_cris

TINY: dict[str, Any] = {
    "layers": (1, 1, 1, 1), "channels": 8, "projection": 16, "grid": 2, "width": 64, "text_layers": 1, "hidden": 64,
    "decoder_layers": 2, "feed_forward": 24,
}  # fmt: skip


@pytest.fixture(autouse=True)
def tiny_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = CLIPResNetNumbers(layers=(1, 1, 1, 1), channels=8, width=16, resolution=64)
    monkeypatch.setitem(clip_resnet_maps.NUMBERS, "clip_resnet50", numbers)


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    write_tokenizer(tmp_path / "tokens")
    table = json.loads((tmp_path / "tokens" / "vocab.json").read_text())
    yield tmp_path / "tokens", len(table)


def test_the_published_names_are_these(shared: Path) -> None:
    cases = sorted((shared / "parity" / "cris").glob("*/case.json"))
    if not cases:
        pytest.skip("no parity cases")
    listed = [json.loads(file.read_text(encoding="utf-8")) for file in cases]
    states = [
        {one["name"]: tuple(one["shape"]) for one in case["parameters"]} for case in listed if "clip" in case["options"]
    ]
    assert states and all(len(state) == 662 and state == cris_shapes() for state in states)


def test_numbers_are_read_off_the_shapes(tmp_path: Path) -> None:
    state = write_cris(tmp_path / "best.pth", cris_shapes(vocabulary=100, **TINY))
    published = read_cris(tmp_path / "best.pth")
    assert published.keys() == state.keys()
    model = cris_model(published, source=tmp_path / "best.pth")
    assert (model["hidden"], model["decoder_layers"], model["feed_forward"]) == (64, 2, 24)
    assert model["visual"] == {"name": "clip_resnet50"}
    text = {"name": "clip", "weights": None, "layers": 1, "width": 64, "heads": 1, "feed_forward": 256}
    assert model["text"] == text | {"projection": 16}


def test_the_round_trip_keeps_every_number(tmp_path: Path, tokens: tuple[Path, int]) -> None:
    folder, count = tokens
    source, out = tmp_path / "best.pth", tmp_path / "cris.safetensors"
    state = write_cris(source, cris_shapes(vocabulary=count, **TINY))
    imported = import_cris(source, out, tokenizer=str(folder), max_words=22, input_size=64)
    loaded = load_checkpoint(out)
    own = loaded.system.state_dict()
    used = {name: value for name, value in state.items() if name != "backbone.logit_scale"}
    back = cris_state(used)
    assert back.keys() == own.keys() and all(torch.equal(own[name], value) for name, value in back.items())
    plain = [value for name, value in used.items() if not name.endswith("num_batches_tracked")]
    statistics = sum(value.numel() for name, value in used.items() if ".running_" in name)
    assert imported.parameters == sum(value.numel() for value in plain) - statistics
    assert (loaded.recipe.eval.protocol, loaded.recipe.model.max_words) == ("cris", 22)


def test_the_command_makes_a_checkpoint_that_predicts_unaided(
    tmp_path: Path, tokens: tuple[Path, int], capsys: pytest.CaptureFixture[str]
) -> None:
    from risctl.cli.import_ import app as import_

    folder, count = tokens
    source, out = tmp_path / "best.pth", tmp_path / "cris.safetensors"
    write_cris(source, cris_shapes(vocabulary=count, **TINY))
    command = ["cris", str(source), "--out", str(out), "--tokenizer", str(folder), "--input-size", "64", "--json"]
    import_.app(command, standalone_mode=False)
    record = json.loads(capsys.readouterr().out)
    assert record["path"] == str(out) and record["tokens"] == count and record["model"]["input_size"] == 64
    for file in folder.iterdir():
        file.unlink()
    predictor = Predictor.load(out, device="cpu")
    assert predictor.threshold == 0.35
    image = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    red, blue = predictor.predict(image, ["the red cup", "blue dog!"])
    assert red.mask.shape == (40, 30) and not np.array_equal(red.probability, blue.probability)
    with pytest.raises(UsageError):
        import_.app(command, standalone_mode=False)


def test_another_file_is_refused_by_what_it_lacks(tmp_path: Path, tokens: tuple[Path, int]) -> None:
    folder, count = tokens
    source, out = tmp_path / "best.pth", tmp_path / "cris.safetensors"
    shapes = cris_shapes(vocabulary=count, **TINY)

    def refused(changed: dict[str, tuple[int, ...]], match: str, error: type[Exception] = CheckpointError) -> None:
        write_cris(source, changed)
        with pytest.raises(error, match=match):
            import_cris(source, out, tokenizer=str(folder), input_size=64)
        assert not out.exists()

    without = {name: shape for name, shape in shapes.items() if name not in ("neck.aggr.0.weight", "proj.txt.bias")}
    refused(without, r"2 missing \(neck.join.conv.weight, head.kernel.bias\)")
    refused(shapes | {"neck.extra.weight": (2, 2), "backbone.other": (3,)}, "2 unknown")
    refused(shapes | {"proj.txt.bias": (4,)}, r"head.kernel.bias \(4,\) instead of \(289,\)")
    refused({name: shape for name, shape in shapes.items() if "text_projection" not in name}, "is no CRIS checkpoint")
    refused(cris_shapes(vocabulary=count, **TINY | {"layers": (1, 2, 1, 1)}), "one of CLIP's ResNets")
    refused(cris_shapes(vocabulary=count + 1, **TINY), "expected a tokenizer of", UsageError)
    source.write_bytes(b"no checkpoint")
    with pytest.raises(CheckpointError, match=r"best\.pth"):
        import_cris(source, out, tokenizer=str(folder))
