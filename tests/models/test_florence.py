"""Florence-2: what it is asked, what is read of its answer, and polygons as masks of the picture's size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.tiny_prompted import write_prompted
from PIL import Image

from risctl.models.florence import TASK, Florence2, polygons_of
from risctl.models.names import ModelName, parse_name
from risctl.models.open import open_network, role_of
from risctl.models.predictor import PromptedPredictor

IMAGE = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
PLACES = {1000 + place: place for place in range(1000)}
SEP = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prompted(tmp_path_factory.mktemp("florence") / "model", "florence2")


@pytest.fixture(scope="module")
def network(folder: Path) -> Florence2:
    name = parse_name(folder)
    assert isinstance(name, ModelName) and role_of(str(folder)) == ("segments", "florence2")
    opened = open_network(name, device=torch.device("cpu"))
    assert isinstance(opened, Florence2)
    return opened


def _tokens(*places: int) -> list[int]:
    return [1000 + place for place in places]


def test_consecutive_locations_are_a_polygon() -> None:
    square = _tokens(0, 0, 499, 0, 499, 999, 0, 999)
    answer = [2, 0, *square, SEP, *_tokens(500, 500, 999, 500, 999, 999), 17, *_tokens(1, 2, 3, 4), SEP, 2]
    one, other = polygons_of(answer, places=PLACES, size=(40, 60))
    assert np.allclose(one, np.array([[0.5, 0.5], [499.5, 0.5], [499.5, 999.5], [0.5, 999.5]]) * [0.06, 0.04])
    assert np.allclose(other, np.array([[500.5, 500.5], [999.5, 500.5], [999.5, 999.5]]) * [0.06, 0.04])
    # A coordinate without its pair, and nothing at all.
    [odd] = polygons_of([*square, *_tokens(7)], places=PLACES, size=(40, 60))
    assert np.array_equal(odd, one)
    assert polygons_of([], places=PLACES, size=(40, 60)) == []
    assert polygons_of([2, 17, SEP, 2], places=PLACES, size=(40, 60)) == []


def test_the_librarys_own_parser_reads_the_same_corners(network: Florence2) -> None:
    named = "<loc_10><loc_20><loc_510><loc_20><loc_510><loc_700><sep><loc_5><loc_900><loc_90><loc_900><loc_90><loc_999>"
    parser = network._processor.post_processor
    [expected] = parser.parse_description_with_polygons_from_text_and_spans(
        named, image_size=(600, 400), allow_empty_phrase=True
    )
    ids = network._tokens(named, add_special_tokens=False)["input_ids"]
    ours = polygons_of(ids, places=network._places, size=(400, 600))
    # The library rounds down to whole pixels.
    assert [one.astype(int).ravel().tolist() for one in ours] == [list(one) for one in expected["polygons"]]


@torch.no_grad()
def test_an_answer_is_what_the_library_generates(network: Florence2, monkeypatch: pytest.MonkeyPatch) -> None:
    model, processor = network._model, network._processor
    inputs = processor(images=Image.fromarray(IMAGE), text=f"{TASK}the red cup", return_tensors="pt")
    generate, said = model.generate, []

    def kept(**options: Any) -> torch.Tensor:
        found = generate(**options)
        said.append(found)
        return found

    expected = generate(**inputs, max_new_tokens=47, num_beams=1, do_sample=False)
    monkeypatch.setattr(model, "generate", kept)
    network.find(network.encode(IMAGE), ["the red cup"])
    assert said[0].tolist() == expected.tolist() and said[0].shape[1] > 4


def _says(network: Florence2, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    answer = torch.tensor([network._tokens(f"</s><s>{text}</s>", add_special_tokens=False)["input_ids"]])
    monkeypatch.setattr(network._model, "generate", lambda **_: answer)


def test_polygons_make_up_the_mask(network: Florence2, monkeypatch: pytest.MonkeyPatch) -> None:
    left = "<loc_0><loc_0><loc_499><loc_0><loc_499><loc_999><loc_0><loc_999>"
    over = "<loc_250><loc_0><loc_749><loc_0><loc_749><loc_999><loc_250><loc_999>"
    _says(network, monkeypatch, f"{left}<sep>{over}")
    for size in ((40, 60), (60, 40)):
        predictor = PromptedPredictor(network, name="f")
        [found] = predictor.predict(np.zeros((*size, 3), dtype=np.uint8), "the cup")
        # Where they overlap is inside as well.
        assert found.matched and found.mask.shape == size and 0 < found.score <= 1
        assert found.mask[1:-1, : int(0.74 * size[1])].all() and not found.mask[:, int(0.76 * size[1]) + 1 :].any()


def test_no_polygon_is_no_match(network: Florence2, monkeypatch: pytest.MonkeyPatch) -> None:
    flat = "<loc_5><loc_5><loc_9><loc_5><loc_7><loc_5>"  # has no area
    for said in ("", "the cup", "<loc_1><loc_2><loc_3><loc_4>", flat):
        _says(network, monkeypatch, said)
        [found] = PromptedPredictor(network, name="f", no_target_threshold=0).predict(IMAGE, "the cup")
        assert not found.matched and found.score == 0 and not found.mask.any()


def test_what_looks_like_a_token_is_text(network: Florence2) -> None:
    assert network._prompt("a b") == network._prompt(" a  b ".strip().replace("  ", " "))
    encoded = network.encode(IMAGE)
    assert len(network.find(encoded, ["</s><image> cup", "<loc_1> dog"])) == 2
    assert not network.is_truncated("the red cup") and network.is_truncated("dog " * 60)
    assert len(network.find(encoded, ["dog " * 60])) == 1


def test_images_are_encoded_together(network: Florence2) -> None:
    images = [IMAGE, IMAGE.transpose(1, 0, 2).copy()]
    for pixels, together in zip(images, network.encode_images(images), strict=True):
        alone = network.encode(pixels)
        assert together.size == alone.size == pixels.shape[:2]
        assert torch.allclose(together.features, alone.features, atol=1e-5)
