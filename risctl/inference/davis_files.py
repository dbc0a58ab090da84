"""Writes the predictions of a video as DAVIS has them: one palette PNG a frame, an index a phrase."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from risctl.data.formats.annotated import PHRASES, AnnotatedImage, AnnotatedMask
from risctl.data.formats.davis import ANNOTATIONS, write_indices
from risctl.interrupts import Interrupts
from risctl.output_files import OutputFiles, safe_stem
from risctl.results import FramePredictions
from risctl.vision.video_frames import Video


class DavisPredictions:
    """Files of one video, written as the frames come; a context manager.

    `davis/Annotations/VIDEO/FRAME.png`, and `davis/phrases.jsonl` at the end.

    A row of `phrases.jsonl` is of one frame and phrase. Its index is that of the mask in the frame's file, 0 where
    nothing was found, and it has the whole mask as `segmentation` where another one lies above.
    """

    def __init__(self, folder: Path, video: Video, *, texts: list[str], outputs: OutputFiles) -> None:
        """Names what will be written. Raises `UsageError` if `folder/davis` holds something that must stay."""
        self.folder, self.video, self.texts = folder / "davis", video, texts
        self.frames = 0
        self._outputs = outputs
        self._complete = False
        self._name = safe_stem(video.name)
        self._rows: list[dict[str, Any]] = []
        outputs.check_folder(self.folder)

    def add(self, answers: FramePredictions) -> None:
        """Writes a frame's answers; Ctrl-C waits until they are written."""
        interrupts = Interrupts()
        with interrupts:
            self._write(answers)
        interrupts.raise_if_requested()

    def _write(self, answers: FramePredictions) -> None:
        height, width = answers.frame.pixels.shape[:2]
        masks = tuple(
            AnnotatedMask(mask=one.rle(), phrases=(one.text,), score=round(float(one.score), 6))
            for one in answers.predictions
        )
        frame = AnnotatedImage(
            image_id=answers.frame.index,
            file_name=f"{self._name}/{answers.frame.name}.png",
            height=height,
            width=width,
            masks=masks,
        )
        self._rows += write_indices(frame, self.folder, self._outputs)[1]
        self.frames += 1

    def done(self) -> None:
        """Says that every frame was added."""
        self._complete = True

    def __enter__(self) -> DavisPredictions:
        return self

    def __exit__(self, *exception: object) -> None:
        # Whatever ended the work, the finished frames stay, and so do their phrases.
        if self.frames:
            self._outputs.write_json_lines(self.folder / PHRASES, self._rows)

    def records(self) -> list[dict[str, Any]]:
        """Returns, for each text, what was written where."""
        return [
            {
                "video": os.fsencode(self.video.path).decode("utf-8", errors="replace"),
                "text": text,
                "frames": self.frames,
                "complete": self._complete,
                "davis": str(self.folder / ANNOTATIONS / self._name),
            }
            for text in self.texts
        ]
