"""Builds the documentation's site into build/site: the reference from the package, then all pages, strictly.

    pip install -e '.[docs]'
    python tools/build_site.py            # open build/site/index.html: no server is needed, search works from the disk

A link to a page or heading that does not exist, or anything that a page would load from elsewhere, ends it with exit
code 1.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path
from urllib.parse import unquote

sys.path.insert(0, str(Path(__file__).resolve().parent))

from site_reference import pages

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCES = REPOSITORY / "build" / "docs"
SITE = REPOSITORY / "build" / "site"

# What the theme loads from elsewhere so that search works in pages opened from the disk; a file of ours does the same.
_OUTSIDE_WORKER = re.compile(r'<script src="https://[^"]*iframe-worker[^"]*"[^>]*></script>')
_LOADED = re.compile(
    r"""<(?:script|img|iframe|source|video|link)\b[^>]*?\b(?:src|href)=["'](?:https?:)?//[^"']+["'][^>]*>"""
)
_LINK = re.compile(r"""<(?:a|img|script|link|source|video)\b[^>]*?\b(?:href|src)="?([^"> ]+)""")
_NAMED = re.compile(r"""<[a-z][^>]*?\bid="?([^"> ]+)""")
_HEAD = re.compile(r"<table>(?=\s*<thead>\s*<tr>\s*<th[^>]*>([\w ]+)</th>)")
_IN_CSS = re.compile(r"""url\(["']?(?:https?:)?//[^)]+\)|@import[^;]*//[^;]+;""")


def main() -> int:
    """Writes the reference, builds the site and checks what it loads. Returns the exit code."""
    _write_sources()
    shutil.rmtree(SITE, ignore_errors=True)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    built = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if built.returncode:
        said = (built.stdout + built.stderr).partition("Traceback")[0]
        print(f"the site has warnings, which end its building:\n{said}", file=sys.stderr)
        return 1
    problems = [f"loaded from elsewhere: {line}" for line in _outside_of_site()]
    problems += [f"leads nowhere: {line}" for line in dead_links(SITE)]
    for line in problems:
        print(line, file=sys.stderr)
    if not problems:
        print(SITE / "index.html")
    return 1 if problems else 0


def _write_sources() -> None:
    """Writes what the site is built from: the pages of docs/, and beside them the reference."""
    shutil.rmtree(SOURCES, ignore_errors=True)
    shutil.copytree(REPOSITORY / "docs", SOURCES)
    for page in SOURCES.glob("*.md"):  # the card is a file of the package, and a page here
        text = page.read_text(encoding="utf-8").replace("(../risctl/models/mini.md)", "(reference/mini.md)")
        page.write_text(text, encoding="utf-8")
    (SOURCES / "reference").mkdir()
    for name, text in pages().items():
        (SOURCES / "reference" / name).write_text(text, encoding="utf-8")


def dead_links(site: Path) -> list[str]:
    """Returns the links of built pages that lead to no file or heading; the generator knows those of Markdown alone."""
    pages = {page: page.read_text(encoding="utf-8") for page in sorted(site.rglob("*.html"))}
    names = {page: {unescape(name) for name in _NAMED.findall(text)} for page, text in pages.items()}
    found = []
    for page, text in pages.items():
        for link in dict.fromkeys(unescape(link) for link in _LINK.findall(text)):
            if page.name == "404.html" or re.match(r"[a-z]+:|//", link):
                continue
            path, _, name = link.partition("#")
            target = (page.parent / unquote(path)).resolve() if path else page
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file() or (name and target in names and unquote(name) not in names[target]):
                found.append(f"{page.relative_to(site)}: {link}")
    return found


def _outside_of_site() -> list[str]:
    """Puts our own worker in place of the theme's, marks tables, and returns what else is loaded from elsewhere."""
    found = []
    for page in sorted(SITE.rglob("*.html")):
        root = "../" * (len(page.relative_to(SITE).parts) - 1)
        text = _OUTSIDE_WORKER.sub(
            f'<script src="{root}assets/file-worker.js"></script>', page.read_text(encoding="utf-8")
        )
        # Its first heading tells the sheet what a table is: some stand as lists on a narrow page.
        text = _HEAD.sub(lambda match: f'<table data-first="{match[1].strip()}">', text)
        page.write_text(text, encoding="utf-8")
        loaded = (match[0] for match in _LOADED.finditer(text))
        found += [f"{page.relative_to(SITE)}: {tag}" for tag in loaded if 'rel="canonical"' not in tag]
    for sheet in sorted(SITE.rglob("*.css")):
        found += [f"{sheet.relative_to(SITE)}: {match[0]}" for match in _IN_CSS.finditer(sheet.read_text("utf-8"))]
    return found


if __name__ == "__main__":
    sys.exit(main())
