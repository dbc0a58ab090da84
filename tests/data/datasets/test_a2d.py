"""A2D- and JHMDB-Sentences: layouts, masks the right way round, splits, and the published text files."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from typer.testing import CliRunner

from risctl.cli.app import app
from risctl.data.datasets.a2d.reader import read_a2d, read_jhmdb
from risctl.data.store.reader import Store
from risctl.data.store.windows import FrameWindows
from risctl.data.store.writer import write_store
from risctl.errors import DataError, UsageError
from risctl.vision import rle
from risctl.vision.video_frames import VideoWriter

pytest.importorskip("av")

HEIGHT, WIDTH = 48, 64


def mask_of(instance: int, frame: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[4 + 10 * instance : 12 + 10 * instance, 2 * frame : 2 * frame + 20] = True
    return mask


def write_a2d(root: Path, texts: str) -> Path:
    """Write videos `one` (train) and `two` (test): six frames, annotated in the second and the fifth."""
    folder = root / "text_annotations" / "a2d_annotation_with_instances"
    (root / "Release" / "CLIPS320").mkdir(parents=True)
    (root / "text_annotations").mkdir()
    (root / "text_annotations" / "a2d_annotation.txt").write_text(texts)
    (root / "Release" / "videoset.csv").write_text("one,1,0,1,48,64,6,2,0\ntwo,1,0,1,48,64,6,2,1\n")
    for video, instances in (("one", (0, 2)), ("two", (1,))):
        with VideoWriter(root / "Release" / "CLIPS320" / f"{video}.mp4", rate=10) as writer:
            for frame in range(6):
                writer.add(np.full((HEIGHT, WIDTH, 3), 30 * frame, dtype=np.uint8))
        (folder / video).mkdir(parents=True)
        for number in (2, 5):
            masks = np.stack([mask_of(instance, number).T for instance in instances]).astype(np.uint8)
            with h5py.File(folder / video / f"{number:05d}.h5", "w") as file:
                file["instance"] = np.array(instances)
                file["reMask"] = masks if len(instances) > 1 else masks[0]
    return root


TEXTS = 'video_id,instance_id,query,short\none,0,"a man, running",man\none,2,a dog,dog\ntwo,1,a bird,\ntwo,4,no one,\n'


def test_a2d_frames_actors_and_splits(tmp_path: Path) -> None:
    dataset = read_a2d(write_a2d(tmp_path / "a2d", TEXTS))
    assert dataset.notes == {"actors without a mask in a frame, left out": 2}
    write_store(dataset, tmp_path / "a2d.h5")
    with Store(tmp_path / "a2d.h5") as store:
        assert store.counts() == {
            "train": {"images": 2, "refs": 4, "sentences": 4},
            "test": {"images": 2, "refs": 2, "sentences": 2},
        }
        for row, (instance, number, text) in enumerate(
            [(0, 2, "a man, running"), (2, 2, "a dog"), (0, 5, "a man, running"), (2, 5, "a dog"), (1, 2, "a bird")]
        ):
            sample = store.sample(row)
            assert sample.text == text
            assert np.array_equal(sample.mask, mask_of(instance, number))
            # Frames are counted from 1: the second has the brightness 30.
            assert abs(int(sample.image.mean()) - 30 * (number - 1)) < 6


def write_jhmdb(root: Path, entries: list[list[object]]) -> Path:
    root.mkdir()
    for video in {str(entry[0]) for entry in entries}:
        frames = root / "Rename_Images" / "pullup" / video
        frames.mkdir(parents=True)
        masks = root / "puppet_mask" / "pullup" / video
        masks.mkdir(parents=True)
        for number in range(1, 41):
            Image.new("RGB", (WIDTH, HEIGHT)).save(frames / f"{number:05d}.png")
        parts = np.stack([mask_of(1, number % 20) for number in range(1, 41)], axis=2).astype(np.uint8)
        savemat(masks / "puppet_mask.mat", {"part_mask": parts})
    (root / "jhmdb_sentences_samples_metadata.json").write_text(json.dumps(entries))
    return root


def test_jhmdb_is_read_from_its_published_file(shared: Path, tmp_path: Path) -> None:
    """Its first entries as they are, paths of another machine and all, on made frames."""
    source = shared / "data" / "video_text" / "jhmdb_sentences_samples_metadata.json"
    entries = json.loads(source.read_text(encoding="utf-8"))[:3]
    dataset = read_jhmdb(write_jhmdb(tmp_path / "jhmdb", entries))
    assert [record.expressions[0].raw for record in dataset.records] == [entry[4] for entry in entries]
    for record, entry in zip(dataset.records, entries, strict=True):
        number = int(Path(entry[1]).stem)
        assert np.array_equal(rle.decode(dataset.annotations[record.annotation_ids[0]].mask), mask_of(1, number % 20))


def test_the_published_a2d_texts_are_read(shared: Path) -> None:
    from risctl.data.datasets.a2d.reader import _a2d_texts

    notes: Counter[str] = Counter()
    texts = _a2d_texts(shared / "data" / "video_text" / "a2d_annotation.txt", notes=notes)
    assert notes == {"instances marked as copies, taken for the instance": 1}
    assert sum(len(asked) for asked in texts.values()) == 6655
    assert texts["--h5fAKYurM"] == [(0, "the pigeon is limping")]


def test_what_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a2d_annotation"):
        read_a2d(tmp_path)
    root = write_a2d(tmp_path / "a2d", "one;0;a man\n")
    with pytest.raises(DataError, match="line 1"):
        read_a2d(root)
    (root / "text_annotations" / "a2d_annotation.txt").write_text(TEXTS)
    (root / "text_annotations" / "a2d_annotation_with_instances" / "one" / "00002.h5").write_bytes(b"nothing")
    with pytest.raises(DataError, match="00002"):
        read_a2d(root)
    with pytest.raises(DataError, match="jhmdb_sentences"):
        read_jhmdb(tmp_path)


@pytest.mark.parametrize("name", ["a2d", "jhmdb"])
def test_the_commands_write_stores(name: str, tmp_path: Path) -> None:
    if name == "a2d":
        root = write_a2d(tmp_path / "set", TEXTS)
    else:
        path = "/elsewhere/Rename_Images/pullup/v/00003.png"
        root = write_jhmdb(tmp_path / "set", [["v", path, "masks", 40, "a man pulling up"]])
    out = tmp_path / "set.h5"
    done = CliRunner().invoke(app, ["prepare", name, "--from", str(root), "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["counts"]["test"]["refs"] == (2 if name == "a2d" else 1)


def test_frames_around_the_annotated_ones_are_kept(tmp_path: Path) -> None:
    """Of six frames, annotated in the second and the fifth; JHMDB's of forty, in the third."""
    root = write_a2d(tmp_path / "a2d", TEXTS)
    for window, kept in ((0, [2, 5]), (1, [1, 2, 3, 4, 5, 6]), (3, [1, 2, 3, 4, 5, 6])):
        dataset = read_a2d(root, window=window)
        names = [image.file_name for image in dataset.images.values()]
        assert names == [f"{video}/{number:05d}.jpg" for video in ("one", "two") for number in kept]
        assert len(dataset.records) == 6 and len(dataset.annotations) == 6
    write_store(read_a2d(root), tmp_path / "a2d.h5")
    with Store(tmp_path / "a2d.h5") as store:
        assert store.counts()["train"]["images"] == 2  # those that are annotated
        number, rows = FrameWindows(store).around(store.sentence(0).image)
        assert number == 2 and list(rows) == [1, 2, 3, 4, 5, 6]
        assert [abs(int(store.pixels(row).mean()) - 30 * (one - 1)) < 6 for one, row in rows.items()] == [True] * 6
    path = "/elsewhere/Rename_Images/pullup/v/00003.png"
    entries: list[list[object]] = [["v", path, "masks", 40, "a man"], ["v", path, "masks", 40, "the man"]]
    dataset = read_jhmdb(write_jhmdb(tmp_path / "set", entries))
    names = sorted(image.file_name for image in dataset.images.values())
    assert names == [f"pullup/v/{number:05d}.png" for number in range(1, 7)]
    assert len({record.image_id for record in dataset.records}) == 1
    done = CliRunner().invoke(
        app, ["prepare", "a2d", "--from", str(root), "--out", str(tmp_path / "no.h5"), "--window", "-1"]
    )
    assert isinstance(done.exception, UsageError) and not (tmp_path / "no.h5").exists()
