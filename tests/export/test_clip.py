"""The towers of a CLIP: the folder, its tokenizer, and what an engine computes with them alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_clip import openai_state, write_hugging_face, write_tokenizer
from torch.nn import functional

from risctl.errors import UsageError
from risctl.export.clip import export_clip_to
from risctl.runtime.manifest import read_manifest
from risctl.systems.global_local_clip.load_clip import load_clip

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")
TEXTS = ("the red cup", "a man on the left in a blue shirt", "Dog")


def test_the_towers_alone_give_the_logits_of_the_model(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    source = write_hugging_face(tmp_path / "clip")
    out = tmp_path / "towers.onnx"
    header = export_clip_to(str(source), out)
    assert header == json.loads((out / "model.json").read_text(encoding="utf-8"))
    assert sorted(header["sha256"]) == ["image.onnx", "text.onnx", "tokenizer.json"]
    assert header["max_error"] < 1e-5
    assert [(one["graph"], one["batch"]) for one in header["checked"]] == [
        (graph, count) for graph in ("image", "text") for count in (1, 2, 5)
    ]
    # As another program would: its tokens, both graphs, the scale.
    tokenizer = Tokenizer.from_file(str(out / header["text"]["file"]))
    rows = [tokenizer.encode(text.lower()).ids for text in TEXTS]
    tokens = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    for row, ids in enumerate(rows):
        tokens[row, : len(ids)] = ids
    feed = {"tokens": tokens, "ends": np.array([len(ids) - 1 for ids in rows])}
    size = header["image"]["size"]
    images = np.random.default_rng(0).standard_normal((4, 3, size, size)).astype(np.float32)
    [texts] = _run(out / "text.onnx", feed)
    [pictures] = _run(out / "image.onnx", {"images": images})
    logits = header["logits"]["scale"] * pictures @ texts.T
    clip, read = load_clip(str(source))
    with torch.no_grad():
        ids, ends = read(TEXTS)
        one = functional.normalize(clip.visual.features(torch.from_numpy(images)), dim=-1)
        other = functional.normalize(clip.text(ids, ends), dim=-1)
        expected = clip.logit_scale.exp() * one @ other.T
    assert np.array_equal(ids.numpy(), tokens)
    assert np.allclose(logits, expected.numpy(), atol=1e-4) and np.ptp(logits) > 0.1


@pytest.mark.slow
def test_openais_file_with_a_resnet_is_exported_and_masks_are_refused(tmp_path: Path) -> None:
    torch.save(openai_state("resnet"), tmp_path / "RN.pt")
    write_tokenizer(tmp_path)
    out = tmp_path / "resnet"
    header = export_clip_to(str(tmp_path / "RN.pt"), out, precision="fp16")
    assert header["precision"] == "fp16" and 0 < header["max_error"] < 0.01
    with pytest.raises(UsageError, match="towers of a CLIP, which embed images and texts and draw no masks"):
        read_manifest(out)
    with pytest.raises(UsageError, match="give --overwrite"):
        export_clip_to(str(tmp_path / "RN.pt"), out)


@pytest.mark.slow
@pytest.mark.parametrize("format_name", ["pt2", "torchscript"])
def test_torchs_own_formats_are_written(tmp_path: Path, format_name: str) -> None:
    source = write_hugging_face(tmp_path / "clip")
    header = export_clip_to(str(source), tmp_path / "out", format_name=format_name)
    assert header["max_error"] < 1e-5


def test_what_cannot_be_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    for wrong, said in (
        ({"precision": "int8"}, "measured by masks"),
        ({"precision": "fp16", "format_name": "pt2"}, "--format onnx"),
        ({"format_name": "onxx"}, "did you mean 'onnx'"),
    ):
        with pytest.raises(UsageError, match=said):
            export_clip_to("nothing/here", tmp_path / "out", **wrong)
    assert not (tmp_path / "out").exists()


def _run(path: Path, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found: list[np.ndarray] = session.run(None, feed)
    return found
