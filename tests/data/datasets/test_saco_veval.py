"""SA-Co/VEval: pairs, tracks, splits, and what is refused or left out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.veval_files import PHRASES, TRACKS, write_veval
from typer.testing import CliRunner

from risctl.cli.app import app
from risctl.data.datasets.saco_veval.reader import pair_of, read_saco_veval
from risctl.data.store.clips import NO_TARGET, ClipStore
from risctl.data.store.reader import Store
from risctl.errors import DataError, UsageError
from risctl.evaluation.track_rows import true_tracks
from risctl.vision import rle


def test_pairs_keep_their_ids_and_their_tracks(tmp_path: Path) -> None:
    root = write_veval(tmp_path / "VEval")
    done = CliRunner().invoke(app, ["prepare", "saco-veval", "--from", str(root), "--out", str(tmp_path / "set.h5")])
    assert done.exit_code == 0, done.output
    with Store(tmp_path / "set.h5") as store:
        assert tuple(store.splits) == ("sav_val",)
        assert store.categories == {1: "track 1", 2: "track 2"}
        clips = ClipStore(store)
        found = {}
        for row in store.refs("sav_val").tolist():
            ref = clips.ref(row)
            found[pair_of(ref.ref_id)] = ref
            assert [store.image(frame).file_name[-9:] for frame in ref.frames] == [
                f"{4 * frame:05d}.jpg" for frame in range(4)
            ]
        assert set(found) == {(0, 7), (0, 9), (0, 11), (1, 7), (1, 9)}
        for pair, ref in found.items():
            sentence = store.sentence(ref.sentences[0])
            assert sentence.raw == PHRASES[pair[1]] and ref.no_target == (pair not in TRACKS)
            assert (NO_TARGET in sentence.abilities) == ref.no_target
            tracks = true_tracks(clips, ref)
            assert len(tracks) == len(TRACKS.get(pair, ()))
            for track, masks in zip(tracks, TRACKS.get(pair, ()), strict=True):
                assert set(track) == {place for place, mask in enumerate(masks) if mask is not None}
                assert all(np.array_equal(rle.decode(track[place]), masks[place]) for place in track)


def test_files_are_splits_and_ids_of_both_are_told_apart(tmp_path: Path) -> None:
    root = write_veval(tmp_path / "VEval", splits=("sav_val", "smartglasses_test"))
    dataset = read_saco_veval(root / "annotation")
    assert {record.split for record in dataset.records} == {"sav_val", "smartglasses_test"}
    assert len({record.ref_id for record in dataset.records}) == 10
    assert len(read_saco_veval(root, subset="sav_val").records) == 5
    with pytest.raises(UsageError, match=r"sav_vall.*sav_val"):
        read_saco_veval(root, subset="sav_vall")


def test_videos_without_frames_are_refused_or_left_out(tmp_path: Path) -> None:
    root = write_veval(tmp_path / "VEval")
    frames = next((root / "media").rglob("sav_val_000001"))
    shutil.rmtree(frames)
    with pytest.raises(DataError, match=r"1 videos whose frames are not there \(sav_val_000001 of sav_val\)"):
        read_saco_veval(root)
    dataset = read_saco_veval(root, on_missing="drop")
    assert len(dataset.records) == 3 and dataset.notes["videos whose frames are not there, left out"] == 1
    shutil.rmtree(root / "media")
    with pytest.raises(DataError, match="nothing is left"):
        read_saco_veval(root, on_missing="drop")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda content: content.pop("video_np_pairs"), "expected a list of video_np_pairs"),
        (lambda content: content["annotations"][0]["segmentations"].pop(), "3 segmentations for the 4 frames"),
        (lambda content: content["annotations"][0].update(video_id=5), "for video 5, which is not there"),
        (lambda content: content["annotations"][1].update(id=0), "the track 0 is there twice"),
        (lambda content: content["annotations"][0]["segmentations"][1].update(counts="1"), "frame 00004"),
        (lambda content: content["videos"][0]["file_names"].reverse(), "each once and in order"),
        (lambda content: content["videos"][0].update(height=20), "annotated 20x10"),
        (lambda content: content["videos"][0].update(id="0"), "expected a number id"),
        (lambda content: content["video_np_pairs"].append({"video_id": 3, "category_id": 7}), "the pair of video 3"),
    ],
)
def test_what_is_broken_is_named(change: Any, named: str, tmp_path: Path) -> None:
    root = write_veval(tmp_path / "VEval")
    file = root / "annotation" / "saco_veval_sav_val.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=named):
        read_saco_veval(root)


def test_crowds_and_empty_tracks_are_no_targets(tmp_path: Path) -> None:
    root = write_veval(tmp_path / "VEval")
    file = root / "annotation" / "saco_veval_sav_val.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["iscrowd"] = 1
    content["annotations"][1]["segmentations"] = [None] * 4
    file.write_text(json.dumps(content))
    dataset = read_saco_veval(root)
    assert dataset.notes["tracks of crowds, left out"] == 1
    assert dataset.notes["tracks without a mask in any frame, left out"] == 1
    assert len([record for record in dataset.records if not record.annotation_ids]) == 3
