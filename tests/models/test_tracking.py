"""Masks of a first frame, carried through a video by the trackers of transformers."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.tiny_sams import write_sam
from helpers.tiny_trackers import TRACKERS, write_box_segmenter, write_tracker
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn import functional

from risctl.errors import CheckpointError, UsageError
from risctl.models.tracking import MaskTracker, _at_input, open_tracker
from risctl.vision import rle
from risctl.zeroshot.proposals.box_segmentation import load_box_segmentation

CPU = torch.device("cpu")
SIZE = (40, 70)
BOX = (slice(10, 30), slice(20, 50))
Write = Callable[[str], Path]


def _mask() -> np.ndarray:
    mask = np.zeros(SIZE, dtype=bool)
    mask[BOX] = True
    return mask


def _frames(count: int) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 255, (*SIZE, 3), dtype=np.uint8) for _ in range(count)]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Write:
    """Writes each tiny tracker once."""
    root = tmp_path_factory.mktemp("trackers")

    def write(kind: str) -> Path:
        folder = root / kind
        return folder if folder.exists() else write_tracker(folder, kind)

    return write


@pytest.fixture(scope="module")
def opened(written: Write) -> Callable[[str], MaskTracker]:
    trackers: dict[str, MaskTracker] = {}

    def get(kind: str) -> MaskTracker:
        if kind not in trackers:
            trackers[kind] = open_tracker(str(written(kind)), device=CPU)
        return trackers[kind]

    return get


@torch.no_grad()
def _by_the_library(tracker: MaskTracker, frames: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> np.ndarray:
    """Return the probabilities (T, N, H, W) of a session that keeps everything."""
    model, processor = tracker._model, tracker._processor
    session = tracker._session(dtype=torch.float32)
    side = model.image_size
    found = []
    for number, pixels in enumerate(frames):
        if number == 0:
            for index, mask in enumerate(masks):
                given = torch.from_numpy(mask)[None, None].float()
                resized = functional.interpolate(given, size=(side, side), mode="bilinear", antialias=True)
                session.add_mask_inputs(session.obj_id_to_idx(index), 0, (resized >= 0.5).float())
            session.obj_with_new_inputs = list(range(len(masks)))
        values = processor(Image.fromarray(pixels), return_tensors="pt")["pixel_values"]
        output = model(inference_session=session, frame=values)
        found.append(functional.interpolate(output.pred_masks, size=SIZE, mode="bilinear").sigmoid()[:, 0].numpy())
    return np.stack(found[1:])


@pytest.mark.parametrize("kind", TRACKERS)
def test_masks_are_those_of_a_session_that_forgets_nothing(opened: Callable[[str], MaskTracker], kind: str) -> None:
    tracker, frames, masks = opened(kind), _frames(9), [_mask(), ~_mask()]
    track = tracker.start(frames[0], masks)
    found, kept = [], []
    for pixels in frames[1:]:
        found.append(track.follow(pixels))
        kept.append(track.kept)
    expected = _by_the_library(tracker, frames, masks)
    assert np.ptp(expected[:, 0].mean(0)) > 1e-3 and np.ptp(expected[:, 0].mean((1, 2))) > 0
    # To the last bit: a memory that were missing changes little in a network with random weights.
    assert np.array_equal(np.stack([one.probabilities for one in found]), expected)
    assert all(one.probabilities.shape == (2, *SIZE) and one.scores.shape == (2,) for one in found)
    # The bank is full after as many frames as are read back, and grows no further.
    assert kept[3:] == [kept[3]] * len(kept[3:]) and not track._session.processed_frames


@pytest.mark.parametrize("kind", TRACKERS)
def test_a_tracker_in_a_lower_precision_tracks_alike(
    written: Write, opened: Callable[[str], MaskTracker], kind: str
) -> None:
    lower = open_tracker(str(written(kind)), device=CPU, precision="bf16")
    frames = _frames(3)
    exact, other = (one.start(frames[0], [_mask()]) for one in (opened(kind), lower))
    for pixels in frames[1:]:
        one, two = exact.follow(pixels), other.follow(pixels)
        assert two.probabilities.dtype == np.float32 and np.isfinite(two.probabilities).all()
        assert np.abs(one.scores - two.scores).max() < 0.1


@pytest.mark.parametrize("size", [(40, 70), (70, 40)])
def test_a_mask_in_the_networks_square_is_one_of_the_whole_frame(
    opened: Callable[[str], MaskTracker], size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = opened("sam2_video")
    where = (slice(10, 30), slice(8, 32))
    mask = np.zeros(size, dtype=bool)
    mask[where] = True
    given = _at_input(mask, side=64)[0, 0] > 0
    back = functional.interpolate(given[None, None].float(), size=size, mode="area")[0, 0] > 0.5
    assert np.abs(back.numpy().astype(int) - mask).mean() < 0.05
    decode = tracker._model._single_frame_forward

    def placed(*args: Any, **inputs: Any) -> Any:
        output = decode(*args, **inputs)
        output.pred_masks = functional.interpolate(20 * given[None, None].float() - 10, size=(16, 16), mode="area")
        output.object_score_logits = torch.full_like(output.object_score_logits, 5.0)
        return output

    monkeypatch.setattr(tracker._model, "_single_frame_forward", placed)
    pixels = np.zeros((*size, 3), dtype=np.uint8)
    found = tracker.start(pixels, [mask]).follow(pixels)
    assert found.probabilities.shape == (1, *size) and found.scores[0] > 0.9
    # A pixel of the network's mask is up to five of the frame.
    x, y, width, height = rle.box(rle.encode(found.probabilities[0] > 0.5)) or (0, 0, 0, 0)
    assert np.abs(np.array([x, y, width, height]) - [8, 10, 24, 20]).max() <= 5


def test_a_few_pixels_of_a_large_frame_stay() -> None:
    mask = np.zeros((900, 1600), dtype=bool)
    mask[400, 800:803] = True
    values = _at_input(mask, side=64)
    assert values.shape == (1, 1, 64, 64) and 0 < values.sum() <= 9
    assert _at_input(np.ones((9, 5), dtype=bool), side=8).all()


def test_what_is_no_tracker_is_told(tmp_path: Path, written: Write) -> None:
    with pytest.raises(CheckpointError, match="holds a sam, which carries no masks through a video; expected a sam2"):
        open_tracker(str(write_sam(tmp_path / "sam")), device=CPU)
    for name in ("mini", "no/such/folder", f"{written('sam2_video')}+sam"):
        with pytest.raises(UsageError, match="expected one tracker for --tracker"):
            open_tracker(name, device=CPU)
    with pytest.raises(UsageError, match="did you mean 'sam2'"):
        open_tracker("sam22", device=CPU)


@pytest.mark.parametrize("kind", ["sam2_video", "edgetam_video", "sam3_tracker", "sam3_video"])
def test_weights_of_videos_and_sam_3s_tracker_segment_boxes_of_images(
    written: Write, tmp_path: Path, kind: str
) -> None:
    folder = write_box_segmenter(tmp_path / kind) if kind == "sam3_tracker" else written(kind)
    segmenter = load_box_segmentation(str(folder), option="--model")
    boxes = np.array([[5, 5, 30, 30], [10, 10, 60, 35]], dtype=np.float32)
    [pixels] = _frames(1)
    encoded = segmenter.encode(pixels)
    masks = segmenter.masks(encoded, boxes)
    assert segmenter.name.startswith(kind) and masks.shape == (2, *SIZE) and np.isfinite(masks).all()
    assert np.allclose(segmenter.masks(encoded, boxes[1:])[0], masks[1], atol=1e-5)


def test_sam_3_segments_boxes_whether_published_or_saved_by_the_library(written: Write, tmp_path: Path) -> None:
    saved = written("sam3_video")
    published = tmp_path / "published"
    shutil.copytree(saved, published)
    tensors = load_file(saved / "model.safetensors")
    assert any(name.startswith("tracker_model.tracker_model.") for name in tensors)
    named = {name.replace("tracker_model.tracker_model.", "tracker_model."): one for name, one in tensors.items()}
    save_file(named, published / "model.safetensors", metadata={"format": "pt"})
    boxes = np.array([[5, 5, 30, 30]], dtype=np.float32)
    [pixels] = _frames(1)
    found = []
    for folder in (saved, published):
        segmenter = load_box_segmentation(str(folder), option="--model")
        weights = segmenter._model.state_dict()
        assert torch.equal(weights["mask_decoder.conv_s0.weight"], named["tracker_model.mask_decoder.conv_s0.weight"])
        neck = next(name for name in weights if name.startswith("vision_encoder.neck."))
        assert torch.equal(weights[neck], named[neck.replace("vision_encoder.neck.", "tracker_neck.")])
        found.append(segmenter(pixels, boxes))
    assert np.array_equal(*found)
