"""SAM, SAM 2, SAM-HQ and EdgeTAM as proposal sources, of a few thousand random weights each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_sams import tiny_sam, write_sam
from PIL import Image

from risctl.errors import CheckpointError, MachineError
from risctl.zeroshot.proposals.base import InputImage
from risctl.zeroshot.proposals.segment_anything import DEFAULTS, SegmentAnything, load_segment_anything

IMAGE = InputImage(pixels=np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8), name="noise.png")
FAMILY = {"sam": "sam", "sam2": "sam2", "sam2_video": "sam2", "sam_hq": "sam-hq", "edgetam": "edgetam"}
ANYTHING = {"predicted_iou": -1e9, "stability": -1e9}


@pytest.mark.parametrize("kind", FAMILY)
def test_a_model_proposes_from_its_folder(tmp_path: Path, kind: str) -> None:
    folder = str(write_sam(tmp_path, kind))
    for family in ("sam", FAMILY[kind]):
        source = load_segment_anything(folder, family=family, points=2)
        assert source.name == f"{kind} {folder}"
    # Random weights are sure of nothing.
    assert len(source(IMAGE)) == 0


@pytest.mark.parametrize("kind", ["sam", "sam2", "sam_hq", "edgetam"])
@torch.no_grad()
def test_proposals_are_the_models_masks_at_the_grids_points(kind: str) -> None:
    """Against the model asked about one point through its own processor: in an image that is not square."""
    model, processor = tiny_sam(kind)
    source = SegmentAnything(model, processor.image_processor, name=kind, points=1, **ANYTHING)
    found = source(IMAGE)
    assert found.masks.dtype == bool
    assert found.masks.shape[1:] == (40, 60)
    assert len(found) == len(found.scores) > 0
    assert (np.diff(found.scores) <= 0).all()
    image = Image.fromarray(IMAGE.pixels)
    for points, same in (([[[[30, 20]]]], True), ([[[[3, 37]]]], False)):
        inputs = processor(images=image, input_points=points, return_tensors="pt")
        outputs = model(**{name: inputs[name] for name in ("pixel_values", "input_points")})
        sizes = {} if "reshaped_input_sizes" not in inputs else {"reshaped_input_sizes": inputs["reshaped_input_sizes"]}
        masks = processor.image_processor.post_process_masks(
            outputs.pred_masks, inputs["original_sizes"].tolist(), **sizes
        )
        expected = {mask.numpy().tobytes() for mask in masks[0][0]}
        assert all(mask.tobytes() in expected for mask in found.masks) == same


@pytest.mark.parametrize(("kind", "side"), [("sam", (32, 21)), ("sam2", (64, 64)), ("edgetam", (64, 64))])
def test_the_grid_covers_an_image_that_is_not_square(kind: str, side: tuple[int, int]) -> None:
    model, processor = tiny_sam(kind)
    source = SegmentAnything(model, processor.image_processor, name=kind)
    image = Image.fromarray(IMAGE.pixels)
    chunks = list(source._pipeline.preprocess(image, points_per_crop=4, points_per_batch=6))
    assert [chunk["input_points"].shape[1] for chunk in chunks] == [6, 6, 4]
    points = torch.cat([chunk["input_points"] for chunk in chunks], dim=1).reshape(16, 2)
    even = (torch.arange(4) + 0.5) / 4
    assert torch.allclose(points[:4, 0], even * side[0], atol=0.3)
    assert torch.allclose(points[::4, 1], even * side[1], atol=0.3)


def test_batches_of_points_change_nothing() -> None:
    model, processor = tiny_sam("sam2")
    every, few = (
        SegmentAnything(model, processor.image_processor, name="m", points=3, points_per_batch=size, **ANYTHING)
        for size in (64, 2)
    )
    assert np.array_equal(every(IMAGE).masks, few(IMAGE).masks)


def test_edgetam_with_timms_backbone(tmp_path: Path) -> None:
    pytest.importorskip("timm", reason="EdgeTAM's published backbone is timm's")
    backbone = {
        "model_type": "timm_wrapper", "architecture": "repvit_m1", "num_classes": 2,
        "model_args": {
            "in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3], "embed_dim": [8, 8, 8, 8],
            "depth": [1, 1, 1, 1],
        },
    }  # fmt: skip
    write_sam(tmp_path, "edgetam", backbone=backbone)
    assert load_segment_anything(str(tmp_path), family="edgetam", points=2).name.startswith("edgetam ")


def test_mistakes_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_sam(tmp_path / "sam")
    with pytest.raises(CheckpointError, match="sam2"):
        load_segment_anything(str(folder), family="sam2")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="cannot be read as a model of the SAM family"):
        load_segment_anything(str(folder))
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"lacks model\.safetensors"):
        load_segment_anything(str(folder))

    def absent(*_: object, **__: object) -> None:
        raise ImportError("\nTimmWrapperModel requires the timm library but it was not found.")

    edgetam = write_sam(tmp_path / "edgetam", "edgetam")
    monkeypatch.setattr("transformers.AutoModelForMaskGeneration.from_pretrained", absent)
    with pytest.raises(MachineError, match="requires the timm library"):
        load_segment_anything(str(edgetam))


def test_a_checkpoint_in_which_tensors_are_missing_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    write_sam(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    kept = {name: value for name, value in state.items() if "mask_decoder" not in name}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="tensors are missing, such as mask_decoder"):
        load_segment_anything(str(tmp_path))


def test_each_family_has_a_default() -> None:
    assert set(DEFAULTS) == set(FAMILY.values())
