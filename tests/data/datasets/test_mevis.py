"""MeViS and sets in its form: unions of masks, expressions about nothing, splits without masks, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.video_files import box_mask, mask_table, write_mevis, write_plain_frames
from typer.testing import CliRunner

from risctl.cli.app import app
from risctl.data.datasets.mevis.reader import read_mevis
from risctl.data.datasets.ref_sav.reader import read_ref_sav
from risctl.data.store.clips import NO_TARGET, ClipRef, ClipStore
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.errors import DataError


def stored(root: Path, out: Path, *, version: int = 1) -> Store:
    write_store(read_mevis(root, version=version), out)
    return Store(out)


def refs(store: Store, split: str) -> list[ClipRef]:
    clips = ClipStore(store)
    return [clips.ref(int(row)) for row in store.refs(split)]


def test_a_target_is_the_union_of_the_masks_that_are_named(tmp_path: Path) -> None:
    with stored(write_mevis(tmp_path / "MeViS"), tmp_path / "set.h5") as store:
        clips = ClipStore(store)
        one, both, none = refs(store, "valid_u")
        for frame, mask in enumerate(clips.masks(both, both.frames)):
            left, right = (box_mask(frame, side=side) for side in (0, 1))
            assert np.array_equal(mask, left if frame == 3 else left | right)
        assert [len(rows) for rows in both.annotations.values()] == [2, 2, 2, 1]
        assert np.array_equal(clips.masks(one, one.frames[:1])[0], box_mask(0, side=0))
        assert none.no_target and none.measurable and not clips.masks(none, none.frames).any()
        assert NO_TARGET in store.sentence(none.sentences[0]).abilities
        # The masks that two expressions share are stored once.
        assert len(store.numbers("annotations/id")) == 4 + 3


def test_a_split_without_masks_can_be_predicted_but_not_measured(tmp_path: Path) -> None:
    with stored(write_mevis(tmp_path / "MeViS"), tmp_path / "set.h5") as store:
        assert [ref.measurable for ref in refs(store, "valid")] == [False] * 3


def test_the_second_version_has_its_own_file_and_name(tmp_path: Path) -> None:
    root = write_mevis(tmp_path / "MeViS", meta="meta_expressions_v2.json")
    with pytest.raises(DataError, match=r"expected SPLIT/meta_expressions\.json"):
        read_mevis(root)
    assert read_mevis(root, version=2).name == "mevis-v2"


def test_an_object_that_no_frame_shows_is_no_target(tmp_path: Path) -> None:
    root = write_mevis(tmp_path / "MeViS")
    masks = mask_table(4) | {"8": [None] * 4, "7": [None] * 4}
    (root / "valid_u" / "mask_dict.json").write_text(json.dumps(masks))
    dataset = read_mevis(root)
    assert dataset.notes["expressions whose objects show in no frame, kept as no-target"] == 2
    assert all(NO_TARGET in record.expressions[0].abilities for record in dataset.records if record.split == "valid_u")


@pytest.mark.parametrize("kind", ["short", "unknown", "size", "ids", "frames"])
def test_what_is_broken_is_named(kind: str, tmp_path: Path) -> None:
    root = write_mevis(tmp_path / "MeViS")
    file, texts = root / "valid_u" / "mask_dict.json", root / "valid_u" / "meta_expressions.json"
    masks, content = mask_table(4), json.loads(texts.read_text())
    if kind == "short":
        masks["7"].pop()
    elif kind == "unknown":
        del masks["8"]
    elif kind == "size":
        masks["7"][1] = {"size": [2, 2], "counts": "4"}
    elif kind == "ids":
        del content["videos"]["aa"]["expressions"]["0"]["anno_id"]
    else:
        content["videos"]["aa"]["frames"] = []
    file.write_text(json.dumps(masks))
    texts.write_text(json.dumps(content))
    named = {
        "short": r"masks 7 of the 4 frames of aa, 3 of them",
        "unknown": r"masks 8 of the 4 frames of aa, no such list",
        "size": r"mask 7 of .*00001\.jpg: an RLE of size \[2, 2\]",
        "ids": r"expression 0 of aa .* has no anno_id",
        "frames": r"expected the frames of aa",
    }
    with pytest.raises(DataError, match=named[kind]):
        read_mevis(root)


def test_the_command_counts_videos_and_warns_of_other_counts(tmp_path: Path) -> None:
    root = write_mevis(tmp_path / "MeViS")
    done = CliRunner().invoke(app, ["prepare", "mevis", "--from", str(root), "--out", str(tmp_path / "set.h5")])
    assert done.exit_code == 0, done.output
    assert "videos (published)" in done.stdout and "1 (50)" in done.stdout
    assert "mevis (videos) valid_u: 1 videos, 3 sentences; published: 50 videos, 793 sentences" in done.stderr


def test_ref_sav_is_read_with_its_types(tmp_path: Path) -> None:
    root = tmp_path / "ref_sav_eval"
    write_plain_frames(root / "videos" / "sav_1", frames=4)
    texts = {
        "0": {"exp": "a long description of the box", "anno_id": [7], "type_id": 0},
        "1": {"exp": "the box", "anno_id": [8], "type_id": 1},
    }
    video = {"frames": [f"{frame:05d}" for frame in range(4)], "height": 24, "width": 32, "expressions": texts}
    (root / "meta_expressions_valid.json").write_text(json.dumps({"videos": {"sav_1": video}}))
    (root / "mask_dict.json").write_text(json.dumps(mask_table(4)))
    dataset = read_ref_sav(tmp_path)
    assert [one.abilities for record in dataset.records for one in record.expressions] == [("long",), ("short",)]
    assert [len(record.annotation_ids) for record in dataset.records] == [4, 3]
    texts["1"]["type_id"] = 2
    (root / "meta_expressions_valid.json").write_text(json.dumps({"videos": {"sav_1": video}}))
    with pytest.raises(DataError, match=r"type_id 0 \(long\) or 1 \(short\)"):
        read_ref_sav(root)
