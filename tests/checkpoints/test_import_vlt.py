"""A published VLT checkpoint to one of ours: names, detection, the command, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.published_vlt import vlt_shapes, write_h5

from risctl.errors import CheckpointError, UsageError
from risctl.systems.vlt.published import vlt_model, vlt_state

SMALL = {"queries": 3, "hidden": 16, "cells": 16, "text": 8, "dim": 4, "inner": 24}
HERE = Path("best_map.h5")


def arrays(**changes: int) -> dict[str, np.ndarray]:
    """Return a small checkpoint's arrays, without memory of their own."""
    shapes = vlt_shapes(**(SMALL | changes))
    return {name: np.broadcast_to(np.float32(0.01), shape) for name, shape in shapes.items()}


def test_the_published_names_are_these(shared: Path) -> None:
    cases = sorted((shared / "parity" / "vlt").glob("*/case.json"))
    if not cases:
        pytest.skip("no parity cases")
    for file in cases:
        case = json.loads(file.read_text(encoding="utf-8"))
        listed = {one["name"]: tuple(one["shape"]) for one in case["parameters"]}
        assert listed == vlt_shapes(queries=case["options"]["queries"])


def test_numbers_are_read_off_the_shapes() -> None:
    model = vlt_model(arrays(), source=HERE)
    assert (model["queries"], model["hidden"], model["input_size"], model["feed_forward"]) == (3, 16, 64, 24)
    assert model["head_channels"] == 16
    assert (model["encoder_layers"], model["decoder_layers"], model["fusion_channels"]) == (2, 2, 512)
    assert model["text"] == {"hidden": 8, "dim": 4}


def test_every_missing_and_unknown_array_is_reported_at_once() -> None:
    changed = arrays()
    del changed["dense_9/dense_9/kernel:0"]
    del changed["batch_normalization_61/batch_normalization_61/gamma:0"]
    changed["dense_13/dense_13/kernel:0"] = np.zeros((1, 1), np.float32)
    with pytest.raises(CheckpointError) as raised:
        vlt_state(changed, source=HERE)
    message = str(raised.value)
    assert "2 missing" in message and "1 unknown" in message
    for name in ("dense_9/dense_9/kernel:0", "batch_normalization_61/", "dense_13/dense_13/kernel:0", "best_map.h5"):
        assert name in message


@pytest.mark.parametrize("name", ["dense_12/dense_12/kernel:0", "conv2d_73/conv2d_73/kernel:0"])
def test_what_is_no_vlt_is_refused(name: str) -> None:
    changed = arrays()
    del changed[name]
    with pytest.raises(CheckpointError, match=name):
        vlt_model(changed, source=HERE)
    with pytest.raises(CheckpointError, match="square map"):
        vlt_model(arrays(cells=15), source=HERE)


def test_the_command_makes_a_checkpoint_that_predicts_unaided(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from risctl.checkpoints.import_vlt import import_vlt
    from risctl.checkpoints.loaded_model import load_checkpoint
    from risctl.cli.import_ import app as import_

    monkeypatch.setenv("RISCTL_CACHE", str(tmp_path / "cache"))
    source, out, vectors = tmp_path / "best_map.h5", tmp_path / "vlt.safetensors", tmp_path / "glove.txt"
    write_h5(source, vlt_shapes(**SMALL), constants={"dense_8/dense_8/kernel:0": 0.5})
    vectors.write_text("the 1 2 3 4\nman 5 6 7 8\n's 0 0 1 0\n")
    with pytest.raises(UsageError, match="has 3; leave --queries"):
        import_vlt(source, out, queries=16)
    with pytest.raises(UsageError, match=r"\.safetensors"):
        import_vlt(source, tmp_path / "vlt.bin")

    import_.app(["vlt", str(source), "--out", str(out), "--vectors", str(vectors), "--json"], standalone_mode=False)
    printed = json.loads(capsys.readouterr().out)
    assert printed["path"] == str(out) and printed["words"] == 3 and printed["model"]["queries"] == 3

    vectors.unlink()
    loaded = load_checkpoint(out)
    assert loaded.vocabulary.words == ("<pad>", "<unk>", "the", "man", "'s")
    state = loaded.system.state_dict()
    assert (state["balance.query.weight"] == 0.5).all()
    assert state["text.embedding.vectors"].tolist()[3] == [5, 6, 7, 8]
    image, geometry = loaded.system.preprocess.image(np.zeros((20, 30, 3), np.uint8))
    words, mask = loaded.system.preprocess.text("the man")
    visual = loaded.system.encode_image(image[None], geometry.padding()[None])
    with torch.no_grad():
        output = loaded.system.decode(visual, loaded.system.encode_text(words[None], mask[None]))
    assert output.logits.shape == (1, 32, 32) and output.logits.isfinite().all()
