"""Reads videos frame by frame, from any file that PyAV reads or a folder of images, and writes them."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from risctl.errors import DataError, MachineError
from risctl.vision.image_files import find_images
from risctl.vision.images import MAX_SIDE, read_image
from risctl.vision.video_length import missing_part

SUFFIXES = frozenset(
    (
        *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".m2v", ".wmv", ".asf", ".flv", ".f4v"),
        *(".ts", ".mts", ".m2ts", ".vob", ".ogv", ".3gp", ".3g2", ".mxf", ".mjpeg", ".y4m"),
    )
)
FOLDER_RATE = 24.0
"""Frames per second that are assumed of a folder of images."""

MAX_FRAME_PIXELS = 8192 * 4320
"""The most pixels that a frame of a video file may have, those of 8K; a clip holds several frames."""

_RATES = (0.01, 1000.0)  # what a damaged header states beyond is no rate
_TICKS = 60_000
"""Clock ticks per second of written videos: the usual rates divide it, and MPEG-4 allows at most 65,535."""

OnDamaged = Callable[[DataError], None]
"""Receives the error of each frame that cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame.

    Attributes:
        index: Its number, from 0.
        name: Name of its file in a folder, without suffix where that tells it from the others; else its number in five
            digits.
        pixels: RGB pixels, uint8 (H, W, 3).
        time: Seconds from the first frame, None if unknown.
    """

    index: int
    name: str
    pixels: np.ndarray
    time: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """A video to read.

    Attributes:
        path: The file or folder.
        rate: Mean frames per second.
        count: Number of frames as the file declares it, None if it does not.
        images: The files of a folder, in order.
        missing: What the file lacks at its end, None if nothing is known to be missing.
    """

    path: Path
    rate: float
    count: int | None
    images: tuple[Path, ...] = ()
    missing: str | None = None

    @property
    def name(self) -> str:
        """Name of the folder, or of the file without suffix, as text that can be encoded."""
        path = self.path.resolve()
        return os.fsencode(path.name if self.images else path.stem).decode("utf-8", errors="replace")

    @classmethod
    def open(cls, path: Path) -> Video:
        """Opens a video file, or a folder of images in the order of the numbers in their names (2 before 10).

        Args:
            path: The file or folder.

        Returns:
            The video, of which no frame is decoded yet.

        Raises:
            DataError: It is neither.
            MachineError: PyAV is not installed.
        """
        if path.is_dir():
            images = tuple(sorted(find_images(str(path)), key=_natural_key))
            return cls(path=path, rate=FOLDER_RATE, count=len(images), images=images)
        if not path.is_file():
            raise DataError(f"no video at {path}")
        missing = missing_part(path)
        with _opened(path, missing=missing) as container:
            stream = container.streams.video[0]
            rate = float(stream.average_rate or FOLDER_RATE)
            rate = rate if _RATES[0] <= rate <= _RATES[1] else FOLDER_RATE
            count = stream.frames or _frames_in(container.duration, rate)
            return cls(path=path, rate=rate, count=count, missing=missing)

    def frames(self) -> Iterator[Frame]:
        """Yields the frames in order, as a viewer shows them, transparent ones over white; one is in memory at a time.

        Raises:
            DataError: A frame cannot be read or differs in size from the first, or the file breaks off; the frames
                before are yielded first.
        """
        return self.readable_frames(_raise)

    def readable_frames(self, on_damaged: OnDamaged) -> Iterator[Frame]:
        """Yields the frames that can be read and are of the first one's size, as `frames` does.

        Args:
            on_damaged: Called with the error of each other frame; it is left out.

        Raises:
            DataError: There is no such frame, or the file breaks off; the frames before are yielded first.
        """
        size = first = None
        found = self._from_images(on_damaged) if self.images else self._from_file(on_damaged)
        for index, (name, pixels, time) in enumerate(found):
            if pixels is None:
                continue
            size = size or pixels.shape
            first = time if first is None else first
            if pixels.shape != size:
                on_damaged(
                    DataError(
                        f"frame {name or index} of {self.path} has {pixels.shape[1]}x{pixels.shape[0]} pixels, the "
                        f"first {size[1]}x{size[0]} (width x height)"
                    )
                )
                continue
            since = None if time is None or first is None else max(0.0, time - first)
            yield Frame(index=index, name=name or f"{index:05d}", pixels=pixels, time=since)
        breaks_off = "" if self.missing is None else f"breaks off: {self.missing}; take another copy"
        if size is None:
            raise DataError(f"{self.path} has no frame that can be read" + (f"; it {breaks_off}" if breaks_off else ""))
        if breaks_off:
            raise DataError(f"{self.path} {breaks_off}")

    def _from_images(self, on_damaged: OnDamaged) -> Iterator[tuple[str, np.ndarray | None, float | None]]:
        stems = Counter(path.stem for path in self.images)
        for path in self.images:
            pixels = None
            try:
                pixels = read_image(path)
            except DataError as error:
                on_damaged(error)
            yield (path.stem if stems[path.stem] == 1 else path.name), pixels, None

    def _from_file(self, on_damaged: OnDamaged) -> Iterator[tuple[str, np.ndarray | None, float | None]]:
        import av

        with _opened(self.path, missing=self.missing) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            # The header's size was checked, but frames may come that have another one.
            stream.codec_context.options = {"max_pixels": str(MAX_FRAME_PIXELS)}
            try:
                for number, packet in enumerate(container.demux(stream)):
                    try:
                        frames = packet.decode()
                    except av.FFmpegError as error:
                        on_damaged(DataError(f"{self.path} is damaged near packet {number}: {error}"))
                        # With several threads the error is of an earlier packet, and this one was not taken.
                        try:
                            frames = packet.decode()
                        except av.FFmpegError:
                            continue
                    for frame in frames:
                        # A phone held upright writes rotated frames and a note.
                        turns = round(frame.rotation / 90) % 4
                        yield "", np.ascontiguousarray(np.rot90(_pixels(frame), turns)), frame.time
            except av.FFmpegError as error:
                raise DataError(f"{self.path} is damaged: {error}") from error


def _raise(error: DataError) -> None:
    raise error


class VideoWriter:
    """Writes frames to an MP4 file, in H.264, or in MPEG-4 where PyAV has no H.264; a context manager."""

    def __init__(self, path: Path, *, rate: float) -> None:
        """Creates the file `path` of `rate` frames per second. Raises `MachineError` if PyAV is not installed."""
        av = _av()
        self._av = av
        self._container: Any = av.open(str(path), "w", format="mp4")
        self._rate = Fraction(rate).limit_denominator(1001)
        self._stream: Any = None
        self._count = 0
        self._last = -1

    def add(self, pixels: np.ndarray, *, time: float | None = None) -> None:
        """Appends a frame.

        Args:
            pixels: RGB pixels, uint8 (H, W, 3), of the first frame's size. The format allows no odd sizes: a last row
                or column is cut off.
            time: Seconds from the first frame; None: by the frame rate.
        """
        pixels = np.ascontiguousarray(pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2])
        if self._stream is None:
            name = "libx264" if "libx264" in self._av.codec.codecs_available else "mpeg4"
            self._stream = self._container.add_stream(name, rate=self._rate)
            self._stream.height, self._stream.width = pixels.shape[:2]
            self._stream.pix_fmt = "yuv420p"
            self._stream.codec_context.time_base = Fraction(1, _TICKS)
        frame = self._av.VideoFrame.from_ndarray(pixels, format="rgb24")
        ticks = round(_TICKS * (self._count / self._rate if time is None else time))
        # No format takes times that stand still or run back, as damaged files have them.
        frame.pts = self._last = max(ticks, self._last + 1)
        frame.time_base = Fraction(1, _TICKS)
        frame.duration = round(_TICKS / self._rate)
        self._count += 1
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def close(self) -> None:
        """Finishes the file."""
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
    """Returns whether a file name has a video's suffix."""
    return Path(name).suffix.lower() in SUFFIXES


def _pixels(frame: Any) -> np.ndarray:
    """Converts a decoded frame to RGB, uint8 (H, W, 3)."""
    if not any(component.is_alpha for component in frame.format.components):
        return frame.to_ndarray(format="rgb24")
    pixels = frame.to_ndarray(format="rgba").astype(np.uint16)
    share = pixels[..., 3:]
    return ((pixels[..., :3] * share + 255 * (255 - share) + 127) // 255).astype(np.uint8)


def _frames_in(microseconds: int | None, rate: float) -> int | None:
    """Returns the number of frames of a video by its duration, None if that is unknown."""
    return max(1, round(microseconds / 1e6 * rate)) if microseconds else None


def _natural_key(path: Path) -> list[tuple[int, str]]:
    """Returns a sort key by the numbers in a name."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name) if part]


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise MachineError("reading and writing videos needs PyAV: pip install 'risctl[video]'") from error
    return av


def _opened(path: Path, *, missing: str | None) -> Any:
    av = _av()
    breaks_off = "" if missing is None else f"; it breaks off: {missing}"
    try:
        container = av.open(str(path), metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError, OverflowError) as error:
        raise DataError(f"{path} cannot be read as a video: {error}{breaks_off}") from error
    try:
        if not container.streams.video:
            only = ", only sound" if container.streams.audio else ""
            raise DataError(f"{path} has no picture{only}{breaks_off}")
        context = container.streams.video[0].codec_context
        if context is None:
            raise DataError(f"{path} has pictures in a format that PyAV cannot read{breaks_off}")
        width, height = context.width, context.height
        if max(width, height) > MAX_SIDE or width * height > MAX_FRAME_PIXELS:
            raise DataError(
                f"{path} has frames of {width}x{height} pixels, more than the limit of {MAX_FRAME_PIXELS:,}; "
                "scale it down first"
            )
    except DataError:
        container.close()
        raise
    return container
