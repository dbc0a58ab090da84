"""OpenAI's checkpoints: state dict and TorchScript archive give one model; nothing in a file runs."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
import torch
from helpers.tiny_clip import SIDE, openai_state, tiny_clip, write_hugging_face, write_tokenizer
from torch import Tensor, nn

from risctl.core.encoders.clip_weights import read_published_clip
from risctl.errors import CheckpointError
from risctl.systems.global_local_clip.load_clip import load_clip
from risctl.systems.global_local_clip.published import build_published_clip
from risctl.weights.torchscript import is_torchscript, read_torchscript


class _Holder(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


def _script(state: dict[str, Tensor], path: Path) -> None:
    """Save `state` as the parameters of a scripted module, nested as its names say, in half precision where float."""
    root = _Holder()
    for name, value in state.items():
        module = root
        *parents, leaf = name.split(".")
        for parent in parents:
            if not hasattr(module, parent):
                module.add_module(parent, _Holder())
            module = getattr(module, parent)
        value = value.half() if value.is_floating_point() else value
        if "running" in leaf or not value.is_floating_point():
            module.register_buffer(leaf, value)
        else:
            module.register_parameter(leaf, nn.Parameter(value))
    torch.jit.script(root).save(str(path))


@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_an_archive_and_a_state_dict_give_the_same_tensors(tmp_path: Path, kind: str) -> None:
    state = openai_state(kind)
    torch.save({"state_dict": state}, tmp_path / "plain.pt")
    _script(state, tmp_path / "jit.pt")
    assert is_torchscript(tmp_path / "jit.pt")
    assert not is_torchscript(tmp_path / "plain.pt")
    plain, archive = read_published_clip(tmp_path / "plain.pt"), read_published_clip(tmp_path / "jit.pt")
    assert plain.keys() == state.keys() == archive.keys()
    for name, value in state.items():
        assert torch.equal(plain[name], value)
        assert torch.equal(archive[name], value.half().float() if value.is_floating_point() else value)


def test_the_vit_is_hugging_faces_own_forward() -> None:
    clip = tiny_clip()
    images = torch.randn(2, 3, SIDE, SIDE)
    with torch.no_grad():
        pooled = clip.visual.model(pixel_values=images).pooler_output
        assert torch.allclose(clip.visual.features(images), clip.visual.projection(pooled), atol=1e-5)
        ids = torch.tensor([[298, 5, 7, 299, 0, 0], [298, 5, 7, 8, 9, 299]])
        both = clip.text(ids, torch.tensor([3, 5]))
        assert torch.allclose(both[:1], clip.text(ids[:1, :4], torch.tensor([3])), atol=1e-5)
    assert clip.visual.model.config.hidden_act == "quick_gelu"


def test_a_file_without_a_clip_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="found no file"):
        read_published_clip(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_published_clip(tmp_path / "text.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="got list"):
        read_published_clip(tmp_path / "list.pt")
    state = openai_state()
    del state["visual.proj"]
    with pytest.raises(CheckpointError, match=r"visual\.proj"):
        build_published_clip(state, source="cut")
    with pytest.raises(CheckpointError, match="1 unknown"):
        build_published_clip(openai_state() | {"visual.extra": torch.zeros(1)}, source="more")
    with pytest.raises(CheckpointError, match="no CLIP"):
        build_published_clip({"weight": torch.zeros(1)}, source="other")


def test_a_damaged_or_crafted_archive_is_refused(tmp_path: Path) -> None:
    _script(openai_state("resnet"), tmp_path / "jit.pt")
    whole = (tmp_path / "jit.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError):
        read_published_clip(tmp_path / "cut.pt")
    ran = tmp_path / "ran"
    crafted = b"cos\nsystem\n(S'touch " + str(ran).encode() + b"'\ntR."
    with zipfile.ZipFile(tmp_path / "bad.pt", "w") as archive:
        archive.writestr("a/constants.pkl", b"N.")
        archive.writestr("a/data.pkl", crafted)
    with pytest.raises(CheckpointError):
        read_torchscript(tmp_path / "bad.pt")
    assert not ran.exists()


def test_a_tensor_cannot_reach_beyond_its_storage(tmp_path: Path) -> None:
    _script({"weight": torch.arange(8.0)}, tmp_path / "jit.pt")
    with zipfile.ZipFile(tmp_path / "jit.pt") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data[:4] if "/data/" in name else data)
    (tmp_path / "short.pt").write_bytes(made.getvalue())
    with pytest.raises(CheckpointError, match="beyond its storage"):
        read_torchscript(tmp_path / "short.pt")


def test_models_by_folder_and_by_file(tmp_path: Path) -> None:
    folder = write_hugging_face(tmp_path / "hf")
    clip, tokens = load_clip(str(folder))
    ids, ends = tokens(["the red cup", "a man"])
    assert ids.shape == (2, 5)
    assert ends.tolist() == [4, 3]
    assert clip.text(ids, ends).shape == (2, 32)
    torch.save(openai_state(), tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="holds no vocabulary"):
        load_clip(str(tmp_path / "model.pt"))
    write_tokenizer(tmp_path)
    clip, _ = load_clip(str(tmp_path / "model.pt"))
    assert clip.visual.grid == 4
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"lacks model\.safetensors or .* or pytorch_model\.bin"):
        load_clip(str(folder))
    with pytest.raises(CheckpointError, match="found nothing"):
        load_clip(str(tmp_path / "absent"))
