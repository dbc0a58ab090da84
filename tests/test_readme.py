"""Every command that the README and the guide print is run, in their order, in one folder.

Two things differ from what a reader does: the installation is the one under test, and trainings take three steps.
Blocks marked `<!-- needs: … -->` run where the thing is to be had.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

INSTALLATION = re.compile(r"^python3 -m venv \.venv && \. \.venv/bin/activate && pip install \S+ *(\\\n *)?(&& )?")


@dataclass(frozen=True)
class Block:
    """A fenced block of the README: its language, its text, and the comment right above it ('' if none)."""

    language: str
    text: str
    mark: str


def blocks(page: str = "README.md") -> list[Block]:
    """Returns the fenced blocks of a page in order."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    found = re.findall(r"(?:<!-- ([^\n]*) -->\n)?```(\w+)\n(.*?)```", text, flags=re.DOTALL)
    return [Block(language=language, text=body, mark=mark) for mark, language, body in found]


def shortened(command: str) -> str:
    """Return the command with three steps for each training."""
    command = re.sub(r"train\.(epochs|max_steps)=\d+ ?", "", command)
    training = r"(risctl train (?!.*--dry-run)[^\n&]*?)(?=( \\)?$|\n| &&)"
    command = re.sub(training, r"\1 train.max_steps=3", command, flags=re.MULTILINE)
    return re.sub(r"(--resume .*)max_steps=3", r"\1max_steps=5", command)


def run(script: str, *, folder: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"


def test_the_readme_and_the_guide_run_as_printed(tmp_path: Path, refer_mini: Path) -> None:
    (tmp_path / "docs").symlink_to(REPOSITORY / "docs")
    ran = 0
    for block in (*blocks(), *blocks("docs/guide.md")):
        if block.mark == "command: tests" or (block.mark.startswith("needs: ") and block.mark != "needs: refer"):
            continue
        if block.language == "python":
            (tmp_path / "tour.py").write_text(block.text, encoding="utf-8")
            run("python tour.py", folder=tmp_path)
        else:
            script = INSTALLATION.sub("", block.text).replace("path/to/refer", str(refer_mini))
            run(shortened(script), folder=tmp_path)
        ran += 1
    assert ran >= 10
    for name in (
        "out/first/coffee.the-spoon.mask.png",
        "runs/tour/last.safetensors",
        "out/report.html",
        "data/refcoco_unc.h5",
    ):
        assert (tmp_path / name).is_file(), name
    assert len(list((tmp_path / "out" / "tour").glob("*.mask.png"))) == 2


@pytest.mark.parametrize("mark", ["command: main", "command: tests"])
def test_both_commands_begin_with_a_new_environment(mark: str) -> None:
    (block,) = [one for one in blocks() if one.mark == mark]
    assert INSTALLATION.match(block.text)


def test_ci_runs_the_second_command() -> None:
    assert "<!-- command: tests -->" in (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")


def test_the_readme_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "docs/guide.md", "docs/architecture.md", "docs/results.md"]
)
def test_links_lead_to_files_of_the_repository(page: str) -> None:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert not [link for link in links if not ((REPOSITORY / page).parent / link).exists()]
