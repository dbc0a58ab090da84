"""Moving scenes: reproducible, true to what they say, and videos like any other."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from risctl.cli.app import app
from risctl.data.datasets.scenes.moving import MIN_SPEED, make_moving_scenes, make_video
from risctl.data.store.clips import ClipStore
from risctl.data.store.reader import Store
from risctl.errors import UsageError
from risctl.vision import rle


def test_a_video_is_the_same_whoever_makes_it() -> None:
    first, again = make_video(3, frames=4, seed=1), make_video(3, frames=4, seed=1)
    assert first == again
    assert first != make_video(3, frames=4, seed=2)


def middles(masks: tuple[rle.RLE | None, ...]) -> list[float]:
    found = []
    for mask in masks:
        assert mask is not None
        columns = np.flatnonzero(rle.decode(mask).any(0))
        found.append(float(columns[0] + columns[-1]) / 2)
    return found


def test_what_is_said_to_move_moves_that_way_and_what_stands_stands() -> None:
    checked = 0
    for index in range(30):
        video = make_video(index, frames=6, seed=0, size=(320, 240))
        assert len(video.frames) == 6
        assert np.asarray(Image.open(io.BytesIO(video.frames[0]))).shape == (240, 320, 3)
        for _, masks, texts in video.objects:
            text_of_all = " ".join(text for text, _ in texts)
            if "ing" not in text_of_all or any(mask is None for mask in masks):
                continue
            # A thing that others cross is seen in part; one that nothing hides keeps its area.
            areas = [rle.area(mask) for mask in masks if mask is not None]
            if max(areas) != min(areas):
                continue
            places = middles(masks)
            travelled = places[-1] - places[0]
            if "standing still" in text_of_all:
                assert travelled == 0
            elif "to the right" in text_of_all:
                assert travelled >= 4 * MIN_SPEED * 320
            elif "to the left" in text_of_all:
                assert travelled <= -4 * MIN_SPEED * 320
            checked += 1
    assert checked > 10


def test_an_expression_names_one_thing() -> None:
    for index in range(40):
        texts = [text for _, _, texts in make_video(index, frames=2, seed=5).objects for text, _ in texts]
        assert texts
        assert len(set(texts)) == len(texts)


def test_the_command_writes_a_store_of_videos(tmp_path: Path) -> None:
    out = tmp_path / "moving.h5"
    done = CliRunner().invoke(
        app, f"prepare scenes --video -n 10 --frames 3 --size 192x160 --out {out} --workers 1 --json".split()
    )
    assert done.exit_code == 0, done.output
    assert set(json.loads(done.stdout)["counts"]) == {"train", "val", "test"}
    with Store(out) as store:
        clips = ClipStore(store)
        for row in store.refs("all"):
            ref = clips.ref(int(row))
            assert len(ref.frames) == 3
            assert clips.masks(ref, ref.frames).shape == (3, 160, 192)


def test_too_few_videos_or_frames_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 10"):
        make_moving_scenes(count=5, frames=4, seed=0)
    with pytest.raises(UsageError, match="from 2"):
        make_moving_scenes(count=10, frames=1, seed=0)
