"""What a run writes for plain transformers gives the same there, adapters merged or beside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from helpers.finetuned import FAMILIES, finetuned, section_of, tokens_of, write_model
from PIL import Image

from risctl.data.batch import Item, collate
from risctl.errors import UsageError
from risctl.systems.transformers.families import FAMILIES as ENTRIES
from risctl.systems.transformers.model import FineTuned
from risctl.systems.transformers.save import save_folder

Write = Callable[[str], Path]
IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
TEXT = "the red cup"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Write:
    root = tmp_path_factory.mktemp("models")
    return lambda kind: write_model(root / kind, kind)


def _raw(kind: str, model: Any, inputs: dict[str, Any]) -> list[torch.Tensor]:
    """Return what plain transformers gives: maps or masks, else scores and boxes."""
    with torch.no_grad():
        output = model.eval()(**inputs)
    if kind == "clipseg":
        return [output.logits.reshape(-1, *output.logits.shape[-2:])]
    if kind.startswith("sam3"):
        return [output.pred_masks, output.pred_logits, output.presence_logits[:, 0], output.pred_boxes]
    return [output.logits, output.pred_boxes]


def _ours(kind: str, system: FineTuned) -> list[torch.Tensor]:
    system.eval()
    image, geometry = system.preprocess.image(IMAGE)
    words, mask = system.preprocess.text(TEXT)
    item = Item(image=image, words=words, word_mask=mask, target=None, geometry=geometry, text=TEXT)
    with torch.no_grad():
        output = system(collate([item]))
    if kind == "clipseg":
        return [output.logits]
    names = ("masks", "scores", "presence", "boxes") if kind.startswith("sam3") else ("logits", "boxes")
    return [output.extras[name] for name in names]


def _inputs(kind: str, folder: Path) -> dict[str, Any]:
    processor = transformers.AutoProcessor.from_pretrained(folder)
    if not kind.startswith(("clipseg", "sam3")):
        return dict(processor(images=Image.fromarray(IMAGE), text=[[TEXT]], return_tensors="pt"))
    return dict(processor(images=Image.fromarray(IMAGE), text=[TEXT], return_tensors="pt"))


def _stirred(system: FineTuned) -> FineTuned:
    """Return the system as if it had been trained: what can train is changed."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in system.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return system


OTHERS = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("owlvit", "mm-grounding-dino")]


@pytest.mark.parametrize("kind", [*FAMILIES, *OTHERS])
def test_the_folder_opens_in_plain_transformers_and_gives_the_same(written: Write, kind: str, tmp_path: Path) -> None:
    folder, out = written(kind), tmp_path / "plain"
    section = section_of(folder, lora={"rank": 2})
    torch.manual_seed(0)
    system = _stirred(finetuned(folder, lora={"rank": 2}))
    save_folder(out, system=system, section=section, vocabulary=tokens_of(folder))
    opened_by = getattr(transformers, ENTRIES[kind].opened_by)
    plain, report = opened_by.from_pretrained(out, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    inputs = _inputs(kind, out)
    own = _ours(kind, system)
    for mine, theirs in zip(own, _raw(kind, plain, inputs), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-4)
    before = _raw(kind, opened_by.from_pretrained(folder), inputs)
    assert not all(torch.allclose(mine, one, atol=1e-3) for mine, one in zip(own, before, strict=True))
    _check_adapters(kind, opened_by.from_pretrained(folder), out / "adapter", own, inputs)
    with pytest.raises(UsageError, match="is there already"):
        save_folder(out, system=system, section=section, vocabulary=tokens_of(folder))


def _check_adapters(kind: str, base: Any, folder: Path, own: list[torch.Tensor], inputs: dict[str, Any]) -> None:
    peft = pytest.importorskip("peft")
    if kind.endswith("grounding-dino"):
        base.get_input_embeddings = torch.nn.Module  # which this family does not name, and peft asks for
    adapted = peft.PeftModel.from_pretrained(base, folder)
    for mine, theirs in zip(own, _raw(kind, adapted, inputs), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-4)


def test_only_models_of_transformers_are_written_so(tmp_path: Path) -> None:
    from risctl.checkpoints.loaded_model import load_checkpoint

    loaded = load_checkpoint("mini")
    with pytest.raises(UsageError, match="this is mini"):
        save_folder(tmp_path / "out", system=loaded.system, section=loaded.recipe.model, vocabulary=loaded.vocabulary)
    assert not (tmp_path / "out").exists()
