"""`risctl compare`, run as a program: its text, its reports, what it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import Run
from helpers.made_rows import write_rows

BEFORE = np.random.default_rng(0).integers(2, 8, size=80).tolist()
AFTER = [share + 2 * (key % 2) for key, share in enumerate(BEFORE)]


@pytest.fixture
def rows(tmp_path: Path) -> list[Path]:
    """Rows of two runs, the second better at what asks for a place; its texts hold signs of HTML and Markdown."""
    text = "<b>cup</b> | *&amp;"
    return [
        write_rows(tmp_path / f"{name}.jsonl", shares, text=text, checkpoint=name * 64)
        for name, shares in (("a", BEFORE), ("b", AFTER))
    ]


@pytest.fixture
def compare(risctl: Run) -> Run:
    return partial(risctl, "compare")


def test_text_tells_figures_changes_and_flips(compare: Run, rows: list[Path]) -> None:
    code, out, _ = compare(*rows, "--flips", 2)
    assert code == 0
    lines = out.splitlines()
    assert any(
        line.split()[:4] == ["mIoU", f"{10 * np.mean(BEFORE):.2f}", f"{10 * np.mean(AFTER):.2f}", "+10.00"]
        for line in lines
    )
    [place] = [line for line in lines if line.startswith("  Ability: place")]
    assert "+20.00" in place and place.endswith("*")
    assert not any(line.startswith("  Ability: colour") for line in lines)
    won = sum(share < 5 <= after for share, after in zip(BEFORE, AFTER, strict=True))
    assert f"flipped at IoU 0.5: {won} samples, of which B won {won} and lost 0" in out
    assert f"only B is right (2 of {won}):" in out
    assert "cup</b> | *&amp; left" in out
    assert f"(checkpoint {'b' * 12})" in out


def test_json_has_all_of_several_runs(compare: Run, rows: list[Path]) -> None:
    code, out, err = compare(*rows, rows[0], "--json", "--quiet", "--protocol", "lavt")
    told = json.loads(out)
    assert (code, err, told["protocol"]) == (0, "", "lavt")
    assert [one["run"]["rows"] for one in told["against"]] == [str(rows[1]), str(rows[0])]
    assert {one["difference"] for one in told["against"][1]["figures"].values()} == {0}


def test_reports_are_written(compare: Run, rows: list[Path], tmp_path: Path) -> None:
    code, _, _ = compare(*rows, "--report", "c.md", "--report", "c.html", "--report", "c.json")
    assert code == 0
    told = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))
    first = told["against"][0]["flips"]["won"][0]
    markdown = (tmp_path / "c.md").read_text(encoding="utf-8")
    assert "## B against A" in markdown and "Ability: place" in markdown
    ids = " | ".join(str(first[name]) for name in ("sample", "image_id", "ref_id"))
    assert f"| {ids} | \\<b>cup\\</b> \\| \\*\\&amp; left" in markdown
    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;cup&lt;/b&gt; | *&amp;amp; left" in page and "<b>cup" not in page


def test_several_runs_stand_side_by_side(compare: Run, rows: list[Path], tmp_path: Path) -> None:
    shares = [max(share - 1, 0) for share in BEFORE]
    third = write_rows(tmp_path / "<third>.jsonl", shares, text="<b>cup</b> | *&amp;", checkpoint="c" * 64)
    code, out, _ = compare(*rows, third, "--report", "c.html", "--report", "c.md", "--report", "c.json")
    assert code == 0
    told = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))
    figures = [against["figures"]["mIoU"] for against in told["against"]]
    own = f"{10 * np.mean(BEFORE):.2f}"
    beside = [f"{one['after']:.2f} ({one['difference']:+.2f}*)" for one in figures]
    assert beside[0].endswith("(+10.00*)") and figures[1]["difference"] == pytest.approx(-10)
    assert ["mIoU", own, *" ".join(beside).split()] in [line.split() for line in out.splitlines()]
    place, colour = (
        [part for against in told["against"] for part in against["breakdowns"] if part["group"] == group]
        for group in ("place", "colour")
    )
    lines = [line.split() for line in out.splitlines()]
    for group, parts in (("place", place), ("colour", colour)):
        star = ["*" if part["significant"] else "" for part in parts]
        cells = [f"{part['after']:.2f} ({part['difference']:+.2f}{at})" for part, at in zip(parts, star, strict=True)]
        before = f"{parts[0]['before']:.2f}"
        assert [group, f"{parts[0]['samples']}", "mIoU", before, *" ".join(cells).split()] in lines
    markdown = (tmp_path / "c.md").read_text(encoding="utf-8").replace("\\", "")
    assert "## All runs" in markdown and f"| mIoU | {own} | {beside[0]} | {beside[1]} |" in markdown
    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    section = page[page.index('id="all-runs"') - 200 : page.index('id="run-B"')]
    assert "C &lt;third&gt;" in section and "<third>" not in page
    for one in (*figures, *place, *colour):
        assert f"{one['after']:.2f}<br>" in section and f"({one['low']:+.2f} to {one['high']:+.2f})</span>" in section
    assert compare(*rows, "--report", "two.html").code == 0
    assert "all-runs" not in (tmp_path / "two.html").read_text(encoding="utf-8")


def test_a_browser_filters_and_sorts_the_page(compare: Run, rows: list[Path], tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on the PATH")
    compare(*rows, "--report", "c.html")
    told = json.loads(compare(*rows, "--json")[1])
    page = tmp_path / "c.html"
    # The page's policy runs no other script, so what a reader does is added to a copy without the policy.
    driven = tmp_path / "driven.html"
    act = """
      const box = document.getElementById("filter-B");
      box.value = "LEFT 71"; box.dispatchEvent(new Event("input"));
      const only = document.getElementById("changed-B");
      only.checked = true; only.dispatchEvent(new Event("change"));
      [...document.querySelectorAll("#parts-B th button")].find((one) => one.textContent === "B - A").click();
      const parts = [...document.querySelectorAll("#parts-B tbody tr")];
      document.title = JSON.stringify({
        shown: document.getElementById("filter-B-count").textContent,
        changed: parts.filter((row) => !row.hidden).length,
        order: parts.map((row) => Number(row.cells[5].dataset.value)),
        figures: [...document.querySelectorAll("table.figures tr")].map(
          (row) => row.cells[0].textContent + row.cells[3].textContent),
      });
    """
    source = page.read_text(encoding="utf-8")
    policy = source[source.index('<meta http-equiv="Content-Security-Policy"') :]
    source = source.replace(policy[: policy.index(">") + 1], "")
    driven.write_text(source.replace("</body>", f"<script>{act}</script></body>"), encoding="utf-8")
    options = ("--headless", "--no-sandbox", "--disable-gpu")
    dump = subprocess.run(
        [browser, *options, f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom", driven.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    seen = json.loads(dump[dump.index("<title>") + 7 : dump.index("</title>")])
    against = told["against"][0]
    rows_told = [
        f"{comparison['sample']} {comparison['text']} {comparison['image_id']} {comparison['ref_id']}"
        for comparison in against["flips"]["won"]
    ]
    wanted = [row for row in rows_told if "71" in row]
    assert seen["shown"] == f"{len(wanted)} of {len(rows_told)}" and 0 < len(wanted) < len(rows_told)
    assert seen["changed"] == sum(comparison["significant"] for comparison in against["breakdowns"])
    assert seen["order"] == sorted(seen["order"]) and len(seen["order"]) == len(against["breakdowns"])
    assert "mIoU+10.00" in seen["figures"]


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"split": "test"}, 2, "the split of"),
        ({"threshold": 0.2}, 2, "one threshold"),
        ({"protocols": ("mcn",)}, 2, "none is in all"),
    ],
)
def test_what_differs_is_one_line(
    compare: Run, rows: list[Path], tmp_path: Path, change: dict, code: int, says: str
) -> None:
    other = write_rows(tmp_path / "other.jsonl", BEFORE, text="<b>cup</b> | *&amp;", **change)
    left, out, err = compare(rows[0], other, "--quiet")
    assert (left, out, len(err.strip().splitlines())) == (code, "", 1)
    assert says in err


def test_other_mistakes(compare: Run, rows: list[Path], tmp_path: Path) -> None:
    assert compare(rows[0], "--quiet")[0] == 2
    assert compare(*rows, "--report", "c.pdf")[0] == 2
    assert compare(rows[0], "absent.jsonl")[0] == 2
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n', encoding="utf-8")
    code, _, err = compare(rows[0], "metrics.jsonl", "--quiet")
    assert code == 4 and "line 1: expected a row" in err
