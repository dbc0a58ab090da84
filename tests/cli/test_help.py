"""The command line's manners: fast help in groups, an example under each command, completion, exit codes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer

import risctl
from risctl.cli.app import EPILOG, SUBCOMMANDS, LazyGroup, app

HEAVY = {
    "accelerate",
    "h5py",
    "huggingface_hub",
    "numpy",
    "PIL",
    "pycocotools",
    "pydantic",
    "safetensors",
    "scipy",
    "spacy",
    "torch",
    "torchvision",
    "transformers",
    "yaml",
}


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with its path, groups left out."""
    group = group or typer.main.get_command(app)
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.load(name) if isinstance(group, LazyGroup) else group.get_command(context, name)
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands())
GROUPS = {path[:-1] for path in COMMANDS if len(path) > 1}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "risctl", *arguments],
        env={**os.environ, "COLUMNS": "100", "TERM": "dumb", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("path", [(), *sorted(GROUPS), ("train",), ("predict",), ("doctor",)])
def test_help_imports_nothing_heavy(path: tuple[str, ...]) -> None:
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "risctl", *path, "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in ran.stderr.splitlines() if "|" in line}
    assert "typer" in imported
    # Below the top level, Typer itself takes pydantic to read options, where it is installed.
    assert not imported & (HEAVY - {"pydantic"} if path else HEAVY)


def test_the_top_level_help_imports_no_subcommand() -> None:
    code = "import sys, risctl.cli.app; print(*(name for name in sys.modules if name.startswith('risctl.')))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert set(ran.stdout.split()) == {"risctl.cli", "risctl.cli.app", "risctl.errors", "risctl.interrupts"}


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_the_top_level_help_lists_what_a_subcommand_says_of_itself(name: str) -> None:
    assert SUBCOMMANDS[name].help == LazyGroup.load(name).help.partition("\n\n")[0]


def test_help_is_grouped_in_the_order_of_the_work() -> None:
    text = run("--help").stdout
    wanted = [
        "Workflow",
        "prepare",
        "train",
        "eval",
        "predict",
        "Recipes and published weights",
        "recipes",
        "Maintenance",
        "doctor",
    ]
    lines = [line.strip("│╭─╮ ").split("─")[0].strip() for line in text.splitlines()]
    places = [
        next(i for i, line in enumerate(lines) if line == word or line.startswith(f"{word}  ")) for word in wanted
    ]
    assert places == sorted(places)
    assert " ".join(EPILOG.split()) in " ".join(text.split())


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_says_what_it_does_and_shows_an_example(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    assert command.help
    assert command.epilog
    assert command.epilog.startswith("Example: ")
    assert " ".join(("risctl", *path)) in command.epilog


def test_a_short_help_option_stands_everywhere() -> None:
    for path in ((), ("recipes",), ("recipes", "show")):
        assert run(*path, "-h").stdout.lstrip().startswith("Usage: risctl")


def test_version() -> None:
    assert run("--version").stdout == f"risctl {risctl.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("no-such-command",), 2),
        (("recipes", "show"), 2),
        (("recipes", "ls", "--no-such-option"), 2),
        (("recipes", "cp", "no-such-recipe"), 2),
        (("recipes", "validate", "no-such-recipe"), 3),
        (("recipes", "ls"), 0),
    ],
)
def test_exit_codes(arguments: tuple[str, ...], code: int) -> None:
    ran = run(*arguments)
    assert ran.returncode == code
    assert "Traceback" not in ran.stderr
    assert bool(ran.stdout) == (code == 0)


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_ends_the_command_and_what_it_started(
    tmp_path: Path, number: signal.Signals, code: int, word: str
) -> None:
    # A torch that takes a minute to import, so that the interrupt finds `doctor` waiting for the answers.
    (tmp_path / "torch.py").write_text(
        "import os, pathlib, time\npathlib.Path(os.environ['MARKS'], str(os.getpid())).touch()\ntime.sleep(60)\n",
        encoding="utf-8",
    )
    marks = tmp_path / "marks"
    marks.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "risctl", "doctor", "--full"],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "MARKS": str(marks)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A background job of a shell ignores Ctrl-C, and so do its children, unless told otherwise.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while len(list(marks.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, "")
    assert "Traceback" not in err
    assert err.splitlines()[-1] == f"error: {word}"
    for mark in marks.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(mark.name), 0)


def complete(line: str) -> list[str]:
    """What bash would be offered for the last word of `line`."""
    words = line.split(" ")
    ran = run(_RISCTL_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1))
    return ran.stdout.split()


def test_shell_completion_offers_commands_options_and_recipes() -> None:
    assert complete("risctl rec") == ["recipes"]
    assert complete("risctl recipes val") == ["validate"]
    assert "--device" in complete("risctl train --d")
    assert complete("risctl train vlt-s") == ["vlt-scenes"]
    assert complete("risctl recipes show vlt-refcocog") == ["vlt-refcocog"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(shell: str) -> None:
    ran = run("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert ran.returncode == 0
    assert "_RISCTL_COMPLETE" in ran.stdout
