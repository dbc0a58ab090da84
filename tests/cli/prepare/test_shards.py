"""`--shards`: a store whose pictures lie in files of their own goes through every command as any other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import custom_files
from helpers.command_line import Run

from risctl.data.store.reader import Store


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A file of a user's own: eight pictures, a phrase each."""
    entries = []
    for row in range(8):
        custom_files.write_image(tmp_path / f"{row}.png", seed=row)
        split = "train" if row < 4 else "val"
        entries.append({"image": f"{row}.png", "text": f"square {row}", "mask": custom_files.SQUARE, "split": split})
    return custom_files.lines(tmp_path / "mine.jsonl", entries)


def test_own_data_in_shards_is_prepared_counted_converted_and_scored(risctl: Run, mine: Path, tmp_path: Path) -> None:
    whole, apart = tmp_path / "whole.h5", tmp_path / "apart.h5"
    assert risctl("prepare", "custom", mine, "--out", whole, "--quiet")[0] == 0
    code, out, err = risctl("prepare", "custom", mine, "--out", apart, "--shards", "3", "--json", "--quiet")
    told = json.loads(out)
    assert (code, err, told["shards"]) == (0, "", 3)
    with Store(whole) as one, Store(apart) as other:
        assert told["fingerprint"] == one.fingerprint == other.fingerprint
        assert told["bytes"] == other.size
    for command in (
        ("data", "stats", "STORE"),
        ("data", "show", "STORE"),
        ("score", "--template", "STORE"),
        ("prepare", "verify", "STORE"),
    ):
        results = [risctl(*(store if part == "STORE" else part for part in command))[:2] for store in (whole, apart)]
        assert results[0][0] == 0 and results[0][1].replace(str(whole), str(apart)) == results[1][1]
    for name, store in (("one", whole), ("two", apart)):
        code, _, err = risctl("convert", store, "--split", "val", "--to", "coco,davis", "--out", tmp_path / name, "-q")
        assert code == 0, err
    files = [
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("one", "two")
    ]
    assert files[0] == files[1] and len(files[0]) > 4
    predictions = tmp_path / "masks.jsonl"
    template = risctl("score", "--template", apart)[1].splitlines()
    lines = [json.dumps(json.loads(line) | {"segmentation": [custom_files.SQUARE]}) for line in template]
    predictions.write_text("\n".join(lines), encoding="utf-8")
    page = tmp_path / "page.html"
    code, out, err = risctl("score", predictions, "-d", apart, "--json", "-q", "--report", page)
    assert code == 0 and json.loads(out)["figures"]["mIoU"] == 100, err


def test_a_missing_shard_ends_a_command_with_one_line(risctl: Run, mine: Path, tmp_path: Path) -> None:
    apart = tmp_path / "apart.h5"
    assert risctl("prepare", "custom", mine, "--out", apart, "--shards", "2", "--quiet")[0] == 0
    with Store(apart) as store:
        store.shards[0].unlink()
    code, out, err = risctl("data", "stats", apart)
    assert (code, out) == (4, "") and len(err.splitlines()) == 1 and "lacks 1 of its 2 shards" in err


@pytest.mark.parametrize(
    ("options", "problem"),
    [(("--shards", "many"), "or a size such as 4GB"), (("--shards", "2", "--link"), "leave one of both out")],
)
def test_what_is_no_sharding_is_refused_and_nothing_written(
    risctl: Run, mine: Path, tmp_path: Path, options: tuple[str, ...], problem: str
) -> None:
    code, _, err = risctl("prepare", "custom", mine, "--out", tmp_path / "apart.h5", *options)
    assert code == 2 and problem in err and not [*tmp_path.glob("apart*")]


def test_drawn_scenes_and_datasets_take_shards_too(risctl: Run, tmp_path: Path) -> None:
    code, _, err = risctl(
        "prepare", "scenes", "-n", "10", "--size", "160x160", "--out", tmp_path / "s.h5", "--shards", "1MB", "-q"
    )
    assert code == 0, err
    with Store(tmp_path / "s.h5") as store:
        assert len(store.shards) == 1 and store.pixels(0).shape == (160, 160, 3)
    assert "--shards" in risctl("prepare", "refcoco", "--help")[1]
