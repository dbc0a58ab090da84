"""Standard output that is closed or full, and text that no terminal may obey."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers.command_line import Run
from hypothesis import given
from hypothesis import strategies as st

from risctl.cli.streams import Stderr, escaped, escaped_json
from risctl.errors import EXIT_CODES, ClosedOutputError

RISCTL = [sys.executable, "-m", "risctl"]
CLOSED, FULL = ClosedOutputError.exit_code, 5

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX pipes and devices")


@posix
@pytest.mark.parametrize("command", [["--help"], ["--version"], ["recipes", "schema"]])
def test_a_reader_that_leaves_early_is_one_line_and_its_code(command: list[str]) -> None:
    with subprocess.Popen([*RISCTL, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        told = process.stderr.read()
        assert (told, process.wait(timeout=60)) == ("error: stdout was closed before all was printed\n", CLOSED)


@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("command", ["--help", "data format"])
def test_a_full_stdout_is_one_line_and_its_code(command: str) -> None:
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run([*RISCTL, *command.split()], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (FULL, "error: cannot write the result to stdout: No space left on device\n")


@posix
def test_streams_that_were_closed_before() -> None:
    ran = subprocess.run(
        ["sh", "-c", f"{' '.join(RISCTL)} data format >&-"], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (CLOSED, "")
    assert ran.stderr == "error: stdout is closed; the result has nowhere to go\n"
    ran = subprocess.run(
        ["sh", "-c", f"{' '.join(RISCTL)} recipes validate no-such-recipe <&- 2>&-"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (3, "", "")


def test_the_codes_are_documented() -> None:
    assert CLOSED in EXIT_CODES and FULL in EXIT_CODES


def test_messages_that_cannot_be_shown_end_nothing() -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    stream = Stderr(Full())
    print("a message", file=stream, flush=True)
    assert stream.write("ab") == 2


@given(st.text(st.characters(codec=None), max_size=30))
def test_no_control_character_is_left_and_json_means_the_same(text: str) -> None:
    shown = escaped(text)
    assert shown.isprintable() or not any(one < " " or "\x7f" <= one < "\xa0" for one in shown)
    shown.encode()
    assert escaped(shown) == shown
    for unicode in (True, False):
        written = escaped_json(json.dumps([text], ensure_ascii=unicode))
        written.encode()
        assert json.loads(written) == [text] or json.loads(written)[0].encode("utf-16", "surrogatepass") == text.encode(
            "utf-16", "surrogatepass"
        )
        assert not any(one < " " or "\x7f" <= one < "\xa0" for one in written)


def test_what_stays_and_what_is_written_out() -> None:
    assert escaped("a\tb\n\x1b[0m\x9b\x7f", keep="\n\t") == "a\tb\n\\x1b[0m\\x9b\\x7f"
    assert escaped("a\tb\r\n") == "a\\tb\\r\\n"
    assert escaped(os.fsdecode(b"\xff\x9b.png")) == "\\xff\\x9b.png"
    assert escaped("\u202egnp.exe\u2066") == "\\u202egnp.exe\\u2066"
    assert escaped("é 熊 👩\u200d🚀 \\n") == "é 熊 👩\u200d🚀 \\n"


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (BrokenPipeError(32, "Broken pipe"), 5, "error: Broken pipe\n"),
        (OSError(28, "No space left on device", "a\x1b.h5"), 5, "error: No space left on device: 'a\\x1b.h5'\n"),
        (MemoryError(), 5, "error: not enough memory; `risctl doctor` says how much there is\n"),
        (ValueError("a \x1b[2J mistake"), 1, "ValueError: a \\x1b[2J mistake\n"),
    ],
)
def test_what_nobody_foresaw_is_told_too(
    risctl: Run, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, says: str
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("risctl.cli.console.result", fails)
    ran = risctl("data", "format")
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith("error: ") and says in ran.err and "\x1b" not in ran.err
    assert ("Traceback" in ran.err) == (code == 1)


def test_a_warning_of_a_library_is_one_line(risctl: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("risctl.cli.console.result", lambda *_, **__: warnings.warn("\x1b[2J odd", stacklevel=1))
    assert risctl("data", "format").err == "warning: \\x1b[2J odd\n"


def test_what_a_library_logs_of_a_file_commands_no_terminal(risctl: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def logs(*_: object, **__: object) -> None:
        logging.getLogger("a.library").warning("a model of type %s", "\x1b[2Jevil")

    monkeypatch.setattr("risctl.cli.console.result", logs)
    with caught() as messages:
        assert risctl("data", "format").code == 0
    assert messages == ["a model of type \\x1b[2Jevil"]


@contextmanager
def caught() -> Iterator[list[str]]:
    """Collects what is logged."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("a.library")
    logger.addHandler(handler)
    try:
        yield messages
    finally:
        logger.removeHandler(handler)
