"""The documentation's site: it is built without a warning, loads nothing from elsewhere, and its tutorials run."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.browser import Browser, find_chromium

from risctl.cli.app import SUBCOMMANDS
from risctl.metrics.protocols import PROTOCOLS

REPOSITORY = Path(__file__).resolve().parents[1]
SITE = REPOSITORY / "build" / "site"
NOTEBOOKS = sorted((REPOSITORY / "docs" / "notebooks").glob("*.ipynb"))
PAGES = [page for kind in ("tutorials", "how-to") for page in sorted((REPOSITORY / "docs" / kind).glob("*.md"))]

# All elements that a selector finds in a root and in the shadow roots below it, where the theme keeps its search.
EVERYWHERE = """(function find(root, selector) {
  const below = [...root.querySelectorAll('*')].filter((one) => one.shadowRoot);
  return [...root.querySelectorAll(selector), ...below.flatMap((one) => find(one.shadowRoot, selector))];
})"""


def _wait(done: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not done():
        assert time.monotonic() < end, "waited 60 s for the search"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def site() -> Path:
    if importlib.util.find_spec("zensical") is None or importlib.util.find_spec("mkdocstrings_handlers") is None:
        pytest.skip("needs zensical and mkdocstrings: pip install 'risctl[docs]'")
    command = [sys.executable, str(REPOSITORY / "tools" / "build_site.py")]
    built = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert built.returncode == 0, built.stderr
    assert built.stdout.strip() == str(SITE / "index.html")
    return SITE


def test_the_reference_has_every_command_and_protocol(site: Path) -> None:
    commands = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    assert not [name for name in SUBCOMMANDS if f'id="risctl-{name}"' not in commands]
    assert "Write one JSON line" in commands  # an option's help
    protocols = (site / "reference" / "protocols.html").read_text(encoding="utf-8")
    assert not [name for name in PROTOCOLS if f"<code>{name}</code>" not in protocols]
    keys = (site / "reference" / "recipe.html").read_text(encoding="utf-8")
    assert "optim.schedule.milestones" in keys and "of rela" in keys
    python = (site / "reference" / "python.html").read_text(encoding="utf-8")
    assert "risctl.load" in python and "The predictor, ready for" in python


def test_pages_opened_from_the_disk_are_searched_and_ask_for_nothing_else(site: Path, tmp_path: Path) -> None:
    program = find_chromium()
    if program is None:
        pytest.skip("needs Chromium")
    browser = Browser(program, tmp_path / "profile")
    try:
        browser.prefer("dark")
        browser.open((site / "index.html").as_uri())
        assert browser.ask("document.body.dataset.mdColorScheme") == "slate"
        browser.click(".md-search__button")
        _wait(lambda: browser.ask(f"{EVERYWHERE}(document, 'input[aria-label=Search]').length"))
        browser._call("Input.insertText", text="no_target_threshold")
        links = f"{EVERYWHERE}(document, 'a').map((one) => one.href)"
        _wait(lambda: any("reference/python.html" in link and "#" in link for link in browser.ask(links)))
        with browser.width(360):
            browser.open((site / "reference" / "recipe.html").as_uri())
            assert browser.ask("document.documentElement.scrollWidth") <= 360
        assert not [address for address in browser.requests if not address.startswith(("file:", "data:"))]
        assert not browser.problems
    finally:
        browser.close()


def test_every_page_is_in_the_navigation() -> None:
    listed = (REPOSITORY / "zensical.toml").read_text(encoding="utf-8")
    pages = [str(page.relative_to(REPOSITORY / "docs")) for page in sorted((REPOSITORY / "docs").rglob("*.md"))]
    assert not [page for page in pages if f'"{page}"' not in listed]


def test_every_extra_is_in_the_table() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (REPOSITORY / "docs" / "how-to" / "install.md").read_text(encoding="utf-8")
    table = "".join(line for line in page.splitlines() if line.startswith("|"))
    assert not [name for name in project["optional-dependencies"] if f"`{name}`" not in table]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_a_page_runs_as_printed(page: Path, tmp_path: Path) -> None:
    import test_readme

    (tmp_path / "docs").symlink_to(REPOSITORY / "docs")
    for block in test_readme.blocks(str(page.relative_to(REPOSITORY))):
        if block.mark.startswith("needs") or block.language == "text":
            continue
        script = test_readme.INSTALLATION.sub("", block.text)
        if block.language == "python":
            (tmp_path / "tour.py").write_text(block.text, encoding="utf-8")
            script = "python tour.py"
        if script.strip():
            test_readme.run(test_readme.shortened(script), folder=tmp_path)
    assert not re.search(r"```(?!sh\n|python\n|text\n|\n)", page.read_text(encoding="utf-8"))


def test_no_notebook_says_where_it_was_run() -> None:
    for notebook in NOTEBOOKS:
        text = notebook.read_text(encoding="utf-8")
        assert '"image/jpeg"' in text and '"name": "stderr"' not in text
        assert not re.search(r"/(root|home|tmp|Users)/", text)


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=[notebook.stem for notebook in NOTEBOOKS])
def test_a_notebook_runs(notebook: Path, tmp_path: Path) -> None:
    pytest.importorskip("nbclient", reason="needs nbclient and ipykernel: pip install 'risctl[docs]'")
    pytest.importorskip("ipykernel", reason="needs nbclient and ipykernel: pip install 'risctl[docs]'")
    command = [sys.executable, "-c", "import run_notebooks, sys; from pathlib import Path; "]
    command[2] += "run_notebooks.run(Path(sys.argv[1]), Path(sys.argv[2]))"
    tools = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY / "tools"), os.environ.get("PYTHONPATH", "")])}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [*command, str(notebook), str(tmp_path)],
        env={**tools, "PATH": path},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
