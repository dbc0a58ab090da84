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
from types import ModuleType

import pytest
from helpers.browser import Browser, find_chromium
from helpers.published_lavt import published_file

from risctl.cli.app import SUBCOMMANDS
from risctl.metrics.protocols import PROTOCOLS
from risctl.models.registry import MODELS

REPOSITORY = Path(__file__).resolve().parents[1]
SITE = REPOSITORY / "build" / "site"
NOTEBOOKS = sorted((REPOSITORY / "docs" / "notebooks").glob("*.ipynb"))
PAGES = [page for kind in ("tutorials", "how-to") for page in sorted((REPOSITORY / "docs" / kind).glob("*.md"))]

ALL_PAGES = sorted((REPOSITORY / "docs").rglob("*.md"))
RUN = {*PAGES, REPOSITORY / "docs" / "guide.md"}
"""The pages whose blocks are run as they are printed: here, and by tests/test_readme.py."""

COMMAND = re.compile(r"(risctl|pip|pipx|uv|conda|docker|python3?|torchrun|accelerate|hf|#!|#SBATCH)\b")
BLOCK = re.compile(
    r"^( *)(?:<!-- (?P<mark>[^\n]*) -->\n *)?```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^ *```", re.DOTALL | re.MULTILINE
)

# All elements that a selector finds in a root and in the shadow roots below it, where the theme keeps its search.
EVERYWHERE = """(function find(root, selector) {
  const below = [...root.querySelectorAll('*')].filter((one) => one.shadowRoot);
  return [...root.querySelectorAll(selector), ...below.flatMap((one) => find(one.shadowRoot, selector))];
})"""


def build_site() -> ModuleType:
    """Returns the program tools/build_site.py as a module."""
    spec = importlib.util.spec_from_file_location("build_site", REPOSITORY / "tools" / "build_site.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
    formats = (site / "reference" / "file-formats.html").read_text(encoding="utf-8")
    assert "sentences/tokens/offsets" in formats and "previous.safetensors" in formats and "sent_index" in formats
    models = (site / "reference" / "models.html").read_text(encoding="utf-8")
    assert not [name for name in MODELS if f"<code>{name}</code>" not in models]
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


def test_links_of_built_pages_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "index.html").write_text(
        '<h2 id="here">x</h2><a href="#here">a</a> <a href="sub/b.html#there">b</a> <a class=x href=sub/c.html>c</a>'
        '<a href="sub/b.html#gone">d</a><img src="no.png"><a href="https://example.org/x">e</a>'
    )
    (tmp_path / "sub" / "b.html").write_text('<p id=there>y</p><a href="../index.html#none">f</a>')
    assert build_site().dead_links(tmp_path) == [
        "index.html: sub/c.html",
        "index.html: sub/b.html#gone",
        "index.html: no.png",
        "sub/b.html: ../index.html#none",
    ]


@pytest.mark.parametrize("page", ALL_PAGES, ids=[str(page.relative_to(REPOSITORY / "docs")) for page in ALL_PAGES])
def test_commands_are_run_or_say_why_not(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    unmarked = []
    for block in BLOCK.finditer(text):
        run = page in RUN and block["language"] in ("sh", "python")
        says_why = (block["mark"] or "").startswith("needs: ")
        if not (run or says_why) and any(COMMAND.match(line.strip()) for line in block["text"].splitlines()):
            unmarked.append(block["text"])
    assert not unmarked, "run it, or write <!-- needs: … --> above it"
    prose = BLOCK.sub("", text)
    assert not [line for line in prose.splitlines() if line.startswith("    ") and COMMAND.match(line.strip())]


def test_every_page_is_in_the_navigation() -> None:
    listed = (REPOSITORY / "zensical.toml").read_text(encoding="utf-8")
    pages = [str(page.relative_to(REPOSITORY / "docs")) for page in sorted((REPOSITORY / "docs").rglob("*.md"))]
    assert not [page for page in pages if f'"{page}"' not in listed]


def test_every_extra_is_in_the_table() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (REPOSITORY / "docs" / "how-to" / "install.md").read_text(encoding="utf-8")
    table = "".join(line for line in page.splitlines() if line.startswith("|"))
    assert not [name for name in project["optional-dependencies"] if f"`{name}`" not in table]


def write_published_lavt(folder: Path) -> None:
    """Writes what the page about a paper's row would download: a file of the published form, with random numbers."""
    import torch

    letters = [*"abcdefghijklmnopqrstuvwxyz", *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    torch.save(published_file(vocabulary=len(words)), folder / "refcoco.pth")


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_a_page_runs_as_printed(
    page: Path, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    import test_readme

    monkeypatch.setenv("COUNT", "12")
    (tmp_path / "docs").symlink_to(REPOSITORY / "docs")
    refer = request.getfixturevalue("refer_mini") if "path/to/refer" in page.read_text(encoding="utf-8") else ""
    if "stand-ins" in page.read_text(encoding="utf-8"):
        write_published_lavt(tmp_path)
    for block in test_readme.blocks(str(page.relative_to(REPOSITORY))):
        runs = not block.mark.startswith("needs") or "stand-ins" in block.mark or block.mark == "needs: refer"
        if not runs or block.language == "text":
            continue
        script = test_readme.INSTALLATION.sub("", block.text).replace("path/to/refer", str(refer))
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
