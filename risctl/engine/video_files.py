"""Predictions of a video as files: a mask PNG a frame, an overlay video, and the masks as RLE in one JSON file."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from PIL import Image

from risctl.data.atomic import replacing
from risctl.engine.prediction_files import slug
from risctl.engine.video_predictor import FrameAnswers
from risctl.vision import rle
from risctl.vision.video_frames import Video, VideoWriter
from risctl.viz.overlays import overlay


class VideoPredictions:
    """Files of one video and its texts, written as the frames come; a context manager.

    For each text `VIDEO.TEXT/FRAME.png` (8 bits, 0 and 255), `VIDEO.TEXT.overlay.mp4`, and `VIDEO.TEXT.json` (video,
    text, rate, threshold, model, complete; of each frame its name, score, box and COCO RLE). Leaving early, by an
    error or Ctrl-C, keeps what was finished: the overlay ends there, and the JSON says `"complete": false`.
    """

    def __init__(self, folder: Path, video: Video, *, texts: list[str], model: str, threshold: float) -> None:
        self.folder, self.video, self.texts = folder, video, texts
        self.model, self.threshold = model, threshold
        self.frames = 0
        self._stack = contextlib.ExitStack()
        self._parts: list[tuple[Path, VideoWriter, TextIO]] = []
        self._complete = False

    def __enter__(self) -> VideoPredictions:
        with contextlib.ExitStack() as stack:
            for text in self.texts:
                base = self.base(text)
                masks = self.folder / base
                masks.mkdir(parents=True, exist_ok=True)
                film = stack.enter_context(replacing(self.folder / f"{base}.overlay.mp4"))
                listed = stack.enter_context(replacing(self.folder / f"{base}.json"))
                writer = stack.enter_context(VideoWriter(film, rate=self.video.rate))
                table = stack.enter_context(listed.open("w", encoding="utf-8"))
                table.write(self._head(text))
                self._parts.append((masks, writer, table))
            # Runs before the files above are closed and renamed.
            stack.callback(self._end)
            self._stack = stack.pop_all()
        return self

    def base(self, text: str) -> str:
        """Return what the files of a text are named after."""
        return f"{self.video.path.stem}.{slug(text)}"

    def add(self, answers: FrameAnswers) -> None:
        """Write a frame's answers."""
        for (masks, writer, table), prediction in zip(self._parts, answers.predictions, strict=True):
            mask = prediction.mask
            with replacing(masks / f"{answers.frame.name}.png") as beside:
                Image.fromarray(mask.astype(np.uint8) * 255).save(beside, "PNG")
            writer.add(overlay(answers.frame.pixels, [mask], [prediction.text]))
            record = {
                "frame": answers.frame.name,
                "score": round(float(prediction.score), 6),
                "box": None if prediction.box is None else list(prediction.box),
                "segmentation": rle.encode(mask),
            }
            table.write(f"{',' if self.frames else ''}\n{json.dumps(record, allow_nan=False)}")
        self.frames += 1

    def done(self) -> None:
        """Say that every frame was added."""
        self._complete = True

    def records(self) -> list[dict[str, Any]]:
        """Return, for each text, what was written where."""
        return [
            {
                "video": str(self.video.path),
                "text": text,
                "frames": self.frames,
                "complete": self._complete,
                "masks": str(self.folder / self.base(text)),
                "overlay": str(self.folder / f"{self.base(text)}.overlay.mp4"),
                "rle": str(self.folder / f"{self.base(text)}.json"),
            }
            for text in self.texts
        ]

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        # Whatever ended the work, the files are finished and stay: an error would have them removed.
        self._stack.close()

    def _head(self, text: str) -> str:
        head = {
            "video": str(self.video.path),
            "text": text,
            "rate": self.video.rate,
            "threshold": self.threshold,
            "model": self.model,
        }
        return json.dumps(head, ensure_ascii=False, allow_nan=False)[:-1] + ', "frames": ['

    def _end(self) -> None:
        for _, _, table in self._parts:
            table.write(f'\n], "complete": {"true" if self._complete else "false"}}}\n')
