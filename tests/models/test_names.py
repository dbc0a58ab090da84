"""Names of models: what each stands for, and what is told of a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from risctl.errors import UsageError
from risctl.models.names import parse_name
from risctl.models.registry import CHOOSER, MODELS, OWN, WEIGHTS


def test_every_listed_model_is_a_name() -> None:
    for name, model in MODELS.items():
        parsed = parse_name(name)
        if name == OWN:
            assert parsed is None
            continue
        assert parsed is not None
        assert parsed.sources == tuple(WEIGHTS[part].repository for part in model.parts)
        assert parsed.chooser == name.endswith(CHOOSER)


def test_own_models_are_left_to_the_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "a.safetensors").touch()
    for name in (None, "mini", "run", Path("run"), "a.safetensors", "no/such/run", "no-such-thing"):
        assert parse_name(name) is None
    # A run folder named like a model is what it is.
    (tmp_path / "sam3").mkdir()
    assert parse_name("sam3") is None


def test_hub_ids_folders_and_pipelines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "a+b"
    folder.mkdir()
    (folder / "config.json").write_text("{}", encoding="utf-8")
    expected = {
        "hf:one/two": (("one/two",), False),
        "hf:one/two@main": (("one/two@main",), False),
        "hf:one/two@refs/pr/3": (("one/two@refs/pr/3",), False),
        "hf:one/two+sam2": (("one/two", WEIGHTS["sam2"].repository), False),
        "mask2former+chooser": ((WEIGHTS["mask2former"].repository,), True),
        "a+b": (("a+b",), False),
        "a+b+sam": (("a+b", WEIGHTS["sam"].repository), False),
        f"{folder}+chooser": ((str(folder),), True),
    }
    for name, (sources, chooser) in expected.items():
        parsed = parse_name(name)
        assert parsed is not None
        assert (parsed.name, parsed.sources, parsed.chooser) == (name, sources, chooser)
    assert parse_name(Path("hf:one/two")) == parse_name("hf:one/two")
    # A folder named like a model is what it is, in a pipeline too; one without a configuration is not a model.
    (tmp_path / "sam2").mkdir()
    first, second = (WEIGHTS[part].repository for part in ("owlv2", "sam2"))
    assert parse_name("owlv2+sam2").sources == (first, second)  # type: ignore[union-attr]
    (tmp_path / "sam2" / "config.json").write_text("{}", encoding="utf-8")
    assert parse_name("owlv2+sam2").sources == (first, "sam2")  # type: ignore[union-attr]
    assert parse_name(Path("owlv2+./sam2")).sources == (first, "sam2")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("owlv3+sam2", "unknown model 'owlv3'; did you mean 'owlv2'.* in 'owlv3\\+sam2'"),
        ("clipsegg", "no model, run folder or checkpoint file 'clipsegg'; did you mean 'clipseg'"),
        ("owlv2+sam2+sam", "has 3 parts"),
        ("owlv2+chooser+sam2", "chooser comes last"),
        ("owlv2+", "unknown model ''"),
        ("hf:one", "expected hf:OWNER/NAME"),
        ("hf:one/../two", "expected hf:OWNER/NAME"),
    ],
)
def test_wrong_names_are_told(name: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        parse_name(name)


def test_a_path_that_is_not_there_is_read_as_one() -> None:
    for path in ("runs/sam2", "./clipsegg", "weights.safetensors"):
        assert parse_name(path) is None
