"""Ref-YouTube-VOS and Ref-DAVIS17: layouts, masks, annotators, clips, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.video_files import labels_of, write_davis, write_film, write_youtube
from PIL import Image
from typer.testing import CliRunner

from risctl.cli.app import app
from risctl.data.datasets.ref_video.reader import read_ref_davis17, read_ref_youtube_vos
from risctl.data.loading.clip_dataset import ReferringVideoDataset
from risctl.data.loading.image_dataset import ReferringImageDataset
from risctl.data.store.clips import ClipStore, is_video_store, sample_frames
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.data.transforms.preprocess import ShortSidePreprocess
from risctl.errors import DataError
from risctl.language.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("youtube")
    write_store(read_ref_youtube_vos(write_youtube(folder / "set")), folder / "set.h5")
    return Store(folder / "set.h5")


def test_objects_frames_and_masks_come_back(store: Store) -> None:
    assert is_video_store(store)
    assert store.counts()["train"] == {"images": 2, "refs": 4, "sentences": 8}
    assert set(store.categories.values()) == {"box", "crate"}
    clips = ClipStore(store)
    for row in store.refs("all"):
        ref = clips.ref(int(row))
        target = 1 if store.sentence(ref.sentences[0]).sent == "a red box" else 2
        assert len(ref.frames) == 5
        assert len(ref.annotations) == (5 if target == 1 else 4)
        masks = clips.masks(ref, ref.frames)
        for frame, mask in enumerate(masks):
            assert np.array_equal(mask, labels_of(frame, height=48, width=64) == target)
        assert [store.image(one).file_name for one in ref.frames] == [f"{ref.video}/{5 * n:05d}.jpg" for n in range(5)]


def test_davis_is_read_in_its_own_layout_with_its_four_annotators(shared: Path, tmp_path: Path) -> None:
    mini = shared / "data" / "davis_mini"
    dataset = read_ref_davis17(write_davis(tmp_path / "davis", mini, names=("cows", "dog", "libby")))
    assert [record.split for record in dataset.records] == ["val"] * 3
    for record in dataset.records:
        tags = [expression.abilities for expression in record.expressions]
        assert tags == [(f"annotator-{number}",) for number in (1, 2, 3, 4)]
    write_store(dataset, tmp_path / "davis.h5", link=True)
    with Store(tmp_path / "davis.h5") as store:
        clips = ClipStore(store)
        for row in store.refs("val"):
            ref = clips.ref(int(row))
            files = sorted((mini / "Annotations" / ref.video).iterdir())
            assert len(files) == len(ref.frames)
            for file, mask in zip(files, clips.masks(ref, ref.frames), strict=True):
                assert np.array_equal(mask, np.asarray(Image.open(file).convert("L")) > 0)


def test_all_sequences_at_hand_are_read_in_the_other_layout(shared: Path, tmp_path: Path) -> None:
    mini = shared / "data" / "davis_mini"
    said = json.loads((mini / "expressions.json").read_text(encoding="utf-8"))
    (tmp_path / "valid").mkdir()
    for kind in ("JPEGImages", "Annotations"):
        (tmp_path / "valid" / kind).symlink_to(mini / kind, target_is_directory=True)
    folder = tmp_path / "meta_expressions" / "valid"
    folder.mkdir(parents=True)
    videos = {
        name: {"expressions": {name["exp_id"]: name for name in entry["expressions"]}} for name, entry in said.items()
    }
    (folder / "meta_expressions.json").write_text(json.dumps({"videos": videos}))
    dataset = read_ref_davis17(tmp_path)
    assert len(dataset.records) == 13
    assert sum(len(record.expressions) for record in dataset.records) == 52
    assert all(record.annotation_ids for record in dataset.records)
    assert not dataset.notes


def test_the_published_expression_file_of_the_test_set_is_read(shared: Path, tmp_path: Path) -> None:
    """Its objects are not published: refs without masks, counted."""
    source = shared / "data" / "video_text" / "ref_ytvos_meta_expressions_507.json"
    videos = json.loads(source.read_text(encoding="utf-8"))["videos"]
    name = sorted(videos)[0]
    folder = tmp_path / "meta_expressions" / "valid"
    folder.mkdir(parents=True)
    (folder / "meta_expressions.json").write_text(json.dumps({"videos": {name: videos[name]}}))
    frames = tmp_path / "valid" / "JPEGImages" / name
    frames.mkdir(parents=True)
    for frame in videos[name]["frames"]:
        Image.new("RGB", (32, 24)).save(frames / f"{frame}.jpg")
    dataset = read_ref_youtube_vos(tmp_path)
    assert len(dataset.records) == len(videos[name]["expressions"])
    assert dataset.notes["objects without a mask in any frame"] == len(dataset.records)


def test_videos_of_the_test_set_are_none_of_valid(tmp_path: Path) -> None:
    """The published valid file has them as well, and their frames lie elsewhere."""
    root = write_youtube(tmp_path / "set", videos={"valid": ("aa", "bb"), "test": ("cc",)})
    files = {split: root / "meta_expressions" / split / "meta_expressions.json" for split in ("valid", "test")}
    videos = {split: json.loads(file.read_text())["videos"] for split, file in files.items()}
    files["valid"].write_text(json.dumps({"videos": videos["valid"] | videos["test"]}))
    dataset = read_ref_youtube_vos(root)
    assert sorted({record.split for record in dataset.records}) == ["test", "valid"]
    assert len(dataset.images) == 3 * 5 and len(dataset.records) == 3 * 2


def test_a_listed_frame_without_an_image_is_named(tmp_path: Path) -> None:
    root = write_youtube(tmp_path / "set", videos={"train": ("aa",)})
    (root / "train" / "JPEGImages" / "aa" / "00010.jpg").unlink()
    with pytest.raises(DataError, match="1 of the 5 frames of aa, the first 00010"):
        read_ref_youtube_vos(root)


def test_davis_as_it_comes_from_its_archives(tmp_path: Path) -> None:
    """In a folder of its own, with the masks of the unsupervised task and their void, and the texts' own quirks."""
    root = tmp_path / "ref-davis"
    kinds = [root / "DAVIS" / kind / "480p" / "classic-car" for kind in ("JPEGImages", "Annotations_unsupervised")]
    write_film(*kinds, frames=2)
    void = labels_of(0, height=48, width=64)
    void[:4, :6] = 255
    Image.fromarray(void).save(kinds[1] / "00000.png")
    (root / "DAVIS" / "ImageSets" / "2017").mkdir(parents=True)
    (root / "DAVIS" / "ImageSets" / "2017" / "val.txt").write_text("classic-car\n")
    texts = root / "davis_text_annotations"
    texts.mkdir()
    for annotator, encoding in (
        ("1", "utf-8"),
        ("1_full_video", "utf-8"),
        ("2", "latin-1"),
        ("2_full_video", "latin-1"),
    ):
        lines = 'clasic-car 1 "a caf\u00e9 racer"\nclasic-car 2 "a green box"\n'
        (texts / f"Davis17_annot{annotator}.txt").write_text(lines, encoding=encoding)
    dataset = read_ref_davis17(root)
    assert [record.split for record in dataset.records] == ["val", "val"]
    assert {expression.raw for expression in dataset.records[0].expressions} == {"a caf\u00e9 racer"}
    assert [expression.sentence_id % 1000 for expression in dataset.records[1].expressions] == [4, 5, 6, 7]
    write_store(dataset, tmp_path / "davis.h5")
    with Store(tmp_path / "davis.h5") as store:
        clips = ClipStore(store)
        first = clips.void(0)
        assert first is not None and np.array_equal(first, void == 255)
        assert clips.void(1) is None
        assert all(len(clips.ref(int(row)).annotations) == 2 for row in store.refs("val"))


@pytest.mark.parametrize("kind", ["frames", "expressions", "size", "mask", "line"])
def test_what_is_missing_or_broken_is_named(kind: str, tmp_path: Path) -> None:
    root = write_youtube(tmp_path / "set", videos={"train": ("aa",)})
    mask = root / "train" / "Annotations" / "aa" / "00005.png"
    read = read_ref_youtube_vos
    if kind == "frames":
        (root / "train" / "JPEGImages" / "aa").rename(root / "elsewhere")
    elif kind == "expressions":
        (root / "meta_expressions" / "train" / "meta_expressions.json").write_text("[]")
    elif kind == "size":
        Image.new("P", (10, 10)).save(mask)
    elif kind == "mask":
        mask.write_bytes(b"no picture")
    else:
        read = read_ref_davis17
        (root / "meta_expressions").rename(root / "elsewhere")
        (root / "davis_text_annotations").mkdir()
        (root / "davis_text_annotations" / "Davis17_annot1.txt").write_text("aa 1 no quotes\n")
    with pytest.raises(DataError, match=r"aa|meta_expressions|00005|line 1"):
        read(root)


def test_the_command_writes_a_store(tmp_path: Path) -> None:
    root = write_youtube(tmp_path / "set")
    out = tmp_path / "set.h5"
    done = CliRunner().invoke(
        app, ["prepare", "ref-youtube-vos", "--from", str(root), "--out", str(out), "--link", "--json"]
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["counts"]["test"] == {"images": 1, "refs": 2, "sentences": 4}
    with Store(out) as store:
        assert store.linked


def test_frames_are_sampled_around_one_that_shows_the_object() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        for count, length in ((30, 5), (30, 1), (30, 3), (4, 6), (1, 3)):
            chosen = sample_frames(count, length=length, generator=generator, among=[0])
            assert len(chosen) == length
            assert chosen == sorted(chosen)
            assert 0 in chosen
            assert all(0 <= index < count for index in chosen)
    spread = {sample_frame for _ in range(200) for sample_frame in sample_frames(30, length=5, generator=generator)}
    assert spread == set(range(30))


def test_clips_are_the_same_for_the_same_seed_and_mirrored_as_one(store: Store) -> None:
    preprocess = ShortSidePreprocess(short=48, longest=None, max_words=10, vocabulary=Vocabulary(["left", "right"]))
    plain = ReferringVideoDataset(store, "train", preprocess, frames=3, sentences="all")
    assert len(plain) == 8
    assert (
        len(ReferringVideoDataset(store, "train", preprocess, frames=3, sentences="clips")) == 2 * 8
    )  # of 5 frames each
    item, again = plain.item(1, 2), plain.item(1, 2)
    assert item.image.shape == (3, 3, 48, 64)
    assert item.target is not None and item.target.shape == (3, 48, 64)
    assert item.target.flatten(1).any(1).any()
    assert item.image.equal(again.image) and item.target.equal(again.target)
    flipped = ReferringVideoDataset(store, "train", preprocess, frames=3, sentences="all", flip=1.0, colour=0.2)
    number = next(n for n in range(8) if "left" in plain.item(0, n).text)
    one, other = plain.item(0, number), flipped.item(0, number)
    assert other.text == one.text.replace("left", "right")
    assert other.target is not None and one.target is not None
    assert other.target.equal(one.target.flip(-1))


def test_images_and_videos_are_not_mistaken_for_each_other(store: Store) -> None:
    preprocess = ShortSidePreprocess(short=48, longest=None, max_words=10, vocabulary=Vocabulary([]))
    with pytest.raises(DataError, match=r"data\.frames"):
        ReferringImageDataset(store, "train", preprocess)
