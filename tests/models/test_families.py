"""Families of transformers behind one name: geometry, company, precision, and one encoding of an image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.tiny_finders import BOXES, BY_PHRASE, FURTHER, KINDS, LABELS, MASKS, write_finder
from helpers.tiny_prompted import write_prompted
from helpers.tiny_sams import write_sam
from torch.nn import functional

from risctl.errors import CheckpointError, UsageError
from risctl.models.names import ModelName, parse_name
from risctl.models.open import _finder, open_network, open_predictor, role_of
from risctl.models.predictor import PromptedPredictor

NOISE = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
TEXTS = ["the red cup", "a man", "the dog on the left"]
# A bright rectangle x1 y1 x2 y2 in a dark picture that is not square, high or wide.
RECTANGLES = {(50, 90): (18, 10, 54, 35), (90, 50): (10, 18, 35, 54)}
PROMPTED = ("clipseg", "sam3", "sam3-lite")

Write = Callable[[str], Path]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Write:
    """Writes each tiny model once."""
    root = tmp_path_factory.mktemp("families")

    def write(kind: str) -> Path:
        folder = root / kind
        if not folder.exists():
            if kind in KINDS:
                write_finder(folder, kind)
            elif kind == "sam":
                write_sam(folder, gain=1e5)
            else:
                write_prompted(folder, kind)
        return folder

    return write


def _name(written: Write, kind: str) -> str:
    parts = [written(kind)] + ([written("sam")] if kind in (*BOXES, *FURTHER, *BY_PHRASE, "grounding-dino") else [])
    return "+".join(map(str, parts))


_OPENED: dict[tuple[str, torch.dtype], Any] = {}


def _network(written: Write, kind: str, *, dtype: torch.dtype = torch.float32) -> Any:
    """Return the network of a tiny model, opened once."""
    text = _name(written, kind)
    if (text, dtype) not in _OPENED:
        name = parse_name(text)
        assert isinstance(name, ModelName)
        _OPENED[text, dtype] = open_network(name, device=torch.device("cpu"), dtype=dtype)
    return _OPENED[text, dtype]


def _open(written: Write, kind: str, *, dtype: torch.dtype = torch.float32, **options: Any) -> PromptedPredictor:
    return PromptedPredictor(_network(written, kind, dtype=dtype), name=kind, **options)


def _picture(size: tuple[int, int]) -> np.ndarray:
    pixels = np.zeros((*size, 3), dtype=np.uint8)
    x1, y1, x2, y2 = RECTANGLES[size]
    pixels[y1:y2, x1:x2] = 255
    return pixels


def _bright(values: torch.Tensor) -> torch.Tensor:
    """Return where the network's input is bright, bool (h, w)."""
    plane = values[0].float().mean(0)
    return plane > (plane.min() + plane.max()) / 2


@pytest.mark.parametrize(
    ("kind", "size"),
    [*((kind, size) for kind in (*BOXES, *BY_PHRASE) for size in RECTANGLES), *((kind, (50, 90)) for kind in FURTHER)],
)
def test_a_box_in_the_networks_input_is_found_in_the_picture(
    written: Write, kind: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = _network(written, kind)
    finder = network._finder if kind in BY_PHRASE else network._found.finder
    pixels = _picture(size)
    forward = finder._model.forward
    of_boxes = getattr(finder._model, "box_predictor", None)
    bright = (
        _bright(finder._processor.image_processor(pixels, return_tensors="pt")["pixel_values"]) if of_boxes else None
    )

    def placed(*args: Any, **inputs: Any) -> Any:
        if bright is None:
            output, where = forward(*args, **inputs), _bright(inputs["pixel_values"])
        else:
            output, where = {"pred_boxes": of_boxes(*args, **inputs)}, bright
        rows, columns = torch.nonzero(where.any(1))[:, 0], torch.nonzero(where.any(0))[:, 0]
        height, width = where.shape
        x1, x2 = columns.min() / width, (columns.max() + 1) / width
        y1, y2 = rows.min() / height, (rows.max() + 1) / height
        boxes = output["decoder_coord_logits" if kind == "omdet-turbo" else "pred_boxes"]
        boxes[:] = torch.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1])
        return output if bright is None else boxes

    # OWL-ViT and OWLv2 are not run as a whole: an image is encoded apart from the texts.
    monkeypatch.setattr(finder._model, "forward" if of_boxes is None else "box_predictor", placed)
    encoded = network.encode(pixels)
    instances = encoded.instances if kind not in BY_PHRASE else finder.find(encoded[0], ["the red cup"])[0]
    assert len(instances)
    # A pixel of the network's input is up to three of the picture.
    assert np.abs(instances.boxes - np.array(RECTANGLES[size])).max() <= 3


@pytest.mark.parametrize("size", RECTANGLES)
@pytest.mark.parametrize("kind", MASKS)
def test_a_mask_in_the_networks_input_is_drawn_in_the_picture(
    written: Write, kind: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = _network(written, kind)
    finder = network._found.finder
    forward = finder._model.forward

    def placed(*args: Any, **inputs: Any) -> Any:
        output = forward(*args, **inputs)
        logits = output["pred_masks" if kind == "rf_detr_seg" else "masks_queries_logits"]
        where = _bright(inputs["pixel_values"])[None, None].float()
        logits[:] = 20 * functional.interpolate(where, size=logits.shape[-2:], mode="area") - 10
        return output

    monkeypatch.setattr(finder._model, "forward", placed)
    found = network.encode(_picture(size))
    assert len(found.instances)
    mask = found.draw([0])[0] > 0.5
    assert mask.shape == size
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    drawn = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    # Masks of these tiny models have a fourth of the input's resolution.
    assert np.abs(drawn - np.array(RECTANGLES[size])).max() <= 7
    assert np.abs(found.instances.boxes[0] - drawn).max() <= 7


@pytest.mark.parametrize("kind", [*PROMPTED, *BY_PHRASE, *BOXES, *MASKS])
def test_an_answer_does_not_depend_on_its_company(written: Write, kind: str) -> None:
    predictor = _open(written, kind, no_target_threshold=0)
    together = predictor.predict(NOISE, TEXTS)
    for text, answer in zip(TEXTS, together, strict=True):
        assert answer.text == text
        assert answer.probability.shape == (40, 60)
        assert 0 <= answer.score <= 1
        [alone] = predictor.predict_texts(text)
        assert np.allclose(alone.probability, answer.probability, atol=1e-4)
        assert alone.score == pytest.approx(answer.score, abs=1e-4)
    assert any(answer.mask.any() for answer in together)
    # Another picture, then the first again.
    predictor.predict(NOISE[::-1, ::-1].copy(), TEXTS[0])
    [again] = predictor.predict(NOISE, TEXTS[0])
    assert np.allclose(again.probability, together[0].probability, atol=1e-4)


@pytest.mark.parametrize("kind", [*PROMPTED, *BY_PHRASE, "grounding-dino", *BOXES, *FURTHER, *MASKS])
def test_images_encoded_together_answer_as_alone(written: Write, kind: str) -> None:
    network = _network(written, kind)
    # Some processors keep the aspect ratio: the first and the last can be stacked there, all elsewhere.
    images = [NOISE, NOISE.transpose(1, 0, 2).copy(), NOISE[::-1].copy()]
    together = network.encode_images(images)
    assert len(together) == 3
    for pixels, encoded in zip(images, together, strict=True):
        one, alone = network.find(encoded, TEXTS[:1])[0], network.find(network.encode(pixels), TEXTS[:1])[0]
        assert np.allclose(one.scores, alone.scores, atol=1e-4)
        if len(one.scores):
            drawn, expected = one.draw([0])[0], alone.draw([0])[0]
            assert drawn.shape == pixels.shape[:2] and np.allclose(drawn, expected, atol=1e-3)


ENCODERS = {
    "clipseg": "clip.vision_model",
    "sam3": "vision_encoder",
    "owlv2": "owlv2.vision_model",
    "grounding-dino": "model.backbone.conv_encoder",
    "mm-grounding-dino": "model.backbone.conv_encoder",
    "omdet-turbo": "vision_backbone.vision_backbone",
}
"""What reads an image alone, by family."""


def _model(network: Any) -> Any:
    return network._finder._model if hasattr(network, "_finder") else network._model


@pytest.mark.parametrize(("kind", "encoder"), ENCODERS.items())
def test_images_of_one_size_are_one_forward_pass(written: Write, kind: str, encoder: str) -> None:
    network = _network(written, kind)
    calls = []
    hook = _model(network).get_submodule(encoder).register_forward_hook(lambda *_: calls.append(1))
    network.encode_images([NOISE, NOISE[::-1].copy()])
    hook.remove()
    assert len(calls) == 1


def test_an_owls_answer_is_the_librarys(written: Write) -> None:
    finder = _network(written, "owlv2")._finder
    inputs = finder._processor(text=[TEXTS], images=NOISE, return_tensors="pt", padding="max_length", max_length=16)
    with torch.no_grad():
        output = finder._model(**inputs)
    [found] = finder._processor.post_process_grounded_object_detection(output, threshold=0.0, target_sizes=[(40, 60)])
    best = found["scores"].max()
    ours = finder.find(finder.encode(NOISE), TEXTS)
    assert max(one.scores[0] for one in ours if len(one.scores)) == pytest.approx(float(best), abs=1e-5)


HALF = ("clipseg", "sam3", "owlv2", "detr", "rf_detr", "mask2former", "eomt")


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [*((kind, torch.bfloat16) for kind in HALF), *((kind, torch.float16) for kind in HALF)],
)
def test_a_lower_precision_answers_alike(written: Write, kind: str, dtype: torch.dtype) -> None:
    exact = _open(written, kind, no_target_threshold=0, surest=True).predict(NOISE, TEXTS)
    lower = _open(written, kind, no_target_threshold=0, surest=True, dtype=dtype).predict(NOISE, TEXTS)
    for one, other in zip(exact, lower, strict=True):
        assert other.probability.dtype == np.float32
        assert np.isfinite(other.probability).all()
        assert other.score == pytest.approx(one.score, abs=0.1)


REST = [kind for kind in KINDS if kind not in HALF]
# Their float16 on a CPU gives zeros.
ONLY_BF16 = ("rt_detr", "rt_detr_v2", "d_fine", "deimv2")


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        *((kind, torch.bfloat16) for kind in REST),
        *((kind, torch.float16) for kind in REST if kind not in ONLY_BF16),
    ],
)
def test_a_detector_in_a_lower_precision_finds_alike(written: Write, kind: str, dtype: torch.dtype) -> None:
    role, model_type = role_of(str(written(kind)))
    found = []
    for one in (torch.float32, dtype):
        finder = _finder(str(written(kind)), role, model_type, device=torch.device("cpu"), dtype=one)
        found.append(finder.find(finder.encode(NOISE), TEXTS[:1])[0] if kind in BY_PHRASE else finder.find(NOISE))
    exact, lower = found
    assert len(exact) and len(lower) and lower.scores.dtype == np.float32 and np.isfinite(lower.boxes).all()
    assert lower.scores[0] == pytest.approx(exact.scores[0], abs=0.1)


@pytest.mark.parametrize(("kind", "encoder"), ENCODERS.items())
def test_an_image_is_encoded_once_for_its_phrases(written: Write, kind: str, encoder: str) -> None:
    predictor = _open(written, kind)
    calls = []
    hook = _model(predictor._network).get_submodule(encoder).register_forward_hook(lambda *_: calls.append(1))
    predictor.predict(NOISE, [f"the cup {number}" for number in range(5)])
    hook.remove()
    assert len(calls) == 1


@pytest.mark.parametrize("kind", ["grounding-dino", "mm-grounding-dino", "omdet-turbo"])
def test_a_detector_that_mixes_answers_as_if_it_were_run_whole(
    written: Write, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    finder = _network(written, kind)._finder
    encoded = finder.encode(NOISE)
    first, again = finder.find(encoded, TEXTS), finder.find(encoded, TEXTS)
    assert encoded.seen is not None and "forward" not in vars(finder._model.get_submodule(ENCODERS[kind]))
    monkeypatch.setattr(finder, "_text_free", None)
    whole = finder.find(finder.encode(NOISE), TEXTS)
    for one, same, other in zip(first, again, whole, strict=True):
        assert len(one) and np.allclose(one.scores, other.scores, atol=1e-5)
        assert np.allclose(one.boxes, other.boxes, atol=1e-3) and np.array_equal(one.scores, same.scores)


def test_a_segmenter_encodes_an_image_once_for_all_boxes(written: Write) -> None:
    predictor = _open(written, "owlvit", no_target_threshold=0)
    segmenter = predictor._network._masks._model  # type: ignore[attr-defined]
    calls = []
    segmenter.vision_encoder.register_forward_hook(lambda *_: calls.append(1))
    predictor.predict(NOISE, TEXTS)
    predictor.predict_texts("another dog")
    assert len(calls) == 1


@pytest.mark.parametrize("kind", ["detr", "mask2former"])
def test_a_detector_answers_with_the_category_of_the_head_noun(written: Write, kind: str) -> None:
    predictor = _open(written, kind, no_target_threshold=0)
    predictor.set_image(NOISE)
    names = predictor._encoded.instances.names
    for text, category in (("the guy with a cup", "person"), ("the plane", "airplane"), ("a puppy on the left", "dog")):
        [candidates] = predictor._network.find(predictor._encoded, [text])
        assert [score > 0 for score in candidates.scores] == [name == category for name in names]
    [nothing] = predictor.predict_texts("the thing")
    assert not nothing.matched and not nothing.mask.any()


def test_a_detector_detects_by_category(written: Write) -> None:
    predictor = _open(written, "rf_detr_seg")
    predictor.set_image(NOISE)
    found = predictor.detect(["person", "dog"], min_score=0.0)
    names = predictor._encoded.instances.names
    assert [one.name for one in found] == [name for name in names if name in ("person", "dog")]
    assert predictor.detect(["aeroplane"], min_score=0.0) == predictor.detect(["airplane"], min_score=0.0)
    with pytest.raises(UsageError, match="did you mean 'person'"):
        predictor.detect(["persons"])
    prompted = _open(written, "clipseg")
    prompted.set_image(NOISE)
    with pytest.raises(UsageError, match=r"phrases only; categories are detected by mini"):
        prompted.detect(["dog"])


def test_sam_3_answers_with_all_instances_or_the_surest_alone(written: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    every = _open(written, "sam3", no_target_threshold=0)
    monkeypatch.setattr(every, "min_score", 0.0)
    surest = _open(written, "sam3", no_target_threshold=0, surest=True)
    [all_of_them], [one] = every.predict(NOISE, "the red cup"), surest.predict(NOISE, "the red cup")
    [candidates] = every._network.find(every._network.encode(NOISE), ["the red cup"])
    drawn = candidates.draw(range(len(candidates.scores)))
    assert np.allclose(all_of_them.probability, drawn.max(0), atol=1e-5)
    assert np.allclose(one.probability, drawn[candidates.scores.argmax()], atol=1e-5)
    assert all_of_them.mask.sum() > one.mask.sum()
    # An instance scores its own times the probability that there is any.
    assert candidates.presence is not None and candidates.scores.max() <= candidates.presence
    none = _open(written, "sam3", no_target_threshold=0.99)
    [absent] = none.predict(NOISE, "the red cup")
    assert not absent.matched and not absent.mask.any() and absent.score == pytest.approx(one.score)


@pytest.mark.parametrize("kind", [*PROMPTED, *BY_PHRASE, "grounding-dino"])
def test_a_long_phrase_is_cut_and_told(written: Write, kind: str) -> None:
    predictor = _open(written, kind, no_target_threshold=0)
    assert predictor.warnings("the red cup") == []
    long = "the red cup on the left " * 40
    assert "cut" in predictor.warnings(long)[0]
    [answer] = predictor.predict(NOISE, long)
    assert answer.probability.shape == (40, 60)


def test_roles_are_those_of_the_configuration(written: Write) -> None:
    roles = {kind: role_of(str(written(kind)))[0] for kind in ("clipseg", "owlv2", "detr", "eomt", "sam")}
    assert roles == {
        "clipseg": "segments",
        "owlv2": "by phrase",
        "detr": "by category",
        "eomt": "by category",
        "sam": "masks of boxes",
    }


def test_pipelines_that_make_no_sense_are_told(written: Write, tmp_path: Path) -> None:
    sam, detr = written("sam"), written("detr")
    for name, told in (
        (str(sam), "segments boxes; put a detector before it"),
        (str(detr), "finds boxes; say what segments them"),
        (f"{written('eomt')}+{sam}", "draws masks itself"),
        (f"{written('clipseg')}+{sam}", "segments by text itself"),
        (f"chooser+{sam}", "did you mean|comes last"),
        (f"{detr}+{sam}+{sam}", "has 3 parts"),
    ):
        with pytest.raises(UsageError, match=told):
            open_predictor(name, device="cpu")
    with pytest.raises(CheckpointError, match="SAM family"):
        open_predictor(f"{detr}+{written('clipseg')}", device="cpu")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    with pytest.raises(CheckpointError, match="holds a bert, which neither segments nor finds"):
        open_predictor(str(tmp_path), device="cpu")


def test_labels_are_named_as_coco_names_them(written: Write) -> None:
    assert _network(written, "detr").labels == ("person", "dog", "cup", "airplane")
    assert "airplane" not in LABELS
