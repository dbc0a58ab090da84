"""Writes predictions of a video as files: a mask PNG per frame, an overlay video, the masks as RLE in JSON."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import numpy as np
from PIL import Image

from risctl.interrupts import Interrupts
from risctl.output_files import OutputFiles, slug
from risctl.results import FramePredictions
from risctl.vision import rle
from risctl.vision.drawing.overlays import overlay
from risctl.vision.video_frames import Video, VideoWriter


class VideoPredictions:
    """Files of one video and its texts, written as the frames come; a context manager.

    For each text `VIDEO.TEXT/FRAME.png` (8 bits, 0 and 255), `VIDEO.TEXT.overlay.mp4`, and `VIDEO.TEXT.json` (video,
    text, rate, threshold, model, complete; of each frame its name, time in seconds or null, whether the text
    was matched, score, box and COCO RLE).
    Leaving early, by an error or Ctrl-C, keeps what was finished: the overlay ends there, and the JSON says
    `"complete": false`. If nothing was, nothing is written. What is there already is replaced only if `outputs` may
    replace it.
    """

    def __init__(
        self,
        folder: Path,
        video: Video,
        *,
        texts: list[str],
        model: str,
        threshold: float,
        labels: bool = True,
        outputs: OutputFiles | None = None,
    ) -> None:
        self.folder, self.video, self.texts = folder, video, texts
        self.model, self.threshold = model, threshold
        self.frames = 0
        self._labels = labels
        self._outputs = outputs or OutputFiles()
        self._name = _printable(video.path)
        self._bases = self.check(folder, video, texts=texts, outputs=self._outputs)
        self._written: set[str] = set()
        self._stack = contextlib.ExitStack()
        self._parts: list[tuple[Path, VideoWriter, TextIO]] = []
        self._earlier: list[list[Path]] = []
        self._complete = False

    def __enter__(self) -> VideoPredictions:
        with contextlib.ExitStack() as stack:
            for text, base in self._bases.items():
                masks = self.folder / base
                masks.mkdir(parents=True, exist_ok=True)
                earlier = _frames_of(self.folder / f"{base}.json")  # of a video that had more frames, perhaps
                self._earlier.append([masks / f"{Path(name).name}.png" for name in earlier])
                film = stack.enter_context(self._outputs.writing(self.folder / f"{base}.overlay.mp4"))
                listed = stack.enter_context(self._outputs.writing(self.folder / f"{base}.json"))
                writer = stack.enter_context(VideoWriter(film, rate=self.video.rate))
                table = stack.enter_context(listed.open("w", encoding="utf-8"))
                table.write(self._head(text))
                self._parts.append((masks, writer, table))
            # Runs before the files above are closed and renamed.
            stack.callback(self._end)
            self._stack = stack.pop_all()
        return self

    def base(self, text: str) -> str:
        """Returns what the files of a text are named after: the video and the text.

        A digest of the video's path is added where another video of that name has its predictions in the folder.
        """
        return self._bases[text]

    @staticmethod
    def check(folder: Path, video: Video, *, texts: Sequence[str], outputs: OutputFiles) -> dict[str, str]:
        """Returns what the files of each text are named after.

        Args:
            folder: The folder to write into.
            video: The video.
            texts: The expressions.
            outputs: The guard of the command's output files.

        Raises:
            UsageError: Files of the video and a text are there already and must stay.
        """
        source = _printable(video.path.resolve())
        bases = {}
        for text in texts:
            base = bases[text] = outputs.base_name(folder, video.name, slug(text), source=source, key="video")
            for ending in (".overlay.mp4", ".json"):
                outputs.check(folder / f"{base}{ending}")
            outputs.check_folder(folder / base)
        return bases

    def add(self, answers: FramePredictions) -> None:
        """Writes a frame's answers, of all texts or, if the program is killed, of some; Ctrl-C waits for the last."""
        interrupts = Interrupts()
        with interrupts:
            self._write(answers)
        interrupts.raise_if_requested()

    def _write(self, answers: FramePredictions) -> None:
        for (masks, writer, table), prediction in zip(self._parts, answers.predictions, strict=True):
            mask = prediction.mask
            with self._outputs.writing(masks / f"{answers.frame.name}.png") as beside:
                Image.fromarray(mask.astype(np.uint8) * 255).save(beside, "PNG")
            drawn = overlay(answers.frame.pixels, [mask], [prediction.text] if self._labels else None, beneath=True)
            writer.add(drawn, time=answers.frame.time)
            record = {
                "frame": answers.frame.name,
                "time": None if answers.frame.time is None else round(answers.frame.time, 6),
                "matched": prediction.matched,
                "score": round(float(prediction.score), 6),
                "box": None if prediction.box is None else list(prediction.box),
                "segmentation": rle.encode(mask),
            }
            table.write(f"{',' if self.frames else ''}\n{json.dumps(record, allow_nan=False)}")
        self.frames += 1
        self._written.add(answers.frame.name)

    def done(self) -> None:
        """Says that every frame was added."""
        self._complete = True

    def records(self) -> list[dict[str, Any]]:
        """Return, for each text, what was written where."""
        return [
            {
                "video": self._name,
                "text": text,
                "frames": self.frames,
                "complete": self._complete,
                "masks": str(self.folder / self.base(text)),
                "overlay": str(self.folder / f"{self.base(text)}.overlay.mp4"),
                "rle": str(self.folder / f"{self.base(text)}.json"),
            }
            for text in self.texts
        ]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.frames:
            # Whatever ended the work, the files are finished and stay: an error would have them removed.
            self._stack.close()
            for path in (path for paths in self._earlier for path in paths):
                if path.stem not in self._written:
                    path.unlink(missing_ok=True)
            return
        self._stack.__exit__(kind, error, trace)
        for masks, _, _ in self._parts:
            with contextlib.suppress(OSError):
                masks.rmdir()

    def _head(self, text: str) -> str:
        head = {
            "video": self._name,
            "file_name": _printable(self.video.path.resolve()),
            "text": text,
            "rate": self.video.rate,
            "threshold": self.threshold,
            "model": self.model,
        }
        return json.dumps(head, ensure_ascii=False, allow_nan=False)[:-1] + ', "frames": ['

    def _end(self) -> None:
        for _, _, table in self._parts:
            table.write(f'\n], "complete": {"true" if self._complete else "false"}}}\n')


def _printable(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", errors="replace")


def _read(file: Path) -> dict[str, Any]:
    """Returns what an earlier answer's JSON holds, nothing if it is none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _frames_of(file: Path) -> list[str]:
    frames = _read(file).get("frames", [])
    return [str(frame["frame"]) for frame in frames if isinstance(frame, dict) and "frame" in frame]
