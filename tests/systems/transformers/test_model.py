"""Models of transformers that are fine-tuned: the contract, and where gradients go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.finetuned import FAMILIES, finetuned, section_of, tokens_of, write_model
from helpers.small_models import recipe_of
from helpers.system_contract import SystemContract, items_of

from risctl.data.batch import collate
from risctl.errors import CheckpointError, RecipeError
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.schema import Recipe
from risctl.systems.base import System
from risctl.systems.transformers.model import FineTuned

Write = Callable[[str], Path]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Write:
    """Writes each tiny model once."""
    root = tmp_path_factory.mktemp("models")
    return lambda kind: write_model(root / kind, kind)


class TransformersContract(SystemContract):
    """All of the model trains."""

    kind: str
    folder: Path

    @pytest.fixture(scope="class", autouse=True)
    def _written(self, written: Write, request: pytest.FixtureRequest) -> None:
        request.cls.folder = written(self.kind)

    @pytest.fixture(scope="class")
    def vocabulary(self) -> Vocabulary:
        return tokens_of(self.folder)

    def recipe(self) -> Recipe:
        # The best answer alone: with random weights all boxes would make up every answer.
        return recipe_of(section_of(self.folder, frozen=[], min_score=1.0).model_dump(mode="json"))

    def stir(self, system: System) -> None:
        """Many layers begin at zeros."""
        torch.manual_seed(0)
        with torch.no_grad():
            for parameter in system.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.05)


class TestCLIPSeg(TransformersContract):
    kind = "clipseg"


@pytest.mark.slow
class TestSAM3(TransformersContract):
    kind = "sam3"


class TestOWLv2(TransformersContract):
    kind = "owlv2"


@pytest.mark.slow
class TestGroundingDino(TransformersContract):
    kind = "grounding-dino"
    # The windows of Swin reach over padding; several sizes are tested below.
    sizes = ((60, 60),) * 4

    def may_lack_gradient(self, name: str) -> bool:
        """Its masks do not know the marks of the tiny tokenizer: a token sees itself alone, whatever its query."""
        return ".query." in name or ".key." in name


def _trained(system: FineTuned, *, steps: int = 4, rate: float = 3e-3) -> list[float]:
    """Train on one batch of pictures of several sizes, without dropout; return the losses."""
    system.eval()
    batch = collate(items_of(system))
    parameters = [parameter for parameter in system.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=rate)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.stack(list(system.loss(system(batch), batch).values())).sum()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("kind", FAMILIES)
def test_adapters_alone_train_and_the_loss_falls(written: Write, kind: str) -> None:
    torch.manual_seed(0)
    system = finetuned(written(kind), frozen=["visual"], lora={"rank": 4, "alpha": 16.0})
    before = {name: value.clone() for name, value in system.state_dict().items()}
    losses = _trained(system, rate=2e-2)
    assert losses[-1] < losses[0]
    changed = {name for name, value in system.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all("lora_" in name for name in changed)
    assert not any(name.startswith(tuple(f"network.{one}" for one in system.family.visual)) for name in changed)
    assert all(one.grad is None for name, one in system.named_parameters() if "lora_" not in name)


@pytest.mark.parametrize("kind", FAMILIES)
def test_frozen_encoders_stay_as_they_are(written: Write, kind: str) -> None:
    system = finetuned(written(kind), frozen=["visual", "text"])
    before = {name: value.clone() for name, value in system.state_dict().items()}
    losses = _trained(system)
    assert losses[-1] < losses[0]
    frozen = tuple(f"network.{one}" for one in (*system.family.visual, *system.family.text))
    changed = {name for name, value in system.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and not any(name.startswith(frozen) for name in changed)
    system.train()
    kept = [one for name, one in system.named_modules() if f"{name}.".startswith(frozen)]
    assert kept and not any(one.training for one in kept)


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_phrase_that_refers_to_nothing_is_learned_from(written: Write, kind: str) -> None:
    system = finetuned(written(kind))
    for rows in (slice(0, 2), slice(1, 2)):
        some = collate(items_of(system, texts=("the man", "red cup"))[rows])
        assert some.targets is not None
        some.targets[-1] = 0
        total = torch.stack(list(system.loss(system(some), some).values())).sum()
        total.backward()
        assert total.isfinite()
        grads = [one.grad for one in system.parameters() if one.grad is not None]
        assert grads and all(bool(grad.isfinite().all()) for grad in grads)


def test_what_does_not_fit_is_one_clear_line(written: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match=r"rt_detr_v2, which risctl cannot fine-tune; it can: clipseg, sam3"):
        section_of(write_model(tmp_path / "rt", "rt_detr_v2"))
    with pytest.raises(CheckpointError, match=r"found nothing at /nowhere/at/all"):
        section_of(Path("/nowhere/at/all"))
    with pytest.raises(RecipeError, match=r"model.name"):
        recipe_of({"system": "transformers", "name": "clipseg"})
    with pytest.raises(RecipeError, match=r"no linear layer .* ends in qkv; there are .*q_proj"):
        finetuned(written("clipseg"), lora={"layers": ["qkv"]})
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(Exception, match=r"pip install 'risctl\[tune\]'"):
        finetuned(written("clipseg"), lora={})


@pytest.mark.parametrize("kind", ["owlv2", "grounding-dino"])
def test_the_area_of_a_box_is_that_of_each_picture_of_a_batch(
    written: Write, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures of several sizes, padded to the largest or to squares: boxes lie in the pictures, not in the padding."""
    system = finetuned(written(kind), min_score=1.0).eval()
    system.no_target_threshold = 0.0
    batch = collate(items_of(system))
    forward = system.network.forward if kind == "grounding-dino" else system.network.box_predictor

    def placed(*args: Any, **options: Any) -> Any:
        found = forward(*args, **options)
        boxes = found.pred_boxes if kind == "grounding-dino" else found
        for row, geometry in enumerate(batch.geometries):
            inner = torch.tensor([geometry.inner_width, geometry.inner_height])
            whole = inner if kind == "grounding-dino" else torch.tensor([geometry.input_width, geometry.input_height])
            # The right half of the lower half of the picture.
            boxes[row] = torch.cat([0.75 * inner / whole, 0.5 * inner / whole])
        return found

    monkeypatch.setattr(system.network, "forward" if kind == "grounding-dino" else "box_predictor", placed)
    with torch.no_grad():
        output = system(batch)
    found = system.predict(output, geometries=batch.geometries, texts=batch.texts, threshold=0.5)
    for prediction in found:
        height, width = prediction.mask.shape
        expected = np.zeros((height, width), dtype=bool)
        expected[height // 2 :, width // 2 :] = True
        mask = prediction.probability > 0.5
        assert (expected & mask).sum() / (expected | mask).sum() > 0.85
