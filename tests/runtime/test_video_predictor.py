"""Videos with exported graphs: the answers of torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.small_models import REFERFORMER, recipe_of
from PIL import Image

from risctl.checkpoints.checkpoint import save_checkpoint
from risctl.checkpoints.loaded_model import LoadedModel
from risctl.errors import CheckpointError, UsageError
from risctl.export.export import export_model
from risctl.inference.predictor import Predictor
from risctl.inference.video_predictor import VideoPredictor
from risctl.language.vocabulary import Vocabulary
from risctl.runtime.clip_predictor import ClipPredictor, open_exported
from risctl.runtime.manifest import MANIFEST, VOCABULARY
from risctl.runtime.predictor import OnnxPredictor
from risctl.runtime.video_predictor import OnnxVideoPredictor
from risctl.systems.referformer.export import FEATURES
from risctl.systems.referformer.model import ReferFormer
from risctl.systems.registry import build_system

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from helpers.exported_folder import write_exported

WORDS = ["the", "red", "cup", "left"]
PHRASES = ["the red cup", "cup on the left"]


class TorchGraphs(ClipPredictor):
    """Predicts with the system's halves in torch in the place of graphs."""

    def __init__(self, folder: Path, system: ReferFormer) -> None:
        super().__init__(folder)
        self.halves = system.clip_graphs()

    def _run(self, name: str, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        given = {key: torch.from_numpy(value) for key, value in feed.items()}
        with torch.no_grad():
            if name == "encode":
                found = self.halves.encode(given["frames"], given["padding"])
            else:
                features = [given[key] for key in FEATURES]
                found = self.halves.answer(features, given["padding"], given["words"], given["word_mask"])
        return [one.numpy() for one in found]


def system_of(**changes: Any) -> ReferFormer:
    torch.manual_seed(0)
    recipe = recipe_of(REFERFORMER | {"short_side": 48, "max_words": 8} | changes)
    system = build_system(recipe.model, vocabulary=Vocabulary(WORDS))
    assert isinstance(system, ReferFormer)
    with torch.no_grad():
        for parameter in system.parameters():
            if parameter.ndim > 1 and not parameter.any():
                parameter.normal_(std=0.05)
    return system.eval()


def described(folder: Path, system: ReferFormer, **clip: Any) -> Path:
    """Write a folder whose description is that of `system`; its graphs are others."""
    preprocess, graphs = system.preprocess, system.clip_graphs()
    names = [{"name": name} for name in FEATURES]
    numbers = {name: getattr(preprocess, name) for name in ("short", "longest", "multiple", "nearest")}
    write_exported(
        folder,
        image={"kind": "ShortSidePreprocess", **numbers},
        text={"kind": "vocabulary", "vocabulary": "Vocabulary", "max_words": 8, "lowercase": True},
        clip={"most_frames": graphs.most_frames, "frames_apart": graphs.frames_apart} | clip,
        output={"threshold": 0.5, "no_target_threshold": 0.0},
        graphs={
            "encode": {"file": "encode.onnx", "inputs": [{"name": "frames"}, {"name": "padding"}], "outputs": names},
            "answer": {
                "file": "answer.onnx",
                "inputs": [*names, {"name": "padding"}, {"name": "words"}, {"name": "word_mask"}],
                "outputs": [{"name": "logits"}, {"name": "scores"}, {"name": "boxes"}],
            },
        },
    )
    words = json.dumps(["<pad>", "<unk>", *WORDS])
    (folder / VOCABULARY).write_text(words)
    header = json.loads((folder / MANIFEST).read_text())
    header["sha256"][VOCABULARY] = hashlib.sha256(words.encode()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(header))
    return folder


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("film")
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 256, (60, 90, 3), dtype=np.uint8)
        pixels[20:40, 10 + 5 * number : 30 + 5 * number] = (220, 30, 30)
        Image.fromarray(pixels).save(folder / f"{number:03d}.png")
    return folder


def masks(answers: Iterator[Any]) -> np.ndarray:
    """Return the probabilities, (frames, phrases, H, W)."""
    return np.stack([np.stack([one.probability for one in frame.predictions]) for frame in answers])


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({}, {"clip_length": 3}),
        ({}, {"clip_length": 3, "overlap": 1, "query": "video"}),
        ({"input_multiple": 32, "mask_resize": "nearest"}, {"clip_length": 8}),
        ({"centre_only": True}, {"clip_length": 2}),
    ],
)
def test_a_video_is_answered_as_in_torch(
    tmp_path: Path, film: Path, changes: dict[str, Any], options: dict[str, Any]
) -> None:
    system = system_of(**changes)
    expected = list(VideoPredictor(system, **options).predict(film, PHRASES))
    predictor = TorchGraphs(described(tmp_path / "model", system), system)
    found = list(OnnxVideoPredictor(predictor, **options).predict(film, PHRASES))
    assert len(found) == 5 and [one.frame.name for one in found] == [one.frame.name for one in expected]
    assert np.allclose(masks(iter(found)), masks(iter(expected)), atol=1e-5)
    for ours, theirs in zip(found, expected, strict=True):
        for one, other in zip(ours.predictions, theirs.predictions, strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-5) and one.text == other.text


def test_an_image_is_a_clip_of_one_frame(tmp_path: Path, film: Path) -> None:
    system = system_of()
    recipe = recipe_of(REFERFORMER | {"max_words": 8})
    checkpoint = tmp_path / "model.safetensors"
    save_checkpoint(checkpoint, system=system, recipe=recipe, vocabulary=Vocabulary(WORDS))
    image = next(film.glob("*.png"))
    expected = Predictor.load(checkpoint, device="cpu").predict(image, PHRASES)
    found = TorchGraphs(described(tmp_path / "model", system), system).predict(image, PHRASES)
    for one, other in zip(found, expected, strict=True):
        assert np.allclose(one.probability, other.probability, atol=1e-5)
        assert one.predicted_box == pytest.approx(other.predicted_box, abs=1e-3)
        assert one.score == pytest.approx(other.score, abs=1e-5)


def test_a_model_of_images_sees_each_frame_alone(tmp_path: Path, film: Path) -> None:
    predictor = open_exported(write_exported(tmp_path / "bright"))
    found = list(OnnxVideoPredictor(predictor).predict(film, "the bright part"))
    [alone] = predictor.predict(film / "003.png", "the bright part")
    assert len(found) == 5 and np.array_equal(found[3].predictions[0].mask, alone.mask)
    with pytest.raises(UsageError, match="--query video"):
        OnnxVideoPredictor(predictor, query="video")


def test_what_does_not_go_together_is_refused(tmp_path: Path) -> None:
    system = system_of()
    folder = described(tmp_path / "model", system, most_frames=4)
    opened = open_exported(folder)
    assert isinstance(opened, ClipPredictor) and opened.takes_clips
    with pytest.raises(UsageError, match="--clip-len 4"):
        OnnxVideoPredictor(opened, clip_length=5)
    with pytest.raises(UsageError, match="overlap from 0 to 2"):
        OnnxVideoPredictor(opened, clip_length=3, overlap=3)
    with pytest.raises(UsageError, match="a model of videos"):
        OnnxPredictor(folder)
    with pytest.raises(UsageError, match="a model of images"):
        ClipPredictor(write_exported(tmp_path / "bright"))
    with pytest.raises(CheckpointError, match="how many frames"):
        OnnxVideoPredictor(open_exported(described(tmp_path / "damaged", system, most_frames="4")))


def test_clips_are_written_as_onnx_in_floats(tmp_path: Path) -> None:
    recipe = recipe_of(REFERFORMER)
    loaded = LoadedModel(
        system=system_of(), recipe=recipe, vocabulary=Vocabulary(WORDS), header={}, path=tmp_path / "x"
    )
    with pytest.raises(UsageError, match="as ONNX alone"):
        export_model(loaded, tmp_path, format_name="pt2")
    with pytest.raises(UsageError, match="48 pixels on the short side"):
        export_model(loaded, tmp_path)


@pytest.mark.slow
def test_exported_graphs_give_the_masks_of_torch(tmp_path: Path, film: Path) -> None:
    pytest.importorskip("onnxscript")
    system, vocabulary = system_of(short_side=72), Vocabulary(WORDS)
    out = tmp_path / "model.onnx"
    out.mkdir()
    recipe = recipe_of(REFERFORMER | {"short_side": 72, "max_words": 8})
    header = export_model(
        LoadedModel(system=system, recipe=recipe, vocabulary=vocabulary, header={}, path=tmp_path / "x"), out
    )
    assert header["max_error"] < 1e-2 and [one["images"] for one in header["checked"]] == [1, 3, 2]
    expected = masks(VideoPredictor(system, clip_length=3).predict(film, PHRASES))
    found = masks(OnnxVideoPredictor(open_exported(out, threads=1), clip_length=3).predict(film, PHRASES))
    assert np.allclose(found, expected, atol=1e-4)
    assert ((found > 0.5) == (expected > 0.5)).mean() > 0.9999
