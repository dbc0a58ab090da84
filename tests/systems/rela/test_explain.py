"""What ReLA shows of a prediction: minimap, weights and the strongest regions, and the sheet that draws them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.small_models import RELA

from risctl.inference.explanation import ExplainedPrediction
from risctl.language.vocabulary import Vocabulary
from risctl.results import Prediction
from risctl.systems.registry import build_system
from risctl.systems.rela.config import ReLAModel
from risctl.visualization.explain.regions import regions_contact_sheet


@pytest.fixture(scope="module")
def explained() -> ExplainedPrediction:
    torch.manual_seed(0)
    system = build_system(ReLAModel.model_validate(RELA), vocabulary=Vocabulary(["man", "left"])).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 80, 3), dtype=np.uint8)
    image, geometry = system.preprocess.image(pixels)
    words, mask = system.preprocess.text("left man")
    with torch.no_grad():
        visual = system.encode_image(image[None], geometry.padding()[None])
        output = system.decode(visual, system.encode_text(words[None], mask[None]))
    [prediction] = system.predict(output, geometries=[geometry], texts=["left man"], threshold=0.5)
    frame: Prediction = replace(prediction, image=pixels)
    return ExplainedPrediction(frames=(frame,), names=("image",), explanation=system.explain([frame]), is_clip=False)


def test_the_strongest_regions_are_those_of_the_largest_weights(explained: ExplainedPrediction) -> None:
    view = explained.explanation
    assert view.minimap.shape == view.weights.shape == (4, 4)
    assert np.allclose(view.minimap, 1 / (1 + np.exp(-view.weights)), atol=1e-6)
    largest = np.sort(view.weights.ravel())[::-1][:4]
    assert [view.weights[place] for place in view.strongest] == pytest.approx(largest.tolist())
    # Their masks are those of the image, as wide as it is.
    assert view.masks.shape == (4, 40, 80) and view.masks.min() >= 0 and view.masks.max() <= 1
    told = view.to_dict()
    assert told["target"] == pytest.approx(explained.frames[0].score, abs=1e-6)
    assert np.allclose(told["region_weights"], view.weights, atol=1e-6) and len(told["strongest"]) == 4


def test_the_sheet_shows_seven_panels_and_follows_the_minimap(explained: ExplainedPrediction) -> None:
    sheet = regions_contact_sheet(explained)
    assert sheet.dtype == np.uint8 and sheet.shape[1] >= 3 * 160
    # Another minimap changes the sheet in one panel alone.
    view = replace(explained.explanation, minimap=1 - explained.explanation.minimap)
    other = regions_contact_sheet(replace(explained, explanation=view))
    assert other.shape == sheet.shape
    changed = (other != sheet).any(axis=(0, 2)).nonzero()[0]
    assert len(changed) and changed.max() - changed.min() < sheet.shape[1] / 3
