"""Image-text models of transformers in the place of CLIP: the library's features, masked pooling, and refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.tiny_image_text import MASKED, REFUSED, write_image_text
from transformers import AutoConfig, AutoModelForZeroShotImageClassification
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

from risctl.core.encoders.visual.clip_vit import CLIPViT
from risctl.errors import CheckpointError, UsageError
from risctl.models.families import FAMILIES
from risctl.models.open import open_predictor, role_of
from risctl.systems.global_local_clip.load_image_text import _visual, load_image_text

Open = Callable[[str], tuple[Any, Any]]
IMAGE = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("image-text")


@pytest.fixture(scope="module")
def opened(root: Path) -> Open:
    models: dict[str, Any] = {}

    def get(kind: str) -> tuple[Any, Any]:
        if kind not in models:
            models[kind] = load_image_text(str(write_image_text(root / kind, kind)), option="--model")
        return models[kind]

    return get


def _pooled(output: Any) -> torch.Tensor:
    return output if isinstance(output, torch.Tensor) else output.pooler_output


@pytest.mark.parametrize("kind", MASKED)
@torch.no_grad()
def test_features_are_the_librarys(opened: Open, kind: str) -> None:
    clip, tokens = opened(kind)
    model = clip.text.model
    images = torch.randn(2, 3, 32, 32)
    assert torch.allclose(clip.visual.features(images), _pooled(model.get_image_features(images)), atol=1e-5)
    texts = ["a red cup", "the dog on the left"]
    ids, ends = tokens(texts)
    for row, text in enumerate(texts):
        padded = {"padding": "max_length", "max_length": 16} if kind == "siglip" else {}
        made = tokens._tokenizer([text], return_tensors="pt", **padded)
        hidden = {} if kind == "siglip" else {"attention_mask": made["attention_mask"]}
        expected = _pooled(model.get_text_features(input_ids=made["input_ids"], **hidden))
        assert torch.allclose(clip.text(ids, ends)[row], expected[0], atol=1e-5)


@pytest.mark.parametrize("kind", MASKED)
@torch.no_grad()
def test_a_mask_of_everything_changes_nothing_and_others_do(opened: Open, kind: str) -> None:
    visual = opened(kind)[0].visual
    image = torch.randn(1, 3, 32, 32)
    masks = torch.zeros(4, 4, 4)
    masks[0], masks[1, :2], masks[2, 2:] = 1, 1, 0.5
    depth = 3
    tokens = visual.backbone(image, blocks=visual.depth - depth)
    whole, upper, lower, none = visual.masked(tokens, masks, last=depth)
    assert torch.allclose(whole, visual.features(image)[0], atol=1e-5)
    assert not torch.allclose(upper, lower, atol=1e-3) and not torch.allclose(upper, whole, atol=1e-3)
    assert torch.isfinite(none).all()


@torch.no_grad()
def test_siglips_query_reads_the_patches_in_the_mask_alone(opened: Open) -> None:
    visual = opened("siglip")[0].visual
    mask = torch.zeros(1, 4, 4)
    mask[0, 1:3, 1:3] = 1
    tokens = torch.randn(1, 16, 16)
    changed = tokens.clone()
    changed[0, ~mask.bool().flatten()] += 3.0
    one, other = (visual.masked(some, mask, last=2) for some in (tokens, changed))
    assert torch.allclose(one, other, atol=1e-5)
    with pytest.raises(CheckpointError, match="no CLS token"):
        visual.dense(torch.randn(1, 3, 32, 32))


@pytest.mark.parametrize("kind", MASKED)
def test_it_chooses_among_proposals_by_name(opened: Open, root: Path, kind: str) -> None:
    opened(kind)
    folder = str(root / kind)
    assert role_of(folder) == ("by similarity", kind)
    predictor = open_predictor(folder, device="cpu")
    found = predictor.predict(IMAGE, ["the red cup", "a dog"])
    assert all(one.mask.shape == (40, 60) for one in found)  # type: ignore[union-attr]
    assert predictor.warnings("dog " * 30) and not predictor.warnings("dog")
    with pytest.raises(UsageError, match="chooses among mini's instances; name it alone"):
        open_predictor(f"{folder}+chooser", device="cpu")


@pytest.mark.parametrize("kind", REFUSED)
def test_towers_that_cannot_be_masked_are_refused(root: Path, kind: str) -> None:
    folder = write_image_text(root / kind, kind)
    told = "no patches of a transformer" if kind == "align" else "neither as CLIP's nor as SigLIP's at one resolution"
    with pytest.raises(CheckpointError, match=f"holds a {kind}.*{told}.*use a clip"):
        open_predictor(str(folder), device="cpu")


@pytest.mark.parametrize("kind", sorted({kind for family in FAMILIES for kind in family.refused} - set(REFUSED)))
def test_further_towers_that_cannot_be_masked_are_refused(kind: str) -> None:
    if kind not in CONFIG_MAPPING_NAMES:
        pytest.skip(f"this version of transformers has no {kind}")
    with torch.device("meta"):
        model = AutoModelForZeroShotImageClassification.from_config(AutoConfig.for_model(kind))
    with pytest.raises(CheckpointError, match=f"holds a {kind}.*use a clip"):
        _visual(model, source="it", kind=kind)


def test_pixels_are_normalised_as_the_model_was_trained(opened: Open) -> None:
    assert opened("siglip")[0].visual.normalisation == ((0.5,) * 3, (0.5,) * 3)
    assert CLIPViT.normalisation is None
