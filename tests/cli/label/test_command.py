"""`risctl label`, run as a person runs it, with a small model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import Run, risctl
from PIL import Image

__all__ = ["risctl"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(generator.integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(folder / f"{number}.jpg")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 damaged")
    return folder


def test_rows_and_formats_of_a_folder(risctl: Run, tiny_mini: Path, photos: Path) -> None:
    (Path("phrases.txt")).write_text("the red cup\nboth dogs\n")
    asked = ("label", photos, "--phrases", "phrases.txt", "--model", tiny_mini, "--out", "labels", "--part-size", 2)
    done = risctl(*asked, "--format", "jsonl,coco,png", "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told == {
        "images": 4,
        "rows": 8,
        "failed": 1,
        "files": {"coco": told["files"]["coco"], "images": 3, "png": 6},
        "out": "labels",
    }
    rows = [json.loads(line) for part in sorted(Path("labels/parts").iterdir()) for line in part.open()]
    assert [Path(row["image"]).name for row in rows[::2]] == ["0.jpg", "1.jpg", "2.jpg", "broken.jpg"]
    assert "damaged" in rows[-1]["error"] and "1 of 4 pictures could not be read" in done.err
    coco = json.loads(next(Path("labels/coco").glob("*.json")).read_text())
    assert len(coco["images"]) == 3
    # What risctl predict says of the same picture is the same.
    alone = risctl("predict", photos / "0.jpg", "the red cup", "both dogs", "--model", tiny_mini, "--json", "--format",
                   "coco-results", "--out", "p")  # fmt: skip
    for record, row in zip(json.loads(alone.out), rows[:2], strict=True):
        assert {key: record[key] for key in ("score", "box", "segmentation", "matched")} == {
            key: row[key] for key in ("score", "box", "segmentation", "matched")
        }
    again = risctl(*asked, "--format", "jsonl")
    assert again.code == 2 and "go on with --resume" in again.err
    assert risctl(*asked, "--format", "jsonl", "--resume").code == 0


def test_one_file_shards_and_join(risctl: Run, tiny_mini: Path, photos: Path) -> None:
    asked = ("label", photos, "-p", "the red cup", "--model", tiny_mini, "--part-size", 1, "--format", "jsonl", "-q")
    assert risctl("label", photos, "-p", "the red cup", "--model", tiny_mini, "-o", "all.jsonl", "-q").code == 0
    assert not Path("all.jsonl.parts").exists()
    for share in (1, 2):
        assert risctl(*asked, "--out", f"s{share}", "--shard", f"{share}/2").code == 0
    missing = risctl("label", "join", "s1", "--out", "joined.jsonl")
    assert missing.code == 4 and "no folder of shard 2/2" in missing.err
    joined = risctl("label", "join", "s2", "s1", "--out", "joined.jsonl")
    assert joined.out == "4 pictures\t4 rows\t1 errors\tjoined.jsonl\n"
    assert Path("joined.jsonl").read_text() == Path("all.jsonl").read_text()
    refused = risctl(*asked, "--out", "s3", "--shard", "3/2")
    assert refused.code == 2 and "expected --shard K/N" in refused.err


@pytest.mark.parametrize(
    ("given", "told", "code"),
    [
        (("--phrases", "bad.txt", "-o", "x"), "bad.txt, line 2: '???' has no word", 4),
        (("-o", "x"), "there is no phrase for", 2),
        (("--phrases", "a cup", "-o", "x", "--format", "cococo"), "unknown format 'cococo'; did you mean 'coco'?", 2),
        (("--phrases", "a cup", "-o", "x.jsonl", "--format", "coco"), "coco are folders", 2),
        (("--phrases", "a cup", "-o", "x", "--shard", "1/2", "--format", "coco"), "a shard is rows in a folder", 2),
        (("--phrases", "a cup", "-o", "photos"), "is the folder of the pictures", 2),
        (("--phrases", "a cup", "-o", "x", "--batch", "0"), "expected --batch as a number", 2),
        (("--phrases", "a cup", "-o", "x", "--engine", "ray", "--workers", "2"), "Ray takes --actors", 2),
    ],
)
def test_what_is_refused_before_work_begins(
    risctl: Run, tiny_mini: Path, photos: Path, given: tuple[str, ...], told: str, code: int
) -> None:
    Path("bad.txt").write_text("the red cup\n???\n")
    ran = risctl("label", "photos", "--model", tiny_mini, *given)
    assert ran.code == code and told in ran.err and ran.out == ""
    assert not list(Path().glob("x*/parts/*")) and not Path("x/label.json").exists()


def test_rows_in_parquet_are_scored_as_the_model_is_evaluated(risctl: Run, tiny_mini: Path) -> None:
    pytest.importorskip("pyarrow", reason="parquet needs pyarrow (risctl[tables])")
    assert risctl("prepare", "scenes", "-n", 10, "--size", "160x160", "--workers", 1, "--out", "scenes.h5").code == 0
    measured = risctl("eval", "--model", tiny_mini, "--data", "scenes.h5", "--split", "train", "--workers", 1, "--json")
    assert measured.code == 0, measured.err
    expected = json.loads(measured.out)["figures"]
    asked = ("label", "scenes.h5", "--split", "train", "--model", tiny_mini, "--part-size", 3, "-q")
    for out in ("labels", "labels.parquet"):  # a folder of parts, and one file
        done = risctl(*asked, "--out", out)
        assert done.code == 0, done.err
        scored = risctl("score", out, "--data", "scenes.h5", "--split", "train", "--json")
        assert scored.code == 0, scored.err
        told = json.loads(scored.out)
        assert told["coverage"]["missing"] == 0 and "parquet" in told["coverage"]["kind"]
        assert {name: told["figures"][name] for name in expected} == expected
