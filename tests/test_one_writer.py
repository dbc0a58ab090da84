"""The one writer of output files: nothing is replaced that is an input or was written by the same command."""

from __future__ import annotations

import ast
import errno
import json
import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import risctl
from risctl.errors import DataError, MachineError, UsageError
from risctl.files import new_folder, remove_stale, replacing
from risctl.output_files import DETECTIONS, OutputFiles, check_replaceable, digest, safe_stem, slug

# Files that keep state which is replaced as it goes on: runs, caches, downloads, remembered folders.
STATE = (
    *("training/stages.py", "training/run_folder.py", "training/logger.py", "data/features/joining.py"),
    *(
        "data/store/linked_images.py",
        "data/download/hub_folder.py",
        "data/download/hub_tables.py",
        "data/download/transfer.py",
    ),
    *("data/download/mirrors.py", "data/download/addresses.py", "training/sweep.py", "models/calibrated.py"),
)
# Writers of a format, for whose file the command asks the guard before it begins: stores, weights, boxes.
CLAIMED = (
    *("checkpoints/import_backbone.py", "checkpoints/checkpoint.py", "data/box_grounding/files.py"),
    *("data/box_grounding/records.py", "data/store/shards.py", "data/store/writer.py"),
)


@given(st.text(max_size=80), st.text(max_size=80))
def test_two_texts_never_share_a_name(first: str, second: str) -> None:
    assert (slug(first) == slug(second)) == (first == second)


@given(st.text())
def test_names_are_plain_and_short(text: str) -> None:
    name = slug(text)
    assert 0 < len(name) <= 70
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_usual_texts_have_readable_names() -> None:
    assert slug("the red cup") == "the-red-cup"
    assert slug("the red cup!").startswith("the-red-cup-")
    assert slug("man in 2nd row") == "man-in-2nd-row"


def test_an_input_is_never_replaced_under_any_name(tmp_path: Path) -> None:
    data = tmp_path / "data.h5"
    data.write_text("data")
    link, hard = tmp_path / "link.h5", tmp_path / "hard.h5"
    link.symlink_to(data)
    hard.hardlink_to(data)
    outputs = OutputFiles(inputs=[data, None, tmp_path])
    for path in (data, link, hard, tmp_path / "folder" / ".." / "data.h5"):
        with pytest.raises(UsageError, match="is an input of this command"):
            outputs.claim(path)
        with pytest.raises(UsageError, match="is an input of this command"):
            outputs.write_text(path, "rows")
    assert data.read_text() == "data"


def test_an_input_that_becomes_known_later_is_an_error_too(tmp_path: Path) -> None:
    outputs = OutputFiles()
    outputs.claim(tmp_path / "best.safetensors")
    with pytest.raises(UsageError, match="is an input"):
        outputs.add_inputs([tmp_path / "best.safetensors"])


def test_a_file_is_claimed_and_written_once(tmp_path: Path) -> None:
    outputs = OutputFiles()
    outputs.claim(tmp_path / "a.json")
    with pytest.raises(UsageError, match="named twice"):
        outputs.claim(tmp_path / "." / "a.json")
    outputs.write_text(tmp_path / "a.json", "first")
    with pytest.raises(UsageError, match="already written"):
        outputs.write_text(tmp_path / "a.json", "second")
    assert (tmp_path / "a.json").read_text() == "first"


def test_without_overwrite_what_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    for outputs in (OutputFiles(), OutputFiles(overwrite=False)):
        with pytest.raises(UsageError, match="is there already; replace it with --overwrite"):
            outputs.claim(path)
        with pytest.raises(UsageError, match="is there already; replace it with --overwrite"):
            outputs.write_text(path, "new")
    with pytest.raises(UsageError, match="overwrite=True"):
        OutputFiles(option="overwrite=True").claim(path)
    assert path.read_text() == "old"
    with pytest.raises(UsageError, match=r"is there already \(a store\); replace it with --force"):
        check_replaceable(path, overwrite=False, description="a store", option="--force")
    OutputFiles(overwrite=True).write_text(path, "new")
    assert path.read_text() == "new"


def test_a_file_that_appears_while_another_is_written_is_kept(tmp_path: Path) -> None:
    outputs = OutputFiles()
    outputs.claim(tmp_path / "a.json")
    with (
        pytest.raises(DataError, match="written by another program meanwhile"),
        outputs.writing(tmp_path / "a.json") as part,
    ):
        part.write_text("mine")
        (tmp_path / "a.json").write_text("theirs")
    assert (tmp_path / "a.json").read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_without_hard_links_what_is_there_stays_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    OutputFiles().write_text(tmp_path / "a.json", "first")
    assert (tmp_path / "a.json").read_text() == "first"
    with pytest.raises(DataError, match="meanwhile"), replacing(tmp_path / "a.json", keep_existing=True) as part:
        part.write_text("second")
    assert (tmp_path / "a.json").read_text() == "first"


@pytest.mark.parametrize("target", ["notes.txt", "nowhere.txt"])
def test_symlinks_are_not_followed(tmp_path: Path, target: str) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    link = tmp_path / "a.json"
    link.symlink_to(tmp_path / target)
    with pytest.raises(UsageError, match="is there already"):
        OutputFiles().claim(link)
    OutputFiles(overwrite=True).write_text(link, "new")
    assert not link.is_symlink() and link.read_text() == "new"
    assert (tmp_path / "notes.txt").read_text() == "mine" and not (tmp_path / "nowhere.txt").exists()


def test_folders_of_masks_are_not_followed_either(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "film.dog").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="is a symlink"):
        OutputFiles(overwrite=True).check_folder(tmp_path / "film.dog")
    (tmp_path / "elsewhere" / "0.png").write_text("mask")
    with pytest.raises(UsageError, match="holds files already; replace them with --overwrite"):
        OutputFiles().check_folder(tmp_path / "elsewhere")
    OutputFiles(overwrite=True).check_folder(tmp_path / "elsewhere")


def test_long_names_are_written_and_their_leftovers_found(tmp_path: Path) -> None:
    path = tmp_path / f"{'w' * 245}.jsonl"
    OutputFiles().write_text(path, "rows")
    assert path.read_text() == "rows"
    with pytest.raises(KeyboardInterrupt), replacing(path) as part:
        part.write_text("half")
        left = part.with_name(part.name.replace(f"-{os.getpid()}-", "-999999999-"))
        part.rename(left)
        raise KeyboardInterrupt
    assert remove_stale(path) == [left]


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nan|Out of range"):
        OutputFiles().write_json_lines(tmp_path / "rows.jsonl", [{"iou": 1.0}, {"iou": float("nan")}])
    assert list(tmp_path.iterdir()) == []


def test_sources_of_one_name_get_files_of_their_own(tmp_path: Path) -> None:
    outputs = OutputFiles()
    first = outputs.base_name(tmp_path, "photo", "classes", source="/a/photo.png")
    second = outputs.base_name(tmp_path, "photo", "classes", source="/b/photo.jpg")
    assert (first, second[:6]) == ("photo.classes", "photo-")
    assert outputs.base_name(tmp_path, "photo", "classes", source="/a/photo.png") == first
    outputs.write_text(tmp_path / f"{first}.json", json.dumps([{"image": "photo.png", "file_name": "/a/photo.png"}]))
    later = OutputFiles()
    assert later.base_name(tmp_path, "photo", "classes", source="/b/photo.jpg") == second
    assert later.base_name(tmp_path, "photo", "classes", source="/a/photo.png") == first
    video = OutputFiles().base_name(tmp_path, "photo", "classes", source="/a/photo.png", key="video")
    assert video not in (first, second)


@pytest.mark.parametrize("content", ["notes", "[" * 100_000, '{"image": "photo.png"}', "[3]", '{"file_name": 3}'])
def test_files_of_another_kind_take_a_name_too(tmp_path: Path, content: str) -> None:
    (tmp_path / "photo.cup.json").write_text(content)
    assert OutputFiles().base_name(tmp_path, "photo", "cup", source="/a/photo.png") != "photo.cup"


def test_names_that_differ_by_capitals_or_accents_alone_are_told_apart(tmp_path: Path) -> None:
    outputs = OutputFiles()
    stems = ("Photo", "photo", "caf\u00e9", "cafe\u0301", f"photo-{digest('/photo')}")
    names = [outputs.base_name(tmp_path, stem, "cup", source=f"/{stem}") for stem in stems]
    assert len({unicodedata.normalize("NFC", name).casefold() for name in names}) == len(stems)


@given(st.text(min_size=1, max_size=300), st.text(min_size=1, max_size=300))
def test_stems_become_safe_and_stay_apart(first: str, second: str) -> None:
    name = safe_stem(first)
    assert (name == safe_stem(second)) == (first == second)
    assert len(name.encode()) <= 120
    assert not set(name) & set('\n\t\x1b\x7f/\\:*?"<>|')


def test_no_text_takes_the_name_of_detections() -> None:
    assert slug("classes") != DETECTIONS


def test_a_folder_is_whole_or_absent_and_replaced_only_if_asked(tmp_path: Path) -> None:
    path = tmp_path / "models" / "mine"
    with pytest.raises(ZeroDivisionError), new_folder(path) as made:
        (made / "half").touch()
        raise ZeroDivisionError
    assert list(path.parent.iterdir()) == []
    with new_folder(path) as made:
        (made / "first").touch()
    with pytest.raises((DataError, MachineError)), new_folder(path) as made:
        (made / "second").touch()
    assert [file.name for file in path.iterdir()] == ["first"]
    with new_folder(path, replace=True) as made:
        (made / "third").touch()
    assert [file.name for file in path.iterdir()] == ["third"] and list(path.parent.iterdir()) == [path]


def test_results_are_written_through_the_one_writer() -> None:
    package = Path(risctl.__file__).parent
    direct = {
        str(file.relative_to(package))
        for file in package.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "risctl.files"
        if any(alias.name == "replacing" for alias in node.names)
    }
    assert direct <= {"output_files.py", *STATE, *CLAIMED}


GUARDS = ("OutputFiles", "claim_outputs", "claim")


def test_every_guard_of_a_command_is_told_whether_to_overwrite() -> None:
    commands = Path(risctl.__file__).parent / "cli"
    calls = [
        (file.name, node)
        for file in commands.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in GUARDS
    ]
    untold = [
        f"{name}:{node.lineno}"
        for name, node in calls
        if getattr(getattr(node.func, "value", None), "id", "") != "outputs"  # of a guard that was told
        if not (isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Call))
        if all(keyword.arg != "overwrite" for keyword in node.keywords)
    ]
    assert len(calls) > 20 and untold == []


def test_a_folder_of_many_files_is_not_listed_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1100):
        (tmp_path / f"{number}.txt").touch()
    listings = 0
    whole = os.listdir

    def counted(folder: Path) -> list[str]:
        nonlocal listings
        listings += 1
        return whole(folder)

    monkeypatch.setattr(os, "listdir", counted)
    for number in range(40):
        with replacing(tmp_path / f"new-{number}.txt") as part:
            part.write_text("new")
    assert listings == 1
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "late.txt") as part:
        part.write_text("half")
        left = part.rename(part.with_name(part.name.replace(f"-{os.getpid()}-", "-999999999-")))
        raise KeyboardInterrupt
    for _ in range(1100):  # as many files later it is listed again, and what a dead writer left is found
        remove_stale(tmp_path / "late.txt")
    assert not left.exists() and listings == 2
