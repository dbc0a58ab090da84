"""CLIPSeg, SAM 3 and Grounding DINO + SAM in the zero-shot seat, of tiny random weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_prompted import write_prompted
from helpers.tiny_sams import write_sam
from PIL import Image
from safetensors.torch import load_file, save_file

from risctl.cli.zeroshot.options import Method
from risctl.errors import CheckpointError, UsageError
from risctl.systems.global_local_clip.model import METHODS
from risctl.zeroshot.baselines import BASELINES, TextPromptedPredictor, load_baseline
from risctl.zeroshot.proposals.base import InputImage
from risctl.zeroshot.proposals.box_segmentation import load_box_segmentation

IMAGE = InputImage(pixels=np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8), name="noise.png")
TEXTS = ["the red cup", "a man", "the blue box on the left", "dog", "a red shirt on the right"]
WEIGHTS = {"clipseg": "clipseg", "sam3": "sam3", "grounded-sam": "grounding-dino"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A folder of weights for each baseline, and one of a SAM."""
    root = tmp_path_factory.mktemp("baselines")
    found = {name: str(write_prompted(root / name, kind)) for name, kind in WEIGHTS.items()}
    return found | {"sam": str(write_sam(root / "sam"))}


def _baseline(folders: dict[str, str], name: str) -> TextPromptedPredictor:
    return load_baseline(name, source=folders[name], segmenter=folders["sam"] if name == "grounded-sam" else None)


@pytest.mark.parametrize("name", WEIGHTS)
def test_an_answer_does_not_depend_on_its_company(folders: dict[str, str], name: str) -> None:
    baseline = _baseline(folders, name)
    assert len(baseline.set_image(IMAGE)) == 0
    together = baseline.predict(TEXTS)
    for text, answer in zip(TEXTS, together, strict=True):
        [alone] = baseline.predict([text])
        found = answer.prediction
        assert found.probability.shape == (40, 60)
        assert found.probability.dtype == np.float32
        assert np.array_equal(found.mask, found.probability > 0.5)
        assert 0 <= found.score <= 1
        assert np.allclose(alone.prediction.probability, found.probability, atol=1e-4)
        assert alone.prediction.score == pytest.approx(found.score, abs=1e-4)
        assert answer.chosen is None
    assert len({answer.prediction.score for answer in together}) > 1
    assert baseline.seconds["visual"] > 0


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_long_text_is_cut_and_told(folders: dict[str, str], name: str) -> None:
    baseline = _baseline(folders, name)
    baseline.set_image(IMAGE)
    long = "the red cup on the left " * 40
    assert baseline.is_truncated(long)
    assert not baseline.is_truncated("the red cup")
    assert baseline.predict([long])[0].prediction.probability.shape == (40, 60)


@torch.no_grad()
def test_sam_3_takes_the_surest_instance_as_the_library_gives_it(folders: dict[str, str]) -> None:
    from transformers import Sam3Model, Sam3Processor

    model, processor = (of.from_pretrained(folders["sam3"]) for of in (Sam3Model, Sam3Processor))
    inputs = processor(images=Image.fromarray(IMAGE.pixels), text="the red cup", return_tensors="pt")
    output = model.eval()(**{name: inputs[name] for name in ("pixel_values", "input_ids", "attention_mask")})
    [found] = processor.post_process_instance_segmentation(output, threshold=0.0, target_sizes=[(40, 60)])
    best = int(found["scores"].argmax())
    baseline = _baseline(folders, "sam3")
    baseline.set_image(IMAGE)
    [answer] = baseline.predict(["the red cup"])
    assert answer.prediction.score == pytest.approx(float(found["scores"][best]), abs=1e-5)
    assert np.array_equal(answer.prediction.mask, found["masks"][best].numpy().astype(bool))


def test_sam_3_is_read_out_of_the_videos_model(folders: dict[str, str], tmp_path: Path) -> None:
    """As published: the detector is a part of it."""
    shutil.copytree(folders["sam3"], tmp_path / "video")
    config = json.loads((tmp_path / "video" / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "video" / "config.json").write_text(json.dumps({"model_type": "sam3_video", "detector_config": config}))
    weights = tmp_path / "video" / "model.safetensors"
    state = {f"detector_model.{name}": value for name, value in load_file(weights).items()}
    save_file(state | {"tracker_model.weight": torch.zeros(1)}, weights, metadata={"format": "pt"})
    answers = []
    for folder in (folders["sam3"], str(tmp_path / "video")):
        baseline = load_baseline("sam3", source=folder)
        baseline.set_image(IMAGE)
        answers.append(baseline.predict(["the red cup"])[0].prediction.probability)
    assert np.array_equal(*answers)


@torch.no_grad()
def test_grounding_dino_takes_the_best_box_as_the_library_gives_it(folders: dict[str, str]) -> None:
    from transformers import GroundingDinoForObjectDetection, GroundingDinoProcessor

    folder = folders["grounded-sam"]
    model = GroundingDinoForObjectDetection.from_pretrained(folder).eval()
    processor = GroundingDinoProcessor.from_pretrained(folder)
    inputs = processor(images=Image.fromarray(IMAGE.pixels), text="the red cup.", return_tensors="pt")
    [found] = processor.post_process_grounded_object_detection(
        model(**inputs), inputs["input_ids"], threshold=0.0, target_sizes=[(40, 60)]
    )
    best = int(found["scores"].argmax())
    baseline = _baseline(folders, "grounded-sam")
    boxes, scores = baseline._network.boxes(IMAGE.pixels, ["The red cup"])  # type: ignore[attr-defined]
    assert scores[0] == pytest.approx(float(found["scores"][best]), abs=1e-5)
    limits = np.array([60, 40, 60, 40])
    assert np.allclose(boxes[0], found["boxes"][best].numpy().clip(0, limits), atol=1e-3)
    masks = load_box_segmentation(folders["sam"], option="--sam")(IMAGE.pixels, boxes)
    baseline.set_image(IMAGE)
    [answer] = baseline.predict(["The red cup"])
    assert np.allclose(answer.prediction.probability, masks[0], atol=1e-4)


@pytest.mark.parametrize("kind", ["sam", "sam2", "sam_hq", "edgetam"])
@torch.no_grad()
def test_masks_of_boxes_are_the_models(tmp_path: Path, kind: str) -> None:
    from helpers.tiny_sams import tiny_sam

    model, processor = tiny_sam(kind, gain=1e5)
    source = load_box_segmentation(str(write_sam(tmp_path, kind, gain=1e5)), option="--sam")
    boxes = np.array([[5.0, 4.0, 30.0, 20.0], [20.0, 10.0, 58.0, 39.0]])
    found = source(IMAGE.pixels, boxes)
    assert found.shape == (2, 40, 60)
    assert not np.array_equal(found[0], found[1])
    inputs = processor(images=Image.fromarray(IMAGE.pixels), input_boxes=[[boxes[1].tolist()]], return_tensors="pt")
    output = model(pixel_values=inputs["pixel_values"], input_boxes=inputs["input_boxes"], multimask_output=False)
    sizes = [inputs["original_sizes"].tolist()]
    if "reshaped_input_sizes" in inputs:
        sizes.append(inputs["reshaped_input_sizes"].tolist())
        masks = processor.image_processor.post_process_masks(output.pred_masks, sizes[0], sizes[1])
    else:
        masks = processor.image_processor.post_process_masks(output.pred_masks, sizes[0])
    assert np.array_equal(found[1] > 0.5, masks[0][0, 0].numpy())
    assert source(IMAGE.pixels, np.zeros((0, 4))).shape == (0, 40, 60)


def test_mistakes_are_told(folders: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="grounded-sam"):
        load_baseline("grounded-san", source=None)
    with pytest.raises(UsageError, match="leave it out for sam3"):
        load_baseline("sam3", source=folders["sam3"], segmenter=folders["sam"])
    for name in BASELINES:
        other = folders["sam3" if name != "sam3" else "clipseg"]
        with pytest.raises(CheckpointError, match="expected a "):
            load_baseline(name, source=other)
    with pytest.raises(CheckpointError, match="SAM family"):
        load_baseline("grounded-sam", source=folders["grounded-sam"], segmenter=folders["sam3"])
    baseline = _baseline(folders, "clipseg")
    with pytest.raises(UsageError, match="no image"):
        baseline.predict(["a cup"])


def test_the_command_line_names_every_method() -> None:
    assert {one.value for one in Method} == {*METHODS, *BASELINES}
    assert {one.value for one in Method if one.is_text_prompted} == set(BASELINES)
