"""Reads SA-Co/VEval as published: JSON in the form of YouTube-VIS, with the pairs that were asked.

`annotation/saco_veval_DOMAIN_SPLIT.json` (sav, yt1b, smartglasses; val, test) with `videos[{id, video_name, file_names,
height, width, length}]`, `annotations[{id, video_id, category_id, segmentations, iscrowd}]` (a track: one RLE or null a
frame),
`categories[{id, name}]` (phrases) and `video_np_pairs[{video_id, category_id, noun_phrase, num_masklets}]`; the frames
in `media/*/JPEGImages_*fps/VIDEO/FRAME.jpg`. A pair without a track is negative.

Predictions name a pair by `video_id` and `category_id`, which are unique within a file alone. In a store a pair is a
ref, whose id holds both (`pair_id`), and its tracks are categories, "track 1" and so on.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from risctl.data.datasets.json_tables import read_json
from risctl.data.datasets.problems import OnMissing, Problems
from risctl.data.datasets.video_builder import FrameMasks, Progress, VideoBuilder, VideoExpression, VideoFiles
from risctl.data.records import Dataset
from risctl.errors import DataError, UsageError, unknown_name
from risctl.vision import rle

NAME = "saco-veval"
TRACK = "track "
"""Before the number of a track, in the categories of a store."""

_FILE = re.compile(r"saco_veval_(?P<subset>\w+)\.json")
_FRAMES = ("JPEGImages_*", "*/JPEGImages_*", "media/*/JPEGImages_*", "", "*")
_MOST_VIDEOS = _MOST_CATEGORIES = 10**6


def pair_id(video_id: int, category_id: int, *, subset: int) -> int:
    """Returns the id of a pair's ref: it tells pairs of all splits apart, and `pair_of` reads it."""
    return (subset * _MOST_VIDEOS + video_id) * _MOST_CATEGORIES + category_id


def pair_of(ref_id: int) -> tuple[int, int]:
    """Returns the published (video_id, category_id) of a pair by the id of its ref."""
    return ref_id // _MOST_CATEGORIES % _MOST_VIDEOS, ref_id % _MOST_CATEGORIES


@dataclass(frozen=True, slots=True, kw_only=True)
class _Video:
    number: int
    name: str
    frames: tuple[str, ...]
    height: int
    width: int


def read_saco_veval(
    root: Path,
    *,
    images: Path | None = None,
    on_missing: OnMissing = "refuse",
    subset: str | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Reads SA-Co/VEval: those of its files that are there, each a split, such as `sav_test`.

    Args:
        root: The folder with `annotation` and `media`, or that of the annotations.
        images: The folder of the frames; looked for around `root` if None.
        on_missing: Whether videos whose frames are not there are refused or left out.
        subset: The only split that is read.
        progress: Called with (done, total) videos.

    Raises:
        DataError: The files are not there or broken; of losses, their number and the first few are named.
        UsageError: The split is unknown.
    """
    found: dict[str, Path] = {}
    for file in (*sorted(root.glob("saco_veval_*.json")), *sorted(root.glob("*/saco_veval_*.json"))):
        match = _FILE.fullmatch(file.name)
        if match is not None and not match["subset"].endswith(("_preds", "_eval_res")):
            found.setdefault(match["subset"], file)
    if not found:
        raise DataError(
            f"{root} holds no annotations of SA-Co/VEval; expected files such as annotation/saco_veval_sav_test.json"
        )
    if subset is not None and subset not in found:
        raise UsageError(unknown_name("split", subset, found))
    chosen = {subset: found[subset]} if subset is not None else found
    parts = [_Part(name, file, number) for number, (name, file) in enumerate(sorted(chosen.items()))]
    most = max((part.most_tracks for part in parts), default=1)
    builder = VideoBuilder(NAME, categories=tuple(f"{TRACK}{number}" for number in range(1, max(1, most) + 1)))
    folders = _frame_folders(root, images)
    problems, done, total = Problems(), 0, sum(len(part.videos) for part in parts)
    names: dict[str, str] = {}
    for part in parts:
        for video in part.videos.values():
            if names.setdefault(video.name, part.name) != part.name:
                raise DataError(
                    f"the video {video.name} is in the splits {names[video.name]} and {part.name}; prepare them one by "
                    "one with --subset"
                )
            folder = next((one / video.name for one in folders if (one / video.name).is_dir()), None)
            missing = folder is None or not all((folder / f"{frame}.jpg").is_file() for frame in video.frames)
            if folder is None or missing:
                problems.lose("videos whose frames are not there", f"{video.name} of {part.name}")
            else:
                builder.add(part.files(video, folder), _TrackMasks(video, part.tracks.get(video.number, {}), part.file))
            done += 1
            if progress:
                progress(done, total)
        builder.notes.update(part.notes)
    if on_missing == "refuse":
        problems.refuse_losses("SA-Co/VEval")
    builder.notes.update(problems.notes())
    dataset = builder.build()
    if not dataset.records:
        raise DataError(f"nothing is left of SA-Co/VEval in {root}: no frames; name their folder with --images")
    return dataset


class _Part:
    """An annotation file: its videos, its pairs, and the tracks of each.

    Attributes:
        tracks: video -> name of the track -> one segmentation a frame.
    """

    def __init__(self, name: str, file: Path, number: int) -> None:
        self.name, self.file, self.notes = name, file, Counter[str]()
        self._number = number
        content = read_json(file)
        phrases = {one["id"]: str(one.get("name", "")) for one in _rows(content, "categories", file, ids=("id",))}
        self.videos = {one.number: one for one in _videos(content, file)}
        self._pairs: dict[tuple[int, int], str] = {}
        for one in _rows(content, "video_np_pairs", file, ids=("video_id", "category_id")):
            key = one["video_id"], one["category_id"]
            self._pairs[key] = str(one.get("noun_phrase") or phrases.get(key[1], ""))
        self.tracks: dict[int, dict[str, Sequence[Any]]] = {}
        self._of_pair: dict[tuple[int, int], list[str]] = {}
        for one in _rows(content, "annotations", file, ids=("id", "video_id", "category_id")):
            self._add_track(one, phrases)
        for (video, category), phrase in self._pairs.items():
            if video not in self.videos or not phrase.strip():
                raise DataError(f"{file}: the pair of video {video} and category {category} lacks its video or phrase")
        self.most_tracks = max(map(len, self._of_pair.values()), default=0)

    def files(self, video: _Video, folder: Path) -> VideoFiles:
        """Returns a video with its pairs as expressions."""
        own = {key: phrase for key, phrase in self._pairs.items() if key[0] == video.number}
        expressions: list[VideoExpression] = []
        categories: dict[str, str] = {}
        for number, (key, phrase) in enumerate(sorted(own.items())):
            targets = tuple(self._of_pair.get(key, ()))
            categories |= {target: f"{TRACK}{place}" for place, target in enumerate(targets, start=1)}
            ref_id = pair_id(*key, subset=self._number)
            expressions.append(VideoExpression(text=phrase.strip(), targets=targets, number=number, ref_id=ref_id))
        return VideoFiles(
            name=video.name,
            split=self.name,
            folder=folder,
            expressions=tuple(expressions),
            frames=frozenset(video.frames),
            categories=categories,
            annotated=True,
        )

    def _add_track(self, one: dict[str, Any], phrases: Mapping[int, str]) -> None:
        key, video = (one["video_id"], one["category_id"]), self.videos.get(one["video_id"])
        masks = one.get("segmentations")
        if video is None or not isinstance(masks, list) or len(masks) != len(video.frames):
            count = f"{len(masks)} segmentations" if isinstance(masks, list) else "no list of segmentations"
            of = f"the {len(video.frames)} frames of {video.name}" if video else f"video {key[0]}, which is not there"
            raise DataError(f"{self.file}: the track {one['id']} has {count} for {of}")
        self._pairs.setdefault(key, str(one.get("noun_phrase") or phrases.get(key[1], "")))
        if one.get("iscrowd"):
            # No target, as published; predictions on it stay false.
            self.notes["tracks of crowds, left out"] += 1
            return
        if not any(masks):
            self.notes["tracks without a mask in any frame, left out"] += 1
            return
        name = f"t{one['id']}"
        own = self.tracks.setdefault(key[0], {})
        if name in own:
            raise DataError(f"{self.file}: the track {one['id']} is there twice")
        own[name] = masks
        self._of_pair.setdefault(key, []).append(name)


class _TrackMasks:
    """Returns the masks of a video's frames out of its tracks."""

    def __init__(self, video: _Video, tracks: Mapping[str, Sequence[Any]], file: Path) -> None:
        self._video, self._tracks, self._file = video, tracks, file
        self._places = {frame: place for place, frame in enumerate(video.frames)}

    def __call__(self, frame: Path, size: tuple[int, int]) -> FrameMasks:
        expected = (self._video.height, self._video.width)
        if size != expected:
            raise DataError(
                f"{frame} has {size[0]}x{size[1]} pixels, annotated {expected[0]}x{expected[1]} (height x width)"
            )
        found = {}
        for name, masks in self._tracks.items():
            one = masks[self._places[frame.stem]]
            if one is None:
                continue
            try:
                mask = rle.from_segmentation(one, height=size[0], width=size[1])
            except DataError as error:
                raise DataError(f"{self._file}: the track {name[1:]}, frame {frame.stem}: {error}") from error
            if rle.area(mask):
                found[name] = mask
        return FrameMasks(masks=found)


def _rows(content: dict[str, Any], name: str, file: Path, *, ids: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    rows = content.get(name)
    if not isinstance(rows, list):
        raise DataError(f"{file}: expected a list of {name}, got {rows!r:.40}")
    for place, one in enumerate(rows, start=1):
        if not isinstance(one, dict):
            raise DataError(f"{file}: {name}, entry {place}: expected an object, got {one!r:.40}")
        for key in ids:
            if type(one.get(key)) is not int or not 0 <= one[key] < _MOST_CATEGORIES:
                raise DataError(f"{file}: {name}, entry {place}: expected a number {key}, got {one.get(key)!r:.40}")
        yield one


def _videos(content: dict[str, Any], file: Path) -> Iterator[_Video]:
    for one in _rows(content, "videos", file, ids=("id", "height", "width")):
        listed = one.get("file_names")
        where = f"{file}: the video {one['id']}"
        if not isinstance(listed, list) or not listed or not all(isinstance(name, str) for name in listed):
            raise DataError(f"{where}: expected file_names such as VIDEO/00000.jpg, got {listed!r:.60}")
        paths = [PurePosixPath(name) for name in listed]
        names, frames = {path.parent.name for path in paths}, tuple(path.stem for path in paths)
        if len(names) > 1 or "" in names or len(set(frames)) < len(frames) or list(frames) != sorted(frames):
            raise DataError(f"{where}: expected frames of one folder, each once and in order; got {listed!r:.80}")
        yield _Video(number=one["id"], name=names.pop(), frames=frames, height=one["height"], width=one["width"])


def _frame_folders(root: Path, images: Path | None) -> list[Path]:
    if images is not None and not images.is_dir():
        raise DataError(f"{images} is not a folder; give the one that holds VIDEO/FRAME.jpg")
    bases = [images] if images is not None else [root, root.parent]
    found = [one for base in bases for form in _FRAMES for one in (sorted(base.glob(form)) if form else [base])]
    return list(dict.fromkeys(one for one in found if one.is_dir()))
