"""The predictor and the notebook's way in: `risctl.load(...).predict(...)`."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import risctl
from risctl.errors import CheckpointError, DataError, UsageError
from risctl.inference.predictor import Predictor
from risctl.vision import rle

TEXTS = ["the red cup", "second book from the right", "left", "the blue cup on the left", "cup"]


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (70, 113, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def predictor(tiny_checkpoint: Path) -> Predictor:
    return Predictor.load(tiny_checkpoint, device="cpu")


def test_load_and_predict_as_in_a_notebook(tiny_checkpoint: Path, image: np.ndarray) -> None:
    model = risctl.load(str(tiny_checkpoint), device="cpu", threshold=0.4)
    predictions = model.predict(image, TEXTS)
    assert [prediction.text for prediction in predictions] == TEXTS
    for prediction in predictions:
        assert prediction.mask.shape == (70, 113) and prediction.mask.dtype == bool
        assert prediction.probability.dtype == np.float32
        np.testing.assert_array_equal(prediction.mask, prediction.probability > 0.4)
        assert 0 <= prediction.score <= 1
        assert json.loads(json.dumps(prediction.rle())) == prediction.rle()
        np.testing.assert_array_equal(rle.decode(prediction.rle()), prediction.mask)
        if prediction.mask.any():
            assert prediction.box == rle.box(prediction.rle())
        drawn = prediction.overlay()
        assert drawn.dtype == np.uint8 and drawn.shape[2] == 3
        assert drawn.shape[0] >= 70 and drawn.shape[1] >= 113
    assert len({prediction.probability.tobytes() for prediction in predictions}) == len(TEXTS), (
        "texts give different answers"
    )


def test_an_image_is_encoded_once_and_texts_in_chunks(predictor: Predictor, image: np.ndarray, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    calls: list[int] = []
    chunks: list[int] = []
    encode, decode = predictor.system.encode_image, predictor.system.decode

    def counted_encode(images: torch.Tensor, padding: torch.Tensor):  # type: ignore[no-untyped-def]
        calls.append(len(images))
        return encode(images, padding)

    def counted_decode(visual, text):  # type: ignore[no-untyped-def]
        chunks.append(len(text.words))
        return decode(visual, text)

    monkeypatch.setattr(predictor.system, "encode_image", counted_encode)
    monkeypatch.setattr(predictor.system, "decode", counted_decode)
    predictor.predict(image, TEXTS)
    predictor.predict_texts("left")
    assert calls == [1]
    assert chunks == [3, 2, 1]  # `eval.text_batch` is 3


def test_many_texts_answer_as_each_alone(predictor: Predictor, image: np.ndarray) -> None:
    together = predictor.predict(image, TEXTS)
    for text, one in zip(TEXTS, together, strict=True):
        alone = predictor.predict(image, text)[0]
        np.testing.assert_allclose(alone.probability, one.probability, atol=1e-5)


def test_every_source_answers_alike(predictor: Predictor, image: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    Image.fromarray(image).save(path)
    expected = predictor.predict(image, "cup")[0].probability
    for source in (path, str(path), path.read_bytes(), Image.open(path)):
        np.testing.assert_array_equal(predictor.predict(source, "cup")[0].probability, expected)


def test_masks_are_of_the_image_as_it_is_shown(predictor: Predictor, image: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", exif=exif)
    turned = predictor.predict(buffer.getvalue(), "cup")[0]
    assert turned.mask.shape == (113, 70)
    shown = predictor.predict(np.rot90(image, -1), "cup")[0]
    np.testing.assert_array_equal(turned.probability, shown.probability)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2000, 30)])
def test_images_of_any_shape(predictor: Predictor, shape: tuple[int, int]) -> None:
    one = predictor.predict(np.full((*shape, 3), 99, dtype=np.uint8), "the cup")[0]
    assert one.mask.shape == shape
    one.overlay()


def test_the_image_in_hand(tiny_checkpoint: Path, image: np.ndarray) -> None:
    fresh = Predictor.load(tiny_checkpoint / "best.safetensors", device="cpu")
    with pytest.raises(UsageError, match="set_image"):
        fresh.predict_texts("cup")
    fresh.set_image(image)
    first = fresh.predict_texts("cup")[0]
    with pytest.raises(DataError):
        fresh.set_image(b"no picture")
    np.testing.assert_array_equal(fresh.predict_texts(["cup"])[0].probability, first.probability)
    fresh.reset_image()
    with pytest.raises(UsageError, match="set_image"):
        fresh.predict_texts("cup")


def test_answers_leave_torch_as_it_was(predictor: Predictor, image: np.ndarray) -> None:
    predictor.set_image(image)
    answers = predictor.iter_predictions(TEXTS)
    next(answers)
    assert not torch.is_inference_mode_enabled() and torch.is_grad_enabled()
    assert not predictor.system.training


@pytest.mark.parametrize("texts", ["", "   ", [], ["cup", ""], ["cup", 5]])
def test_texts_without_a_word_are_refused_before_the_image_is_read(predictor: Predictor, texts: object) -> None:
    with pytest.raises(UsageError):
        predictor.predict("no such picture.jpg", texts)  # type: ignore[arg-type]


def test_unknown_and_too_many_words_are_told(predictor: Predictor) -> None:
    assert predictor.unknown_words("the purple cup, purple giraffe") == ["purple", "giraffe"]
    assert predictor.warnings("the red cup") == []
    assert predictor.warnings("the purple cup") == ["not among the words of its training: 'purple'"]
    assert predictor.warnings("the " * 200) == ["only the first 6 of 200 words are read"]


def test_the_threshold_is_the_given_else_the_recipes_else_the_protocols(tiny_checkpoint: Path) -> None:
    assert Predictor.load(tiny_checkpoint, device="cpu").threshold == 0.5
    assert Predictor.load(tiny_checkpoint, device="cpu", threshold=0.2).threshold == 0.2
    for wrong in (-0.1, 1.0, float("nan")):
        with pytest.raises(UsageError, match="threshold"):
            Predictor.load(tiny_checkpoint, device="cpu", threshold=wrong)


def test_a_predictor_says_what_it_is(predictor: Predictor) -> None:
    line = predictor.describe()
    assert "\n" not in line
    for part in ("tiny (vlt)", "M parameters", "best.safetensors at step 7", "cpu", "> 0.5"):
        assert part in line
    assert predictor.device == torch.device("cpu")


def test_no_checkpoint_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        risctl.load(str(tmp_path / "nothing"))
    with pytest.raises(CheckpointError):
        risctl.load(str(tmp_path))
