"""What the demo's server takes at most: of bytes, pixels, phrases, time and requests."""

from __future__ import annotations

import time
from dataclasses import dataclass

from risctl.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one server.

    Attributes:
        body_bytes: Bytes of a request's body. JSON holds images in base64, a third more.
        held_bytes: Bytes of all bodies that are being answered.
        pixels: Pixels of an image, before it is decoded.
        phrases: Phrases of a request.
        phrase_length: Characters of a phrase.
        seconds: How long a request may take, with its wait.
        waiting: Requests that are being answered or wait.
        waiting_per_client: Of these, those of one address.
        images: Images that are kept encoded. As many clients as half of them may each ask about an image of their own
            by turns, and none is encoded twice.
        image_bytes: Bytes of their pixels and features; the one that was asked for last stays in any case.
        video_frames: Frames of a video that are answered.
        video_seconds: How long a video may take.
        video_pixels: Pixels of a video's frame.
    """

    body_bytes: int = 20_000_000
    held_bytes: int = 320_000_000
    pixels: int = 40_000_000
    phrases: int = 16
    phrase_length: int = 500
    seconds: float = 60.0
    waiting: int = 64
    waiting_per_client: int = 32
    images: int = 32
    image_bytes: int = 400_000_000
    video_frames: int = 48
    video_seconds: float = 300.0
    video_pixels: int = 2_100_000

    def __post_init__(self) -> None:
        """Raises `UsageError` if a bound lets nothing through."""
        for name in self.__slots__:
            if getattr(self, name) <= 0:
                raise UsageError(f"expected a {name.replace('_', ' ')} limit above 0, got {getattr(self, name):g}")

    def to_dict(self) -> dict[str, float]:
        """Returns what a page must know before it sends something."""
        return {
            "bytes": self.body_bytes,
            "pixels": self.pixels,
            "phrases": self.phrases,
            "phrase_length": self.phrase_length,
            "video_frames": self.video_frames,
        }


class Deadline:
    """A moment until which something is to be done."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left, at least 0."""
        return max(0.0, self._end - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return self.left == 0.0
