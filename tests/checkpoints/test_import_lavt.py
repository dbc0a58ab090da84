"""Published LAVT and LAVT-One checkpoints to ours: names, numbers, the command, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.published_lavt import SWINS, bert_shapes, lavt_shapes, published_file
from helpers.tiny_transformers import write_text
from torch import Tensor
from typer.testing import CliRunner

from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.cli.app import app
from risctl.errors import CheckpointError
from risctl.inference.predictor import Predictor
from risctl.language.vocabulary import Vocabulary
from risctl.systems.lavt.config import LAVTModel
from risctl.systems.lavt.published import PublishedLAVT, lavt_model, lavt_state, read_lavt
from risctl.systems.registry import build_system

HERE = Path("refcoco.pth")


def expanded(shapes: dict[str, tuple[int, ...]], prefix: str = "") -> dict[str, Tensor]:
    """Return tensors without memory of their own."""
    return {prefix + name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}


def published_of(name: str, *, window: int, layers: int = 12) -> PublishedLAVT:
    text = expanded(bert_shapes(vocabulary=100, layers=layers), "text_encoder.")
    return PublishedLAVT(state=expanded(lavt_shapes(name, window=window)) | text, one=False)


def state_of(published: PublishedLAVT) -> dict[str, Tensor]:
    """Return our state of a checkpoint; the model that it must fit stands on the meta device."""
    model = LAVTModel.model_validate(lavt_model(published, source=HERE))
    with torch.device("meta"):
        system = build_system(model, vocabulary=Vocabulary(f"w{number}" for number in range(98)))
    return lavt_state(published, system.state_dict(), source=HERE)


@pytest.mark.parametrize("window", [7, 12])
@pytest.mark.parametrize("name", SWINS)
def test_all_keys_of_every_backbone_find_their_place(name: str, window: int) -> None:
    published = published_of(name, window=window, layers=1)
    model = lavt_model(published, source=HERE)
    assert (model["visual"]["name"], model["visual"]["window"]) == (name, window)
    state_of(published)


def test_the_published_swin_b_has_its_published_size() -> None:
    published = published_of("swin_b", window=12)
    model = lavt_model(published, source=HERE)
    assert model["text"]["layers"] == model["text"]["heads"] == 12
    state = state_of(published)
    counts = {
        part: sum(v.numel() for k, v in state.items() if k.startswith(part) and "running_" not in k and v.ndim)
        for part in ("visual.", "decoder.", "text.")
    }
    tables = 30522 - 100
    assert counts == {"visual.": 98_196_856, "decoder.": 20_651_010, "text.": 108_891_648 - 768 * tables}


def test_the_published_names_are_these(shared: Path) -> None:
    cases = [file for file in sorted((shared / "parity" / "lavt").glob("*/case.json")) if "swin" in str(file)]
    if not cases:
        pytest.skip("no parity cases")
    for file in cases:
        case = json.loads(file.read_text(encoding="utf-8"))
        options = case["options"]
        listed = {one["name"]: tuple(one["shape"]) for one in case["parameters"] if not one.get("integer")}
        assert listed == lavt_shapes(f"swin_{options['swin_type'][0]}", window=options["window"])
        text = {one["name"]: tuple(one["shape"]) for one in case["bert_parameters"]}
        assert text == bert_shapes(vocabulary=30522, layers=options["bert_layers"])


@pytest.mark.parametrize("one", [False, True])
def test_the_command_makes_a_checkpoint_that_predicts_unaided(tmp_path: Path, one: bool) -> None:
    folder = write_text(tmp_path / "bert")
    source, out = tmp_path / "refcoco.pth", tmp_path / "lavt.safetensors"
    file = published_file(vocabulary=12, one=one, mha="1-2-4-8")
    if not one:  # as some users save it again, and with what old transformers kept beside the weights
        file["model"] = {f"module.{name}": value for name, value in file["model"].items()}
        file["bert_model"]["embeddings.position_ids"] = torch.arange(512)[None]
    torch.save(file, source)
    arguments = ["import", "lavt", str(source), "--out", str(out), "--tokenizer", str(folder / "vocab.txt")]
    done = CliRunner().invoke(app, [*arguments, "--input-size", "64", "--json"])
    assert done.exit_code == 0, done.output
    written = json.loads(done.stdout)
    assert written["model"]["fusion_heads"] == [1, 2, 4, 8] and written["tokens"] == 12
    assert written["model"]["visual"] == {"name": "swin_t", "window": 7, "drop_path": 0.3}
    assert written["model"]["text"]["dropout"] == (0.1 if one else 0.0)
    for path in folder.iterdir():
        path.unlink()
    loaded = load_checkpoint(out)
    model = {name.removeprefix("module."): value for name, value in file["model"].items()}
    text = model if one else {f"text_encoder.{name}": value for name, value in file["bert_model"].items()}
    own = loaded.system.state_dict()
    assert torch.equal(own["decoder.joins.2.3.weight"], model["classifier.conv2_2.weight"])
    assert torch.equal(
        own["visual.gates.1.key.weight"], model["backbone.layers.1.fusion.image_lang_att.f_key.0.weight"][..., 0]
    )
    words = "embeddings.word_embeddings.weight"
    assert torch.equal(own[f"text.bert.{words}"], text[f"text_encoder.{words}"])
    assert loaded.recipe.eval.protocol == "lavt" and loaded.recipe.data.text_field == "raw"
    [prediction] = Predictor.load(out, device="cpu").predict(np.zeros((40, 70, 3), np.uint8), "the red box")
    assert prediction.probability.shape == (40, 70) and np.isfinite(prediction.probability).all()


def test_the_heads_can_be_given(tmp_path: Path) -> None:
    published = published_of("swin_t", window=7, layers=1)
    assert lavt_model(published, source=HERE)["fusion_heads"] == [1, 1, 1, 1]
    assert lavt_model(published, source=HERE, heads=(2, 2, 2, 2))["fusion_heads"] == [2, 2, 2, 2]
    done = CliRunner().invoke(app, ["import", "lavt", "a.pth", "-o", str(tmp_path / "o.safetensors"), "--mha", "1-2"])
    assert done.exit_code != 0 and "1-2-4-8" in str(done.exception) + done.output


def test_every_missing_unknown_and_misshapen_key_is_listed() -> None:
    published = published_of("swin_t", window=7, layers=1)
    state = dict(published.state)
    del state["backbone.norm2.bias"], state["text_encoder.embeddings.LayerNorm.bias"]
    state["backbone.layers.0.fusion.extra.weight"] = state["other"] = torch.zeros(1)
    state["classifier.conv2_3.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as raised:
        state_of(PublishedLAVT(state=state, one=False))
    message = str(raised.value)
    for part in ("2 missing", "2 unknown", "backbone.layers.0.fusion.extra.weight", "classifier.conv2_3.weight"):
        assert part in message
    assert "visual.norms.2.bias" in message and "text.bert.embeddings.LayerNorm.bias" in message


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"backbone.patch_embed.proj.weight": (40, 3, 4, 4)}, "none of swin_t"),
        ({"backbone.layers.0.blocks.0.attn.relative_position_bias_table": (170, 3)}, "of any window"),
        ({"text_encoder.embeddings.word_embeddings.weight": (7,)}, "no LAVT checkpoint"),
    ],
)
def test_files_of_other_models_are_refused(changes: dict[str, tuple[int, ...]], expected: str) -> None:
    published = published_of("swin_t", window=7, layers=1)
    state = published.state | {name: torch.zeros(shape) for name, shape in changes.items()}
    with pytest.raises(CheckpointError, match=expected):
        lavt_model(PublishedLAVT(state=state, one=False), source=HERE)


class _Thing:
    """Something that only code could rebuild."""


@pytest.mark.parametrize("content", [{"model": {"a": torch.zeros(1)}, "args": _Thing()}, [1, 2], {"model": {"a": 1}}])
def test_nothing_in_the_file_is_run(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError):
        read_lavt(tmp_path / "evil.pth")


def test_a_tokenizer_of_another_size_is_refused(tmp_path: Path) -> None:
    folder = write_text(tmp_path / "bert")
    torch.save(published_file(vocabulary=9), tmp_path / "refcoco.pth")
    out = tmp_path / "o.safetensors"
    done = CliRunner().invoke(
        app, ["import", "lavt", str(tmp_path / "refcoco.pth"), "-o", str(out), "--tokenizer", str(folder)]
    )
    assert done.exit_code != 0 and not out.exists()
