"""Long-RVOS: objects by folder, absent frames, types of expressions, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.video_files import box_mask, write_plain_frames
from PIL import Image

from risctl.data.datasets.long_rvos.reader import read_long_rvos
from risctl.data.store.clips import ClipStore
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.errors import DataError

TEXTS: dict[str, dict[str, Any]] = {
    "0": {"exp": "the grey box", "obj_id": "1", "type": "static"},
    "1": {"exp": "the box that leaves", "obj_id": 2, "type": "static+dynamic"},
}


def write(root: Path, *, texts: dict[str, dict[str, Any]] = TEXTS) -> Path:
    for split, name in (("valid", "aa"), ("test", "bb")):
        write_plain_frames(root / split / "JPEGImages" / name, frames=3)
        video = {"frames": [f"{frame:05d}" for frame in range(3)], "expressions": texts}
        (root / split / "meta_expressions.json").write_text(json.dumps({"videos": {name: video}}))
    for side, frames in ((0, 3), (1, 2)):
        folder = root / "valid" / "Annotations" / "aa" / str(side + 1)
        folder.mkdir(parents=True)
        for frame in range(frames):
            mask = box_mask(frame, side=side).astype(np.uint8) * 255
            Image.fromarray(mask).save(folder / f"{frame:05d}.png")
    return root


def test_objects_are_absent_where_they_have_no_file(tmp_path: Path) -> None:
    dataset = read_long_rvos(write(tmp_path / "long_rvos"))
    write_store(dataset, tmp_path / "set.h5")
    with Store(tmp_path / "set.h5") as store:
        clips = ClipStore(store)
        for side, row in enumerate(store.refs("valid").tolist()):
            ref = clips.ref(row)
            assert len(ref.annotations) == 3 - side
            for frame, mask in enumerate(clips.masks(ref, ref.frames)):
                wanted = box_mask(frame, side=side) if frame < 3 - side else np.zeros_like(mask)
                assert np.array_equal(mask, wanted)
            assert store.sentence(ref.sentences[0]).abilities == (("static",), ("static+dynamic",))[side]
        # The first release of test had no masks: nothing to measure, and not "no target".
        assert not any(clips.ref(int(row)).measurable for row in store.refs("test"))


@pytest.mark.parametrize(
    "change, named",
    [
        ({"type": "moving"}, "expected a type, static, dynamic"),
        ({"obj_id": "../1"}, "expected the number of an object"),
    ],
)
def test_what_is_broken_is_named(change: dict[str, str], named: str, tmp_path: Path) -> None:
    root = write(tmp_path / "long_rvos", texts={"0": TEXTS["0"] | change})
    with pytest.raises(DataError, match=named):
        read_long_rvos(root)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected SPLIT/meta_expressions\.json"):
        read_long_rvos(tmp_path)
