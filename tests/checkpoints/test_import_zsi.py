"""A published ZSI checkpoint to one of ours: names, the vocabulary that it lacks, the command, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from helpers.published_zsi import WORDS, write_checkpoint, write_vectors, zsi_shapes
from torchvision.models import resnet101

from risctl.checkpoints.import_zsi import import_zsi
from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.cli import app
from risctl.errors import CheckpointError, DataError, UsageError
from risctl.systems.zsi.build import WORD_NORM
from risctl.systems.zsi.model import ZSI
from risctl.systems.zsi.published import read_zsi, zsi_model, zsi_state


@pytest.fixture
def files(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path / "epoch_12.pth")
    write_vectors(tmp_path / "vectors.txt")
    (tmp_path / "words.txt").write_text("\n".join(WORDS))
    return tmp_path


def imported(files: Path, **options: object) -> tuple[ZSI, tuple[str, ...]]:
    given = {"split": "48_17", "vocabulary": str(files / "vectors.txt"), "words": files / "words.txt"} | options
    done = import_zsi(files / "epoch_12.pth", files / "zsi.safetensors", **given)  # type: ignore[arg-type]
    loaded = load_checkpoint(files / "zsi.safetensors")
    assert loaded.header["without_vector"] == list(done.missing)
    assert isinstance(loaded.system, ZSI)
    return loaded.system, done.missing


def test_the_published_names_are_these(shared: Path) -> None:
    cases = sorted((shared / "parity" / "zsi").glob("*/case.json"))
    if not cases:
        pytest.skip("no parity cases")
    for file in cases:
        listed = {
            load["name"]: tuple(load["shape"]) for load in json.loads(file.read_text(encoding="utf-8"))["checkpoint"]
        }
        ours = zsi_shapes(dim=300, channels=256, hidden=1024, words=4717)
        heads = {name for name in listed if not name.startswith("backbone.")}
        assert heads == {name for name in ours if not name.startswith("backbone.")}
        assert all(listed[name] == ours[name] for name in heads if not name.startswith("neck.lateral"))


def test_numbers_are_read_off_the_shapes(files: Path) -> None:
    model = zsi_model(read_zsi(files / "epoch_12.pth"), source="x")
    assert (model["split"], model["visual"]["name"], model["channels"], model["hidden"]) == ("48_17", "resnet18", 8, 8)
    assert (model["vocabulary_words"], model["encoder_kernel"], model["text"]["dim"]) == (len(WORDS), 3, 6)
    assert (model["conventions"], model["mask_background_sync"]) == ("mmdet1", "generalised")
    write_checkpoint(files / "other.pth", classes=66)
    model = zsi_model(read_zsi(files / "other.pth"), source="x")
    assert (model["split"], model["mask_background_sync"]) == ("65_15", "always")


def test_the_checkpoint_holds_the_vocabulary_and_the_classes(files: Path) -> None:
    """Also: a word without a vector takes no part, and a class asked for by its word has its trained vector."""
    system, missing = imported(files)
    published = read_zsi(files / "epoch_12.pth")
    assert "xyzzy" in missing and "cat" not in missing and "left" not in missing
    ids, mask = system.preprocess.text("the left zebra")
    asked = system.encode_text(ids[None], mask[None]).sentence[0]
    assert asked[6:].tolist() == [1, 0, 0, 0, 0, 0, 0, 1]
    lengths = system.box_head.vocabulary.norm(dim=1)
    assert torch.allclose(lengths, torch.tensor([WORD_NORM, WORD_NORM, WORD_NORM, 0, WORD_NORM]), atol=1e-5)
    assert torch.equal(system.seen, published["mask_head.conv_vec.weight"][:, :, 0, 0])
    assert torch.equal(system.box_head.to_words.weight, published["bbox_head.fc_semantic.weight"])
    assert torch.equal(system.mask_head.from_words.bias, published["mask_head.dconvT.conv.bias"])
    seen = system.text.words.index("zebra")
    assert (system.seen[1:] == system.text.vectors[seen]).all(1).sum() == 1
    assert "castle" in system.text.words


def test_published_class_vectors_are_the_unseen_ones(files: Path) -> None:
    matrix = torch.rand(6, 66)
    (files / "classes.txt").write_text("\n".join(",".join(f"{x:.6f}" for x in row) for row in matrix.tolist()))
    system, _ = imported(files, class_vectors=files / "classes.txt")
    assert torch.allclose(system.unseen[0], matrix[:, 0], atol=1e-5)
    assert torch.allclose(system.unseen[1:], matrix[:, 49:].T, atol=1e-5)
    (files / "classes.txt").write_text("1,2\n3,4\n")
    with pytest.raises(CheckpointError, match="6 lines with 66 numbers"):
        imported(files, class_vectors=files / "classes.txt")


def test_the_published_forms() -> None:
    """682 names with a ResNet-101; the test form brings the unseen classes' vectors, the seen ones again."""
    with torch.device("meta"):
        backbone = [name for name in resnet101(weights=None).state_dict() if not name.startswith("fc.")]
    assert len(backbone) + sum(not name.startswith("backbone.") for name in zsi_shapes()) == 682
    unseen = torch.rand(18, 6, 1, 1)
    added = {"mask_head.conv_vec_unseen.weight": unseen, "mask_head.con_vec_t.weight": torch.rand(6, 49, 1, 1)}
    state = zsi_state(added, source="x")
    assert list(state) == ["unseen"] and torch.equal(state["unseen"], unseen[:, :, 0, 0])


def test_what_does_not_fit_is_refused(files: Path) -> None:
    with pytest.raises(UsageError, match="pass --split 48_17"):
        imported(files, split="65_15")
    with pytest.raises(UsageError, match=r"compares with 5 words, got 6 .*--words"):
        imported(files, words=None)
    (files / "words.txt").write_text("cat cat dog a b")
    with pytest.raises(DataError, match="1 words twice"):
        imported(files)
    (files / "epoch_12.pth").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="cannot be read as a ZSI checkpoint"):
        imported(files)
    with pytest.raises(CheckpointError, match=r"1 unknown names, such as roi_head\.x"):
        zsi_state({"roi_head.x": torch.zeros(1)}, source="x")
    with pytest.raises(CheckpointError, match="no ZSI checkpoint"):
        zsi_model({"a": torch.zeros(1)}, source="x")


def test_the_command(files: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    named = {"--split": "48_17", "--vocabulary": files / "vectors.txt", "--words": files / "words.txt"}
    options = [str(one) for pair in named.items() for one in pair]
    monkeypatch.chdir(files)
    monkeypatch.setattr(sys, "argv", ["risctl", "import", "zsi", str(files / "epoch_12.pth"), "--json", *options])
    with pytest.raises(SystemExit) as leaving:
        app.main()
    said = capfd.readouterr()
    assert not leaving.value.code, said.err
    told = json.loads(said.out)
    assert "xyzzy" in told["missing"] and told["path"] == "epoch_12.safetensors"
    assert (files / "epoch_12.safetensors").is_file()
    assert "words have no vector" in said.err
