"""`risctl prepare` as a user types it."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from risctl.cli.app import app
from risctl.data.store.reader import Store
from risctl.errors import DataError, UsageError

runner = CliRunner()

TOTALS = {"refcoco": (10, 21, 45), "refcoco+": (5, 12, 36), "refcocog": (5, 5, 9)}


@pytest.mark.parametrize("name", TOTALS)
def test_counts_stand_beside_the_published_ones(refer_mini: Path, tmp_path: Path, name: str) -> None:
    result = runner.invoke(app, ["prepare", name, "--from", str(refer_mini), "--data-root", str(tmp_path), "--verify"])
    assert result.exit_code == 0, result.output
    (store,) = tmp_path.glob("*.h5")
    assert store.name == f"{name}_{'umd' if name == 'refcocog' else 'unc'}.h5"
    images, refs, sentences = TOTALS[name]
    last = result.stdout.splitlines()[-1].split()
    assert (last[0], last[1], last[3], last[5]) == ("total", str(images), str(refs), str(sentences))
    assert last[2] != f"({images})", "the published figure stands beside ours"
    with Store(store) as opened:
        assert len(opened.sentences("all")) == sentences


def test_json_is_one_line_on_stdout_and_the_rest_elsewhere(refer_mini: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "risctl", "prepare", "refcoco", "--from", str(refer_mini), "--link", "--json"]
    run = subprocess.run(
        [*command, "--out", str(tmp_path / "s.h5")], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    data = json.loads(run.stdout)
    assert data["counts"]["total"] == {"images": 10, "refs": 21, "sentences": 45}
    assert data["published"]["total"]["sentences"] == 142_210
    assert data["notes"] == {"repeated sentence ids, renumbered": 2}
    assert "2 repeated sentence ids, renumbered" in run.stderr and "142,210 sentences" in run.stderr
    quiet = subprocess.run(
        [*command, "--quiet", "--overwrite", "--out", str(tmp_path / "s.h5")],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert quiet.stderr == "" and json.loads(quiet.stdout) == data


def test_a_crafted_pickle_ends_with_one_line_and_exit_code_4(tmp_path: Path) -> None:
    folder = tmp_path / "refcoco"
    folder.mkdir()
    (folder / "instances.json").write_text('{"images": [], "categories": [], "annotations": []}')
    (folder / "refs(unc).p").write_bytes(b"cposix\nsystem\n(S'touch ran'\ntR.")
    run = subprocess.run(
        [sys.executable, "-m", "risctl", "prepare", "refcoco", "--from", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert run.returncode == DataError.exit_code
    assert run.stdout == ""
    line = run.stderr.splitlines()[-1]
    assert line.startswith("error: ") and "posix.system" in line
    assert not (tmp_path / "ran").exists()


def test_verify_checks_a_store_against_the_published_files(refer_mini: Path, tmp_path: Path) -> None:
    store = tmp_path / "s.h5"
    runner.invoke(app, ["prepare", "refcoco", "--from", str(refer_mini), "--out", str(store)])
    result = runner.invoke(app, ["prepare", "verify", str(store), "--from", str(refer_mini), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["checked"]["masks compared with their polygons"] == 102
    data = bytearray(store.read_bytes())
    data[100_000] ^= 1
    store.write_bytes(data)
    broken = runner.invoke(app, ["prepare", "verify", str(store)])
    assert isinstance(broken.exception, DataError) and "is damaged" in str(broken.exception)


def test_without_a_terminal_the_images_are_not_downloaded(
    refer_mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The annotations lie in the data root already; the 13.5 GB are asked for, and nobody answers."""
    (tmp_path / "refcoco").mkdir()
    for name in ("refs(unc).p", "instances.json"):
        (tmp_path / "refcoco" / name).write_bytes((refer_mini / "refcoco" / name).read_bytes())
    monkeypatch.setenv("RISCTL_DATA", str(tmp_path))
    result = runner.invoke(app, ["prepare", "refcoco"])
    assert isinstance(result.exception, UsageError)
    assert "13.5 GB" in str(result.exception) and "--yes" in str(result.exception)


def test_help_lists_the_sets_with_an_example_each() -> None:
    listed = runner.invoke(app, ["prepare", "--help"]).output
    assert all(name in listed for name in TOTALS)
    for name in TOTALS:
        assert f"Example: risctl prepare {name}" in runner.invoke(app, ["prepare", name, "--help"]).output


SHORT = {
    "refcoco": ["--from", "nowhere"],
    "scenes": ["-n", "10"],
    "coco-phrases": ["--instances", "none.json", "--images", "none"],
    "coco-zsi-48-17": ["--instances", "none.json", "--images", "none"],
    "ref-davis17": ["--from", "nowhere"],
    "a2d": ["--from", "nowhere"],
}


@pytest.mark.parametrize("name", SHORT)
def test_a_store_is_replaced_only_if_that_is_asked_for(tmp_path: Path, name: str) -> None:
    """Whatever command it is, and before any other work: none of the sources named here is there."""
    out = tmp_path / "s.h5"
    out.write_bytes(b"a diary")
    command = ["prepare", name, *SHORT[name], "--out", str(out)]
    for refused in (command, [*command, "--overwrite"]):
        result = runner.invoke(app, refused)
        assert isinstance(result.exception, UsageError) and "no risctl store" in str(result.exception)
    assert out.read_bytes() == b"a diary"
    out.unlink()
    runner.invoke(app, ["prepare", "scenes", "-n", "10", "--out", str(out)])
    before = out.read_bytes()
    result = runner.invoke(app, command)
    assert isinstance(result.exception, UsageError) and "--overwrite" in str(result.exception)
    assert "a store of scenes (seed0): 10 pictures" in str(result.exception)
    out.write_bytes(before[:1000])
    result = runner.invoke(app, command)
    assert isinstance(result.exception, UsageError) and "a damaged store" in str(result.exception)
    result = runner.invoke(app, [*command, "--overwrite"])
    if name == "scenes":
        assert out.read_bytes() == before
    else:
        assert not isinstance(result.exception, UsageError)


def test_python_2_pickles_prepare(refer_mini: Path, tmp_path: Path) -> None:
    """The published files come from Python 2: the same refs as byte strings give the same store."""
    root = tmp_path / "root"
    (root / "refcoco").mkdir(parents=True)
    (root / "images").symlink_to(refer_mini / "images")
    (root / "refcoco" / "instances.json").symlink_to(refer_mini / "refcoco" / "instances.json")
    refs = pickle.loads((refer_mini / "refcoco" / "refs(unc).p").read_bytes())
    (root / "refcoco" / "refs(unc).p").write_bytes(_python_2(refs) + b".")
    marks = []
    for source in (refer_mini, root):
        result = runner.invoke(
            app, ["prepare", "refcoco", "--from", str(source), "--out", str(tmp_path / "s.h5"), "--json", "--overwrite"]
        )
        marks.append(json.loads(result.stdout)["fingerprint"])
    assert marks[0] == marks[1]


def _python_2(value: object) -> bytes:
    """Pickle as Python 2's protocol 0 did, without a memo."""
    if isinstance(value, str):
        return b"S" + repr(value).encode("ascii") + b"\n"
    if isinstance(value, int):
        return b"I%d\n" % value
    if isinstance(value, list):
        return b"(l" + b"".join(_python_2(one) + b"a" for one in value)
    assert isinstance(value, dict)
    return b"(d" + b"".join(_python_2(key) + _python_2(one) + b"s" for key, one in value.items())
