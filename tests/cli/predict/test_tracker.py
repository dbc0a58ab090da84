"""`--tracker` of `risctl predict` and `risctl eval`: a first frame's masks, carried through a video."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.command_line import Run
from helpers.tiny_trackers import write_tracker
from helpers.video_files import write_plain_frames, write_youtube

from risctl.data.datasets.ref_video.reader import read_ref_youtube_vos
from risctl.data.store.writer import write_store


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tracker(tmp_path_factory.mktemp("tracker") / "edgetam", "edgetam_video")


def test_mini_finds_and_a_tracker_carries_on(risctl: Run, tracker: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    video = tmp_path / "v"
    write_plain_frames(video, frames=3)
    options = ["--video", "--tracker", tracker, "--device", "cpu", "-o", "out", "--format", "png,davis"]
    ran = risctl("predict", video, "the person", "the dog", *options, "--always", "--json")
    assert ran.code == 0, ran.err
    assert f"carried on by edgetam_video {tracker}" in ran.err
    for record in json.loads(ran.out):
        assert record["frames"] == 3 and record["complete"]
        listed = json.loads(Path(record["rle"]).read_text())
        assert listed["threshold"] == 0.5 and str(tracker) in listed["model"]
        assert len(list(Path(record["masks"]).iterdir())) == 3
    strict = risctl("predict", video, "the dog", *options, "--overwrite", "--no-target-threshold", "1")
    assert strict.code == 0 and "'the dog': no match in the first frame of v, score" in strict.err
    picture = risctl("predict", video / "00000.jpg", "the dog", "--tracker", tracker)
    assert picture.code == 2 and "--tracker goes through a video" in picture.err
    clips = risctl("predict", video, "the dog", *options, "--overwrite", "--clip-len", "3")
    assert clips.code == 2 and "leave --clip-len, --overlap and --query out" in clips.err


def test_a_tracker_is_evaluated_on_a_store_of_videos(risctl: Run, tracker: Path, tmp_path: Path) -> None:
    store = tmp_path / "set.h5"
    write_store(read_ref_youtube_vos(write_youtube(tmp_path / "set")), store)
    options = ["--data", store, "--split", "test", "--tracker", tracker, "--device", "cpu"]
    ran = risctl("eval", *options, "--json", "--report", "page.html", "--pictures", "1")
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert report["expressions"] == 4 and report["frames"] == 5 and report["clip_length"] == 1
    assert "edgetam_video" in report["model"] and set(report["figures"]) == {"J", "F", "J&F"}
    zipped = risctl("eval", *options, "--submission", "s.zip", "--json")
    assert zipped.code == 0, zipped.err
    assert json.loads(zipped.out)["masks"] == 20
    clips = risctl("eval", *options, "--clip-len", "3")
    assert clips.code == 2 and "leave --clip-len out" in clips.err
