"""Published ReferFormer checkpoints of all nine backbones to ours: names, numbers, the command, and what is refused."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.published_referformer import BACKBONE_KEYS, referformer_shapes
from torch import Tensor
from typer.testing import CliRunner

from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.cli.app import app
from risctl.errors import CheckpointError
from risctl.language.byte_pairs import BytePairs
from risctl.language.vocabulary import Vocabulary
from risctl.systems.referformer.config import ReferFormerModel
from risctl.systems.referformer.published import read_referformer, referformer_model, referformer_state
from risctl.systems.registry import build_system

HERE = Path("ytvos.pth")
SMALL: dict[str, Any] = {"hidden": 64, "feed_forward": 32, "layers": 2, "text_layers": 1, "text_width": 64}


def tensors(backbone: str, **numbers: int) -> dict[str, Tensor]:
    """Return a checkpoint's tensors without memory of their own."""
    shapes = referformer_shapes(backbone, **numbers)
    return {name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}


def state_of(published: dict[str, Tensor], **options: Any) -> dict[str, Tensor]:
    """Return our state of a checkpoint; the model that it must fit stands on the meta device."""
    model = ReferFormerModel.model_validate(referformer_model(published, source=HERE))
    words = len(published["text_encoder.embeddings.word_embeddings.weight"])
    with torch.device("meta"):
        system = build_system(model, vocabulary=Vocabulary(f"w{number}" for number in range(words - 2)))
    return referformer_state(published, system.state_dict(), source=HERE, **options)


@pytest.mark.parametrize("backbone", BACKBONE_KEYS)
def test_all_keys_of_every_backbone_find_their_place(backbone: str) -> None:
    published = tensors(backbone, words=100)
    body = [name for name in published if name.startswith("backbone.0.body.")]
    assert len(body) == BACKBONE_KEYS[backbone]
    # What the published R50 file counts, its own backbone's 265 keys aside.
    assert len(published) - len(body) == 804 - 265
    model = referformer_model(published, source=HERE)
    assert model["visual"]["name"] == backbone
    assert (model["encoder_layers"], model["decoder_layers"], model["queries"], model["points"]) == (4, 4, 5, 4)
    assert model["text"]["layers"] == model["text"]["heads"] == 12
    state = state_of(published)
    if backbone.startswith("video"):
        assert state["visual.patches.weight"].ndim == 4


def test_the_published_names_are_these(shared: Path) -> None:
    cases = sorted((shared / "parity" / "referformer").glob("*/case.json"))
    if not cases:
        pytest.skip("no parity cases")
    names = {"resnet50": "resnet50", "swin_t_p4w7": "swin_t"}
    for file in cases:
        case = json.loads(file.read_text(encoding="utf-8"))
        listed = {one["name"]: tuple(one["shape"]) for one in case["checkpoint"]}
        options = case["options"]
        assert listed == referformer_shapes(names[options["backbone"]], text_layers=options["text_encoder"]["layers"])


def test_kinetics_patches_are_summed_over_their_frames() -> None:
    published = tensors("video_swin_t", words=100)
    weight = torch.randn(96, 3, 2, 4, 4)
    published["backbone.0.body.patch_embed.proj.weight"] = weight
    assert torch.equal(state_of(published)["visual.patches.weight"], weight.sum(2))


def test_old_files_and_repeats_are_read_as_well() -> None:
    published = tensors("resnet50", words=100)
    published["text_encoder.embeddings.position_ids"] = torch.arange(514)[None]
    state_of(published)


def test_every_missing_unknown_and_misshapen_key_is_listed() -> None:
    published = tensors("resnet50", words=100)
    del published["controller.layers.1.bias"], published["fusion_module.multihead_attn.in_proj_bias"]
    published["vision_module.extra.weight"] = torch.zeros(1)
    published["query_embed.bias"] = torch.zeros(1)
    published["input_proj.0.0.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as raised:
        state_of(published)
    message = str(raised.value)
    for part in ("2 missing", "2 unknown", "vision_module.extra.weight", "query_embed.bias", "input_proj.0.0.weight"):
        assert part in message
    assert "mask_head.controller.layers.1.bias" in message


def test_a_file_of_another_model_is_refused() -> None:
    with pytest.raises(CheckpointError, match="no ReferFormer checkpoint"):
        referformer_model({"conv1.weight": torch.zeros(1)}, source=HERE)


def write_tokenizer(folder: Path) -> Path:
    """Write a byte-pair tokenizer of the 256 bytes and a few merges."""
    from tokenizers.pre_tokenizers import ByteLevel

    folder.mkdir()
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *sorted(ByteLevel.alphabet()), "re", "red", "Ġt", "Ġth", "<mask>"]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\nr e\nre d\nĠ t\nĠt h\n")
    return folder


def write_checkpoint(path: Path, *, words: int, **numbers: int) -> Path:
    """Write a small checkpoint as the published training does, arguments and legacy serialisation included."""
    generator = torch.Generator().manual_seed(0)
    shapes = referformer_shapes("resnet50", words=words, **(SMALL | numbers))
    state = {name: torch.randn(shape, generator=generator) * 0.05 for name, shape in shapes.items()}
    state |= {name: value.abs() + 1 for name, value in state.items() if name.endswith("running_var")}
    content = {
        "model": state,
        "optimizer": {"state": {}, "param_groups": [{"lr": 1e-4}]},
        "lr_scheduler": {"milestones": Counter((3, 5)), "last_epoch": 5},
        "epoch": 5,
        "args": argparse.Namespace(lr=1e-4, backbone="resnet50", masks=True),
    }
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path


def test_the_command_makes_a_checkpoint_that_predicts_unaided(tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path / "tokenizer")
    source = write_checkpoint(tmp_path / "ytvos.pth", words=len(BytePairs.load(str(folder))))
    out = tmp_path / "r50.safetensors"
    done = CliRunner().invoke(
        app, ["import", "referformer", str(source), "--out", str(out), "--tokenizer", str(folder), "--json"]
    )
    assert done.exit_code == 0, done.output
    written = json.loads(done.stdout)
    assert written["model"]["visual"]["name"] == "resnet50"
    assert written["tokens"] == 265
    for file in folder.iterdir():
        file.unlink()
    loaded = load_checkpoint(out)
    published = read_referformer(source)
    assert torch.equal(loaded.system.query_embedding, published["query_embed.weight"])
    ids, mask = loaded.system.preprocess.text("red thing")
    assert ids[0] == 0 and ids[-1] == 2 and mask.all()
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        visual = loaded.system.encode_image(images, torch.zeros(1, 64, 96, dtype=torch.bool))
        output = loaded.system.decode(visual, loaded.system.encode_text(ids[None], mask[None]))
    assert output.logits.shape == (1, 16, 24)
    assert output.logits.isfinite().all()


def test_new_class_heads_are_made_only_when_asked(tmp_path: Path) -> None:
    from risctl.checkpoints.import_referformer import import_referformer

    folder = write_tokenizer(tmp_path / "tokenizer")
    source = write_checkpoint(tmp_path / "pretrained.pth", words=265, classes=7)
    kept = import_referformer(source, tmp_path / "kept.safetensors", tokenizer=str(folder))
    assert kept.model["classes"] == 7
    new = import_referformer(source, tmp_path / "new.safetensors", tokenizer=str(folder), new_classes=True, a2d=True)
    assert new.model["classes"] == 1
    system = load_checkpoint(new.path).system
    assert system.classes[0].weight.shape == (1, 64)
    # New heads have initial values, the same each time, rather than whatever memory held.
    again = import_referformer(
        source, tmp_path / "again.safetensors", tokenizer=str(folder), new_classes=True, a2d=True
    )
    for name, value in load_checkpoint(again.path).system.classes.state_dict().items():
        assert torch.equal(value, system.classes.state_dict()[name])
        assert 0 < value.abs().max() < 10
    assert system.centre_only


class _Thing:
    """Something that only code could rebuild."""


def test_nothing_in_the_file_is_run(tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.zeros(1)}, "args": _Thing()}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_referformer(tmp_path / "evil.pth")
    (tmp_path / "none.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_referformer(tmp_path / "none.pth")
    with pytest.raises(CheckpointError, match="no file"):
        read_referformer(tmp_path / "absent.pth")


def test_a_tokenizer_of_another_size_is_refused(tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path / "tokenizer")
    source = write_checkpoint(tmp_path / "ytvos.pth", words=100)
    done = CliRunner().invoke(
        app,
        ["import", "referformer", str(source), "-o", str(tmp_path / "o.safetensors"), "--tokenizer", str(folder)],
    )
    assert done.exit_code != 0
    assert not (tmp_path / "o.safetensors").exists()
