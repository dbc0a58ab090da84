"""Videos frame by frame: any file that PyAV reads, or a folder of pictures; and writing them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from risctl.errors import DataError, MachineError
from risctl.vision.images import read_image
from risctl.vision.picture_files import find_pictures

SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".ogv"})
FOLDER_RATE = 24.0
"""Frames a second that a folder of pictures is taken to have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame. name: of its file in a folder, else its number in five digits; pixels: uint8 (H, W, 3) RGB."""

    index: int
    name: str
    pixels: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """A video to read. rate: frames a second; count: how many, where that is known before they are read."""

    path: Path
    rate: float
    count: int | None
    pictures: tuple[Path, ...] = ()

    @classmethod
    def open(cls, path: Path) -> Video:
        """Look at a video file, or a folder of pictures, which are taken by name.

        Raises `DataError` if it is none, `MachineError` if PyAV is not installed.
        """
        if path.is_dir():
            pictures = tuple(find_pictures(str(path)))
            return cls(path=path, rate=FOLDER_RATE, count=len(pictures), pictures=pictures)
        if not path.is_file():
            raise DataError(f"no video at {path}")
        with _opened(path) as container:
            stream = container.streams.video[0]
            rate = float(stream.average_rate or FOLDER_RATE)
            return cls(path=path, rate=rate, count=stream.frames or None)

    def frames(self) -> Iterator[Frame]:
        """Yield the frames in order, as a viewer shows them; one is in memory at a time.

        Raises `DataError` where a frame cannot be read or has another size than the first.
        """
        size = None
        for index, (name, pixels) in enumerate(self._pictures() if self.pictures else self._decoded()):
            size = size or pixels.shape
            if pixels.shape != size:
                raise DataError(
                    f"frame {name} of {self.path} has {pixels.shape[1]}x{pixels.shape[0]} pixels, the first "
                    f"{size[1]}x{size[0]} (width x height)"
                )
            yield Frame(index=index, name=name or f"{index:05d}", pixels=pixels)

    def _pictures(self) -> Iterator[tuple[str, np.ndarray]]:
        for path in self.pictures:
            yield path.stem, read_image(path)

    def _decoded(self) -> Iterator[tuple[str, np.ndarray]]:
        import av

        with _opened(self.path) as container:
            container.streams.video[0].thread_type = "AUTO"
            try:
                for frame in container.decode(video=0):
                    # What a telephone held upright writes is a turned picture and a note.
                    turns = round(frame.rotation / 90) % 4
                    pixels = np.rot90(frame.to_ndarray(format="rgb24"), turns)
                    yield "", np.ascontiguousarray(pixels)
            except av.FFmpegError as error:
                raise DataError(f"{self.path} is damaged: {error}") from error


class VideoWriter:
    """Writes frames to an MP4 file; a context manager. H.264, or MPEG-4 where PyAV has no H.264."""

    def __init__(self, path: Path, *, rate: float) -> None:
        av = _av()
        self._av = av
        self._container: Any = av.open(str(path), "w", format="mp4")
        self._rate = Fraction(rate).limit_denominator(1001)
        self._stream: Any = None

    def add(self, pixels: np.ndarray) -> None:
        """Append a frame, uint8 (H, W, 3) RGB; a last odd row or column, which the format cannot have, is cut."""
        pixels = np.ascontiguousarray(pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2])
        if self._stream is None:
            name = "libx264" if "libx264" in self._av.codec.codecs_available else "mpeg4"
            self._stream = self._container.add_stream(name, rate=self._rate)
            self._stream.height, self._stream.width = pixels.shape[:2]
            self._stream.pix_fmt = "yuv420p"
        for packet in self._stream.encode(self._av.VideoFrame.from_ndarray(pixels, format="rgb24")):
            self._container.mux(packet)

    def close(self) -> None:
        """Finish the file."""
        if self._stream is not None:
            for packet in self._stream.encode():
                self._container.mux(packet)
        self._container.close()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def is_video_name(name: str) -> bool:
    """Say whether a file of this name is meant as a video."""
    return Path(name).suffix.lower() in SUFFIXES


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise MachineError("reading and writing videos needs PyAV: pip install 'risctl[video]'") from error
    return av


def _opened(path: Path) -> Any:
    av = _av()
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"{path} cannot be read as a video: {error}") from error
    if not container.streams.video:
        container.close()
        raise DataError(f"{path} has no picture, only sound")
    return container
