"""Published ReLA checkpoints, Swin and ResNet, to ours: names, numbers, the command, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.published_rela import rela_shapes
from torch import Tensor
from typer.testing import CliRunner

from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.cli.app import app
from risctl.errors import CheckpointError
from risctl.inference.predictor import Predictor
from risctl.language.vocabulary import Vocabulary
from risctl.systems.registry import build_system
from risctl.systems.rela.config import ReLAModel
from risctl.systems.rela.published import read_rela, rela_model, rela_state

HERE = Path("gres.pth")
SMALL: dict[str, Any] = {
    "hidden": 64, "feed_forward": 32, "pixel_layers": 1, "layers": 2, "text_layers": 1, "text_width": 64,
}  # fmt: skip
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "red", "cup", "##s", "left", "two"]


def tensors(backbone: str, **numbers: int) -> dict[str, Tensor]:
    """Return a checkpoint's tensors without memory of their own."""
    shapes = rela_shapes(backbone, **numbers)
    return {name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}


def state_of(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return our state of a checkpoint; the model that it must fit stands on the meta device."""
    model = ReLAModel.model_validate(rela_model(published, source=HERE))
    words = len(published["text_encoder.embeddings.word_embeddings.weight"])
    with torch.device("meta"):
        system = build_system(model, vocabulary=Vocabulary(f"w{number}" for number in range(words - 2)))
    return rela_state(published, system.state_dict(), source=HERE)


@pytest.mark.parametrize(
    ("backbone", "window", "keys"), [("swin_t", 7, 243), ("swin_b", 12, 411), ("resnet50", 7, 265)]
)
def test_all_keys_of_every_backbone_find_their_place(backbone: str, window: int, keys: int) -> None:
    published = tensors(backbone, window=window)
    counts = {
        top: sum(name.startswith(top) for name in published)
        for top in ("text_encoder.", "sem_seg_head.pixel_decoder.", "sem_seg_head.predictor.", "backbone.")
    }
    # What the published files count.
    assert list(counts.values()) == [197, 117, 187, keys]
    model = rela_model(published, source=HERE)
    swin = {"window": window} if backbone.startswith("swin") else {}
    assert model["visual"] == {"name": backbone} | swin
    assert model["language_gates"] == bool(swin)
    assert (model["regions"], model["layers"], model["pixel_layers"], model["points"]) == (10, 9, 6, 4)
    assert model["text"]["layers"] == model["text"]["heads"] == 12
    constants = sum(name.endswith("relative_position_index") for name in published)
    counters = 53 if backbone == "resnet50" else 0
    assert len(state_of(published)) == len(published) - constants + counters


def test_the_published_names_are_these(shared: Path) -> None:
    cases = sorted((shared / "parity" / "rela").glob("*/case.json"))
    if not cases:
        pytest.skip("no parity cases")
    names = {"configs/referring_R50.yaml": "resnet50", "configs/referring_swin_tiny.yaml": "swin_t"}
    for file in cases:
        case = json.loads(file.read_text(encoding="utf-8"))
        listed = {one["name"]: tuple(one["shape"]) for one in case["checkpoint"]}
        options = case["options"]
        assert listed == rela_shapes(names[options["config"]], text_layers=options["text_encoder"]["layers"])


def test_old_files_are_read_as_well() -> None:
    published = tensors("resnet50", words=100, text_layers=1)
    published["text_encoder.embeddings.position_ids"] = torch.arange(512)[None]
    published["criterion.empty_weight"] = torch.zeros(2)
    published["pixel_mean"] = torch.zeros(3, 1, 1)
    state_of(published)


def test_missing_unknown_and_misshapen_keys_are_named() -> None:
    published = tensors("swin_t", words=100, text_layers=1)
    del published["sem_seg_head.predictor.lang_weight"]
    published["sem_seg_head.predictor.extra.weight"] = torch.zeros(1)
    published["sem_seg_head.pixel_decoder.layer_1.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as raised:
        state_of(published)
    message = str(raised.value)
    for part in ("region_decoder.language_gate", "sem_seg_head.predictor.extra.weight", "pixel_decoder.layer_1.weight"):
        assert part in message


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"sem_seg_head.predictor.query_feat.weight": (99, 256)}, "a square number of regions, got 99"),
        ({"sem_seg_head.pixel_decoder.transformer.level_embed": (4, 256)}, "expected 3 feature levels, got 4"),
        ({"backbone.patch_embed.proj.weight": (100, 3, 4, 4)}, "no Swin known here is 100 wide"),
        ({"sem_seg_head.predictor.query_feat.weight": None}, "no ReLA checkpoint: expected sem_seg_head"),
    ],
)
def test_a_file_of_another_model_is_refused(change: dict[str, tuple[int, ...] | None], expected: str) -> None:
    published = tensors("swin_t", words=100, text_layers=1)
    for name, shape in change.items():
        if shape is None:
            del published[name]
        else:
            published[name] = torch.zeros(()).expand(shape)
    with pytest.raises(CheckpointError, match=expected):
        rela_model(published, source=HERE)


def write_checkpoint(path: Path, *, wrapper: str = "", text_apart: bool = False, words: int = len(TOKENS)) -> Path:
    """Write a small checkpoint as detectron2 does, with its trainer's state; a text encoder may stand apart."""
    generator = torch.Generator().manual_seed(0)
    shapes = rela_shapes("resnet50", words=words, **SMALL)
    state = {f"{wrapper}{name}": torch.randn(shape, generator=generator) * 0.05 for name, shape in shapes.items()}
    state |= {name: value.abs() + 1 for name, value in state.items() if name.endswith("running_var")}
    content: dict[str, Any] = {"model": state, "iteration": 7, "trainer": {"iteration": 7}, "optimizer": {"state": {}}}
    if text_apart:
        text = {name: value for name, value in state.items() if "text_encoder." in name}
        content["model"] = {name: value for name, value in state.items() if name not in text}
        content["bert_model"] = {name.partition("text_encoder.")[2]: value for name, value in text.items()}
    torch.save(content, path)
    return path


def test_wrappers_and_a_text_encoder_apart_give_the_same_tensors(tmp_path: Path) -> None:
    plain = read_rela(write_checkpoint(tmp_path / "plain.pth"))
    for name, options in {"ddp": {"wrapper": "module."}, "apart": {"text_apart": True}}.items():
        other = read_rela(write_checkpoint(tmp_path / f"{name}.pth", **options))
        assert other.keys() == plain.keys()
        assert all(torch.equal(value, plain[key]) for key, value in other.items())


def test_the_command_makes_a_checkpoint_that_predicts_unaided(tmp_path: Path) -> None:
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(TOKENS) + "\n")
    source = write_checkpoint(tmp_path / "gres.pth")
    out = tmp_path / "rela.safetensors"
    command = ["import", "rela", str(source), "--out", str(out), "--tokenizer", str(vocabulary), "--json"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    written = json.loads(done.stdout)
    assert written["model"]["visual"]["name"] == "resnet50" and written["tokens"] == len(TOKENS)
    vocabulary.unlink()
    loaded = load_checkpoint(out)
    published = read_rela(source)
    assert loaded.recipe.eval.protocol == "rela" and loaded.recipe.data.text_field == "raw"
    query = published["sem_seg_head.predictor.query_feat.weight"]
    assert torch.equal(loaded.system.region_decoder.query, query)
    shortcut = published["backbone.res3.0.shortcut.norm.running_var"]
    assert torch.equal(loaded.system.visual.layer2[0].downsample[1].running_var, shortcut)
    ids, mask = loaded.system.preprocess.text("two red cups")
    assert (ids.tolist()[:7], int(mask.sum()), len(ids)) == ([2, 10, 6, 7, 8, 3, 0], 6, 20)
    pixels = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    [prediction] = Predictor.load(out, device="cpu").predict(pixels, ["the red cup"])
    assert prediction.probability.shape == (50, 60) and np.isfinite(prediction.probability).all()
    again = CliRunner().invoke(app, command)
    assert again.exit_code != 0 and out.exists()


class _Thing:
    """Something that only code could rebuild."""


def test_nothing_in_the_file_is_run(tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.zeros(1)}, "trainer": _Thing()}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match="asks for"):
        read_rela(tmp_path / "evil.pth")
    (tmp_path / "none.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_rela(tmp_path / "none.pth")


def test_a_tokenizer_of_another_size_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(TOKENS))
    source = write_checkpoint(tmp_path / "gres.pth", words=100)
    out = tmp_path / "o.safetensors"
    done = CliRunner().invoke(
        app, ["import", "rela", str(source), "-o", str(out), "--tokenizer", str(tmp_path / "vocab.txt")]
    )
    assert done.exit_code != 0 and "expected a tokenizer of 100 tokens" in str(done.exception)
    assert not out.exists()
