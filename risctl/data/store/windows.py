"""Finds the frames that a store of annotated frames keeps around each of them.

In a store of A2D- or JHMDB-Sentences a ref is an actor in one frame, and further images are frames that no ref is
about. A frame's file name is `VIDEO/NUMBER.ext`.
"""

from __future__ import annotations

from functools import cached_property

from risctl.data.store.reader import Store
from risctl.errors import DataError


class FrameWindows:
    """The frames of a store by their videos. It pickles with its store."""

    def __init__(self, store: Store) -> None:
        """Takes a store of images."""
        self.store = store

    def __getstate__(self) -> dict[str, Store]:
        return {"store": self.store}

    @cached_property
    def _places(self) -> tuple[list[tuple[str, int]], dict[str, dict[int, int]]]:
        places: list[tuple[str, int]] = []
        videos: dict[str, dict[int, int]] = {}
        for row, name in enumerate(self.store.file_names()):
            video, _, frame = name.rpartition("/")
            stem = frame.partition(".")[0]
            if not video or not stem.isdecimal():
                raise DataError(
                    f"expected the images of {self.store.path} to be frames, VIDEO/NUMBER.jpg; got {name[:80]!r}"
                )
            places.append((video, int(stem)))
            videos.setdefault(video, {})[int(stem)] = row
        return places, {video: dict(sorted(rows.items())) for video, rows in videos.items()}

    def around(self, row: int) -> tuple[int, dict[int, int]]:
        """Returns the number of the frame of image row `row`, and the image rows of its video's frames by number.

        Raises:
            DataError: The store keeps this frame of the video alone, or its images are no frames.
        """
        places, videos = self._places
        video, number = places[row]
        if len(videos[video]) == 1:
            raise DataError(
                f"{self.store.path} keeps annotated frames alone, and this model sees the frames around them: prepare "
                "it again with --window 3, or set model.window=1 (and data.frames=null)"
            )
        return number, videos[video]
