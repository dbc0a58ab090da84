"""Any model finds the phrases in the first frame, and a tracker carries their masks on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from risctl.errors import UsageError
from risctl.models.tracked_video import TrackedVideoPredictor
from risctl.models.tracking import TrackedFrame
from risctl.results import FramePredictions, Prediction
from risctl.vision.video_frames import Video

SIZE = (40, 70)


def _mask() -> np.ndarray:
    mask = np.zeros(SIZE, dtype=bool)
    mask[10:30, 20:50] = True
    return mask


class _Finds:
    """Finds "box" where it is, "little" too unsurely, "void" with an empty mask; keeps how often it was asked."""

    threshold, no_target_threshold, path = 0.4, 0.5, "finds"

    def __init__(self) -> None:
        self.images: list[np.ndarray] = []
        self.asked: list[str] = []

    def set_image(self, image: np.ndarray) -> None:
        self.images.append(image)

    def reset_image(self) -> None:
        pass

    def iter_predictions(self, texts: Sequence[str]) -> Iterator[Prediction]:
        for text in texts:
            self.asked.append(text)
            yield Prediction(
                text=text,
                probability=_mask() * np.float32(0.9 if text in ("box", "crate") else 0),
                threshold=0.4,
                score=0.2 if text == "little" else 0.8,
                box=None,
                matched=text != "little",
            )

    def warnings(self, text: str) -> list[str]:
        return []

    def describe(self) -> str:
        return "finds"


class _Moves:
    """Moves each mask one pixel to the right a frame; the second object is hidden in the third frame."""

    name = "moves"

    def __init__(self) -> None:
        self.started = 0

    def start(self, pixels: np.ndarray, masks: Sequence[np.ndarray]) -> _Moves:
        self.started += 1
        self._masks, self._frame = list(masks), 0
        return self

    def follow(self, pixels: np.ndarray) -> TrackedFrame:
        self._frame += 1
        self._masks = [np.roll(mask, 1, axis=1) for mask in self._masks]
        scores = [0.3 if self._frame == 2 and number == 1 else 0.9 for number in range(len(self._masks))]
        return TrackedFrame(
            probabilities=np.stack(self._masks).astype(np.float32), scores=np.array(scores, dtype=np.float32)
        )


def _folder(path: Path, count: int) -> Path:
    path.mkdir()
    for number in range(count):
        Image.new("RGB", SIZE[::-1], (60 * number, 0, 0)).save(path / f"{number:03d}.png")
    return path


def _tracked(path: Path, texts: Sequence[str], **options: Any) -> tuple[list[FramePredictions], _Finds, _Moves]:
    finds, moves = _Finds(), _Moves()
    predictor = TrackedVideoPredictor(finds, moves, **options)  # type: ignore[arg-type]
    return list(predictor.predict(Video.open(path), texts)), finds, moves


def test_objects_are_found_once_and_carried_on(tmp_path: Path) -> None:
    absent: list[str] = []
    texts = ["little", "box", "crate", "box"]
    video, finds, moves = _tracked(_folder(tmp_path / "v", 4), texts, on_no_match=lambda one: absent.append(one.text))
    assert [one.frame.index for one in video] == [0, 1, 2, 3]
    assert len(finds.images) == 1 and finds.asked == ["little", "box", "crate"] and moves.started == 1
    for number, frame in enumerate(video):
        assert [one.text for one in frame.predictions] == texts
        little, box, crate, again = frame.predictions
        assert not little.matched and not little.mask.any()
        assert box is again and box.matched and np.array_equal(box.mask, np.roll(_mask(), number, axis=1))
        # What does not show has no mask, and comes back.
        assert crate.matched == (number != 2) == bool(crate.mask.any())
        assert box.box == (20 + number, 10, 30, 20) or number == 0
    assert absent == ["little"]


def test_nothing_in_the_first_frame_is_nothing_in_the_video(tmp_path: Path) -> None:
    absent: list[str] = []
    path = _folder(tmp_path / "v", 3)
    video, _, moves = _tracked(path, ["void", "little"], on_no_match=lambda one: absent.append(one.text))
    assert absent == ["void", "little"] and moves.started == 0
    assert len(video) == 3 and not any(one.mask.any() for frame in video for one in frame.predictions)
    assert not any(one.matched for frame in video[1:] for one in frame.predictions)


def test_a_video_of_one_frame(tmp_path: Path) -> None:
    [only], _, _ = _tracked(_folder(tmp_path / "v", 1), ["box"])
    assert np.array_equal(only.predictions[0].mask, _mask())


def test_wrong_arguments_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least one phrase"):
        _tracked(_folder(tmp_path / "v", 1), [])
    with pytest.raises(UsageError, match="threshold"):
        _tracked(tmp_path / "v", ["box"], threshold=1.0)
