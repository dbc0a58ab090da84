"""Results are the same bytes in a terminal, a pipe and a file; nothing of the data commands the terminal."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import Ran, Run
from helpers.made_rows import write_rows
from helpers.terminal import Screen, stderr_on
from helpers.tiny import tiny_dataset, tiny_store
from helpers.tiny_zsi import tiny_zsi
from PIL import Image

import risctl as package
from risctl.cli import console
from risctl.data.store.writer import write_store

pytestmark = pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals")

ESCAPE = "\x1b[2Jred\x9b31m\x07"
BAR = "━".encode()


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    """A terminal for stderr."""
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "TTY_INTERACTIVE", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    yield Screen()


@pytest.fixture
def files(tmp_path: Path, tiny_checkpoint: Path) -> Path:
    """Whatever the commands below read."""
    (tmp_path / "pictures").mkdir()
    for name in ("a", "b"):
        pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{name}.png")
    (tmp_path / "data").mkdir()
    tiny_store(tmp_path / "data")
    tiny_zsi(tmp_path)
    (tmp_path / "vlt").symlink_to(tiny_checkpoint)
    write_rows(tmp_path / "first.jsonl", [2, 4, 6, 8] * 5)
    write_rows(tmp_path / "second.jsonl", [4, 6, 8, 2] * 5)
    return tmp_path


COMMANDS = [
    "predict pictures cup left -m vlt",
    "predict pictures --classes zebra,cup -m zsi.safetensors --min-score 0",
    "eval -m vlt --data data/tiny.h5 --split val",
    "visualize data data/tiny.h5 --out sheet.png",
    "compare first.jsonl second.jsonl",
    "data ls",
    "data stats data/tiny.h5",
    "data show data/tiny.h5 -n 3",
    "data format",
    "prepare verify data/tiny.h5",
    "recipes ls",
    "recipes show vlt-scenes",
    "recipes validate vlt-scenes",
    "cache ls",
    "cache gc --dry-run",
]


def in_terminal(risctl: Run, screen: Screen, *arguments: object) -> tuple[Ran, bytes]:
    """Run a command with its stderr a terminal; what it said there comes apart."""
    with stderr_on(screen):
        ran = risctl(*arguments)
    return ran, screen.written()


def without_times(text: str) -> str:
    return re.sub(r"[\d.]+ s on cpu \([\d.]+", "", text)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_result_is_the_same_in_a_terminal_with_progress(
    risctl: Run, screen: Screen, files: Path, command: str
) -> None:
    piped = risctl(*command.split())
    shutil.rmtree("predictions", ignore_errors=True)
    Path("sheet.png").unlink(missing_ok=True)
    shown, said = in_terminal(risctl, screen, *command.split())
    assert piped.code == shown.code == 0, piped.err
    assert piped.out and without_times(shown.out) == without_times(piped.out)
    if command.startswith("predict"):
        assert BAR in said and b"\t" not in said
        assert all(line.count("\t") == 3 for line in shown.out.splitlines())


def test_a_result_on_the_screen_stands_on_lines_of_its_own(
    risctl: Run, screen: Screen, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both streams on one narrow screen: no line is wrapped, no tab becomes spaces, and the bar is taken away first."""
    monkeypatch.setenv("COLUMNS", "30")
    out = io.TextIOWrapper(io.FileIO(os.dup(screen.terminal), "w"), encoding="utf-8", write_through=True)
    monkeypatch.setattr(sys, "stdout", out)
    with stderr_on(screen):
        ran = risctl(*COMMANDS[0].split())
    out.close()
    said = screen.written()
    assert ran.code == 0 and BAR in said
    lines = [line for line in said.split(b"\n") if b"\t" in line]
    assert len(lines) == 4 and all(line.endswith(b".mask.png") for line in lines)
    for line in lines:  # the bar's line is erased, and the cursor at its beginning, before the phrase stands there
        _, erase, text = line.rpartition(b"\x1b[2K")
        assert erase and BAR not in text and text.split(b"\t")[0] in (b"cup", b"left")


def test_only_the_console_writes_to_stdout() -> None:
    """Every other way round it would be a result that is wrapped, dropped or raw in a terminal."""
    folder = Path(package.__file__).parent
    for file in folder.rglob("*.py"):
        name = file.relative_to(folder).as_posix()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "print" or name == "cli/console.py", f"{name}:{node.lineno} prints"
                assert node.func.id not in ("Progress", "Live", "Console") or name == "cli/console.py", name
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sys":
                assert node.attr != "stdout" or name in ("cli/console.py", "cli/streams.py", "cli/app.py"), name


def test_a_name_in_a_store_commands_no_terminal(risctl: Run, screen: Screen, tmp_path: Path) -> None:
    dataset = tiny_dataset()
    dataset.name = ESCAPE
    dataset.categories = {1: f"box{ESCAPE}"}
    (tmp_path / "data").mkdir()
    write_store(dataset, tmp_path / "data" / "s.h5")
    for command in ("data stats data/s.h5", "data show data/s.h5", "data ls", "prepare verify data/s.h5"):
        ran = risctl(*command.split())
        assert ran.code == 0, ran.err
        assert not set(ran.out + ran.err) & set("\x1b\x9b\x07"), command
    assert "\\x1b[2Jred\\x9b31m\\x07" in risctl("data", "stats", "data/s.h5").out
    told = json.loads(risctl("data", "stats", "data/s.h5", "--json").out)
    assert told["name"] == ESCAPE


def test_a_file_name_commands_no_terminal(risctl: Run, screen: Screen, tmp_path: Path, tiny_checkpoint: Path) -> None:
    """Names of pictures, of files that are refused, phrases and keys; also where the progress bar names them."""
    image = Image.fromarray(np.zeros((40, 50, 3), dtype=np.uint8))
    image.save(tmp_path / f"{ESCAPE}.png")
    (tmp_path / f"bad{ESCAPE}\n.png").write_bytes(b"nothing")
    ran = risctl("predict", "*.png", f"cup{ESCAPE}", "--always", "-m", tiny_checkpoint, "--device", "cpu")
    assert ran.code == 4 and len(ran.out.splitlines()) == 1 and len(ran.out.split("\t")) == 4
    for arguments in (
        ("recipes", "validate", "vlt-scenes", f"optim.{ESCAPE}=3"),
        ("recipes", "validate", f"{ESCAPE}.yaml"),
        ("recipes", "ls", ESCAPE),
        ("data", "stats", f"{ESCAPE}.h5"),
        (ESCAPE,),
        (f"--{ESCAPE}",),
    ):
        refused = risctl(*arguments)
        assert refused.code != 0 and refused.err
        assert not set(ran.out + ran.err + refused.out + refused.err) & set("\x1b\x9b\x07")
    with console.counting(ESCAPE):
        pass


def test_a_progress_label_is_no_markup(screen: Screen) -> None:
    with stderr_on(screen):
        assert list(console.progress([1], label=f"[/red]{ESCAPE}")) == [1]
        console.say(":cup: [red]x[/red]")
    said = screen.written()
    assert b"[/red]\\x1b[2Jred\\x9b31m\\x07" in said and b":cup: [red]x[/red]" in said


def test_lines_are_one_each(risctl: Run, tmp_path: Path) -> None:
    (tmp_path / "two\nlines.jsonl").write_text("nothing\n")
    ran = risctl("data", "check", "two\nlines.jsonl")
    assert ran.code == 4 and ran.out and all(line.startswith("two\\nlines.jsonl") for line in ran.out.splitlines())


def test_cells_keep_their_columns() -> None:
    assert console.line_of(["a\tb", "c\nd", "e\x1bf", "熊"]) == "a\\tb\tc\\nd\te\\x1bf\t熊"
    assert console.table([["a\tb", "x"], ["c", "y"]]) == "a\\tb  x\nc     y"


def test_what_an_encoding_lacks_is_replaced_and_what_follows_still_comes(
    risctl: Run, tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(np.zeros((40, 50, 3), dtype=np.uint8)).save(tmp_path / "p.png")
    for encoding in ("cp1252", "ascii"):
        for more in ((), ("--json",)):
            out = io.BytesIO()
            monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding=encoding, errors="strict"))
            options = ("--always", "-m", tiny_checkpoint, *more)
            shutil.rmtree("predictions", ignore_errors=True)
            ran = risctl("predict", "p.png", "the 熊", "é 😀", "cup", *options)
            assert ran.code == 0, ran.err
            text = out.getvalue().decode(encoding)
            if more:
                assert [one["text"] for one in json.loads(text)] == ["the 熊", "é 😀", "cup"]
            else:
                first, second, third = (line.split("\t")[0] for line in text.splitlines())
                assert (first, third) == ("the \\u718a", "cup")
                assert second == ("é" if encoding == "cp1252" else "\\xe9") + " \\U0001f600"
