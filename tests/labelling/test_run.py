"""Labels in parts: a kill at any instant, resumption, shards, workers, and what is refused."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from helpers.colour_labels import PHRASES, in_a_process, killed_at, label_all, pictures, request_of

from risctl.errors import DataError, UsageError
from risctl.inference.process_pool import can_fork
from risctl.labelling.join import open_all
from risctl.labelling.output import DONE, LabelFolder
from risctl.labelling.rows_file import read_rows

pytestmark = pytest.mark.skipif(not can_fork(), reason="processes are forked on Linux alone")


def test_a_row_for_each_picture_and_phrase(tmp_path: Path) -> None:
    source = pictures(tmp_path / "pictures", count=5)
    rows = list(label_all(source, tmp_path / "out").rows())
    assert [(row["index"], row["phrase"]) for row in rows] == [(n, phrase) for n in range(5) for phrase in PHRASES]
    first, none = rows[8], rows[9]
    assert first["image"] == str(source / "0004.png") and first["box"] == [0, 0, 5, 8] and first["area"] == 40
    assert first["matched"] and first["score"] == 0.3125 and first["segmentation"]["size"] == [8, 16]
    assert (first["width"], first["height"], first["error"], first["decision"]) == (16, 8, None, None)
    assert first["model"] == "colours" and first["digest"] == "d" * 64
    assert not none["matched"] and none["box"] is None and none["area"] == 0
    damaged = rows[6]
    assert "0003.png is a damaged or truncated picture" in damaged["error"] and damaged["score"] is None


def test_a_kill_at_any_instant_changes_no_row(tmp_path: Path) -> None:
    source = pictures(tmp_path / "pictures", count=7)
    whole = list(label_all(source, tmp_path / "whole").rows())
    killed = 0
    for change in range(0, 60, 2):
        out = tmp_path / f"killed-{change}"
        if killed_at(lambda out=out: label_all(source, out), change=change) == 0:
            break
        killed += 1
        again = killed_at(lambda out=out: label_all(source, out, resume=True), change=3)
        assert again in (0, -signal.SIGKILL)
        folder = label_all(source, out, resume=True)
        assert list(folder.rows(check=True)) == whole, f"killed before change {change}"
        assert not list(out.glob("**/*.part"))
    assert killed > 6


def test_a_kill_of_several_processes_changes_no_row(tmp_path: Path) -> None:
    source = pictures(tmp_path / "pictures", count=12)
    whole = list(label_all(source, tmp_path / "whole").rows())
    out = tmp_path / "out"

    def stop(done: int, total: int | None) -> None:
        if done == 7:
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_a_process(lambda: label_all(source, out, workers=2, progress=stop)) == -signal.SIGKILL
    assert list(label_all(source, out, resume=True, workers=2).rows()) == whole


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    source = pictures(tmp_path / "pictures", count=7)
    folder = label_all(source, tmp_path / "out")
    whole = list(folder.rows())
    for path in source.iterdir():
        path.unlink()
    folder.part(1).unlink()
    resumed = label_all(source, tmp_path / "out", resume=True)
    rows = list(resumed.rows())
    assert rows[:6] == whole[:6] and rows[12:] == whole[12:]
    # They are still in the plan: that they are gone is told of each.
    assert all("no picture at" in row["error"] for row in rows[6:12])
    assert resumed.counts() == (14, 3)


def test_a_line_that_was_cut_short_does_not_count(tmp_path: Path) -> None:
    source = pictures(tmp_path / "pictures", count=7)
    folder = label_all(source, tmp_path / "out")
    whole = list(folder.rows())
    done = tmp_path / "out" / DONE
    done.write_bytes(done.read_bytes()[:-40])
    opened = LabelFolder(tmp_path / "out")
    opened.open()
    assert opened.left() == [2]
    assert list(label_all(source, tmp_path / "out", resume=True).rows(check=True)) == whole
    assert [json.loads(line)["part"] for line in done.read_text().splitlines() if line.endswith("}")] == [0, 1, 2]


def test_two_writers_are_refused(tmp_path: Path) -> None:
    source = pictures(tmp_path / "pictures", count=2)
    folder = LabelFolder(tmp_path / "out")

    def second() -> None:
        with pytest.raises(UsageError, match="another process is writing to"):
            label_all(source, tmp_path / "out")

    with folder.locked():
        assert in_a_process(second) == 0
    label_all(source, tmp_path / "out")
    with pytest.raises(UsageError, match="holds labels already; go on with --resume"):
        label_all(source, tmp_path / "out")


def test_another_question_is_refused(tmp_path: Path) -> None:
    source = pictures(tmp_path / "pictures", count=2)
    label_all(source, tmp_path / "out")
    for changed in ({"phrases": ("red",)}, {"digest": "e" * 64}, {"min_score": 0.5}):
        with pytest.raises(UsageError, match=f"begun with another {next(iter(changed))}"):
            label_all(source, tmp_path / "out", resume=True, request=request_of(source, **changed))


def test_rows_that_score_less_are_left_out(tmp_path: Path) -> None:
    source = pictures(tmp_path / "pictures", count=8)
    kept = list(label_all(source, tmp_path / "out", request=request_of(source, min_score=0.3)).rows())
    assert [(row["index"], bool(row["error"])) for row in kept] == [
        (3, True),
        (3, True),
        *((n, False) for n in (4, 5, 6, 7)),
    ]


def test_shards_are_joined_with_nothing_missing_or_twice(tmp_path: Path) -> None:
    source = pictures(tmp_path / "pictures", count=17)
    whole = list(label_all(source, tmp_path / "whole").rows())
    shards = []
    for share in (1, 2, 3):
        out = tmp_path / f"shard-{share}"
        label_all(source, out, request=request_of(source, shard=(share, 3)))
        shards.append(out)
    assert list(open_all(shards[::-1]).rows()) == whole
    with pytest.raises(DataError, match=r"2 of 6 parts are missing \(1, 4\): no folder of shard 2/3"):
        open_all([shards[0], shards[2]])
    with pytest.raises(DataError, match=r"part 0 is in .* and in"):
        open_all([*shards, shards[0]])
    with pytest.raises(DataError, match="not of one collection: their phrases differ"):
        other = tmp_path / "other"
        label_all(source, other, request=request_of(source, shard=(2, 3), phrases=("blue",)))
        open_all([shards[0], other, shards[2]])
    done = shards[1] / DONE
    done.write_text(done.read_text().splitlines()[0] + "\n")
    with pytest.raises(DataError, match=r"1 of 6 parts are missing \(4\): .*shard-2 not finished; go on with --resume"):
        open_all(shards)


def test_a_part_that_has_changed_is_refused(tmp_path: Path) -> None:
    source = pictures(tmp_path / "pictures", count=4)
    folder = label_all(source, tmp_path / "out")
    folder.part(0).write_text(folder.part(0).read_text().replace("red", "blue"))
    with pytest.raises(DataError, match="has changed since it was written"):
        list(open_all([tmp_path / "out"]).rows())


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_rows_are_the_same_in_both_kinds(tmp_path: Path, kind: str) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow", reason="parquet needs pyarrow")
    source = pictures(tmp_path / "pictures", count=5)
    plain = list(label_all(source, tmp_path / "plain").rows())
    folder = label_all(source, tmp_path / kind, request=request_of(source, kind=kind))
    assert list(folder.rows()) == plain
    assert list(read_rows(folder.part(1))) == plain[6:]
