"""Every figure of docs/results.md says how it was measured: protocol, sample, command and day."""

from __future__ import annotations

import datetime
import re
import shlex
from pathlib import Path

import pytest

from risctl.cli.app import SUBCOMMANDS
from risctl.cli.eval import classes
from risctl.metrics.protocols import PROTOCOLS, VIDEO_PROTOCOLS

REPOSITORY = Path(__file__).resolve().parents[1]
HEAD = ["figures", "protocol", "sample, and how it was chosen", "command", "measured"]
NOT_COMPARED = ("none; ", "lines with code")
SAME = re.compile(r"(all )?the (same|1,388)\b")
MEASURES = ("P@.5", "IoU", "share", "equal", "chosen box", "J&F", "head noun", "accuracy")


def sections(page: str) -> dict[str, str]:
    """Returns the text below each heading, without that of headings within it."""
    found = re.split(r"^##+ (.+)\n", page, flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def problems_of(page: str, *, today: datetime.date) -> list[str]:
    """Returns what the tables of a page lack."""
    found = []
    for title, text in sections(page).items():
        lines = text.strip().splitlines()
        if not re.search(r"\d", text):
            continue
        if not lines or cells(lines[0]) != HEAD:
            found.append(f"{title}: has figures, and does not begin with the table of {', '.join(HEAD)}")
            continue
        rows = [cells(line) for line in lines[2 : next((n for n, one in enumerate(lines) if not one), len(lines))]]
        if not rows:
            found.append(f"{title}: its table has no row")
        for row in rows:
            found += [f"{title}: {row[0]}: {problem}" for problem in _row_problems(row, today)]
    return found


def _row_problems(row: list[str], today: datetime.date) -> list[str]:
    if len(row) != len(HEAD) or not all(row):
        return ["a cell is missing or empty"]
    _, protocol, sample, command, day = row
    found = []
    named = set(re.findall(r"`(\w+)`", protocol))
    known = {*PROTOCOLS, *VIDEO_PROTOCOLS, *classes.PROTOCOLS}
    if named - known:
        found.append(f"no protocol is named {', '.join(sorted(named - known))}")
    states = named or protocol.startswith(NOT_COMPARED) or any(word in protocol for word in MEASURES)
    if not (states or SAME.match(protocol)):
        found.append("names no protocol and does not say what is measured")
    if not (re.search(r"\d", sample) or SAME.match(sample) or "all" in sample):
        found.append("does not say how large the sample is")
    programs = re.findall(r"`([^`]+)`", command)
    if not (programs or SAME.match(command)):
        found.append("has no command")
    for program in programs:
        found += _program_problems(shlex.split(program))
    try:
        if not datetime.date(2026, 11, 1) <= datetime.date.fromisoformat(day) <= today:
            found.append(f"{day} is not a day on which this was measured")
    except ValueError:
        found.append(f"{day} is not a date (2026-11-30)")
    return found


def _program_problems(words: list[str]) -> list[str]:
    if words[0] == "python" and not (REPOSITORY / words[1]).is_file():
        return [f"there is no {words[1]}"]
    if words[0] == "risctl" and words[1] not in SUBCOMMANDS:
        return [f"risctl has no subcommand {words[1]}"]
    return []


def test_every_figure_says_how_it_was_measured() -> None:
    page = (REPOSITORY / "docs" / "results.md").read_text(encoding="utf-8")
    assert len(sections(page)) > 15
    # A page that is built in another time zone may be a day ahead.
    assert problems_of(page, today=datetime.date.today() + datetime.timedelta(days=1)) == []


GOOD = """# Results

## Speed

| figures | protocol | sample, and how it was chosen | command | measured |
|---|---|---|---|---|
| all | `original` | all 90 expressions | `python benchmarks/mini.py mini` | 2026-11-30 |

The mIoU is 47.
"""


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("", "", None),
        ("2026-11-30", "", "empty"),
        ("2026-11-30", "yesterday", "is not a date"),
        ("2026-11-30", "2031-01-01", "not a day"),
        ("`original`", "", "empty"),
        ("`original`", "`orignal`", "no protocol"),
        ("`original`", "as usual", "names no protocol"),
        ("all 90 expressions", "some pictures", "how large"),
        ("benchmarks/mini.py", "benchmarks/gone.py", "there is no benchmarks/gone.py"),
        ("`python benchmarks/mini.py mini`", "by hand", "has no command"),
        ("`python benchmarks/mini.py mini`", "`risctl evaluate`", "no subcommand evaluate"),
        ("| all | `original` | all 90 expressions | `python benchmarks/mini.py mini` | 2026-11-30 |\n", "", "no row"),
        ("| figures |", "| what |", "does not begin with the table"),
    ],
)
def test_a_figure_that_does_not_say_so_is_found(old: str, new: str, problem: str | None) -> None:
    found = problems_of(GOOD.replace(old, new), today=datetime.date(2026, 12, 1))
    assert (len(found) == 1 and problem in found[0]) if problem else found == []
