"""The one writer of output files: nothing is replaced that is an input or was written by the same command."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import risctl
from risctl.errors import UsageError
from risctl.output_files import OutputFiles, check_replaceable, slug

# Rooms whose files are asked for by a user; the others keep state (runs, caches, downloads) or write a format.
ROOMS = ("cli", "evaluation", "inference", "visualization", "zeroshot", "environment")


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


def test_an_owner_may_write_its_file_again(tmp_path: Path) -> None:
    outputs = OutputFiles()
    for text in ("first", "second"):
        outputs.write_text(tmp_path / "a.json", text, owner="photo.jpg")
    with pytest.raises(UsageError, match="already written"):
        outputs.write_text(tmp_path / "a.json", "third", owner="other.jpg")
    assert (tmp_path / "a.json").read_text() == "second"


def test_without_overwrite_what_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(UsageError, match="is there already; replace it with --overwrite"):
        OutputFiles(overwrite=False).claim(path)
    with pytest.raises(UsageError, match=r"is there already \(a store\); replace it with --force"):
        check_replaceable(path, overwrite=False, description="a store", option="--force")
    OutputFiles().write_text(path, "new")
    assert path.read_text() == "new"


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nan|Out of range"):
        OutputFiles().write_json_lines(tmp_path / "rows.jsonl", [{"iou": 1.0}, {"iou": float("nan")}])
    assert list(tmp_path.iterdir()) == []


def test_sources_of_one_name_get_files_of_their_own(tmp_path: Path) -> None:
    outputs = OutputFiles()
    first = outputs.base_name(tmp_path, "photo", "classes", source="a/photo.png", key="image")
    second = outputs.base_name(tmp_path, "photo", "classes", source="b/photo.jpg", key="image")
    assert (first, second[:6]) == ("photo.classes", "photo-")
    assert outputs.base_name(tmp_path, "photo", "classes", source="a/photo.png", key="image") == first
    outputs.write_text(tmp_path / f"{first}.json", json.dumps([{"image": "a/photo.png"}]))
    later = OutputFiles()
    assert later.base_name(tmp_path, "photo", "classes", source="b/photo.jpg", key="image") == second
    assert later.base_name(tmp_path, "photo", "classes", source="a/photo.png", key="image") == first


def test_results_are_written_through_the_one_writer() -> None:
    package = Path(risctl.__file__).parent
    direct = [
        str(file.relative_to(package))
        for room in ROOMS
        for file in (package / room).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "risctl.files"
        if any(alias.name == "replacing" for alias in node.names)
    ]
    assert direct == []
