"""The review: which answers it shows, the page in a browser, and its decisions in the rows."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from helpers.browser import Browser
from helpers.colour_labels import label_all, pictures

from risctl.errors import DataError
from risctl.labelling.decisions import apply_decisions, read_decisions
from risctl.labelling.join import open_all, write_annotations
from risctl.labelling.output import LabelFolder
from risctl.labelling.review_page import least_sure, write_review
from risctl.output_files import OutputFiles


@pytest.fixture
def labels(tmp_path: Path) -> LabelFolder:
    return label_all(pictures(tmp_path / "pictures", count=9), tmp_path / "labels")


def written(labels: LabelFolder, out: Path, *, count: int = 6) -> Path:
    plan = labels.about["plan"]
    shown = write_review(labels.rows(), out, count=count, plan=plan, no_target=0.2, outputs=OutputFiles())
    assert shown == count
    return out / "index.html"


def saved(path: Path, labels: LabelFolder, *decisions: tuple[int, str, str]) -> Path:
    made = [{"index": index, "phrase": phrase, "decision": one} for index, phrase, one in decisions]
    content = {"format": "risctl-decisions", "version": 1, "plan": labels.about["plan"], "decisions": made}
    path.write_text(json.dumps(content))
    return path


def test_the_least_sure_stand_first(labels: LabelFolder) -> None:
    rows = least_sure(labels.rows(), count=4, no_target=0.2)
    # Stripes of 3, 5 and 2 of 16 columns are nearest to a fifth; the fourth picture is damaged.
    assert [(row["index"], row["phrase"]) for row in rows] == [
        (2, "red stripe"),
        (1, "red stripe"),
        (4, "red stripe"),
        (0, "red stripe"),
    ]


def test_the_page_is_used_by_keyboard_and_its_decisions_come_into_the_rows(
    labels: LabelFolder, tmp_path: Path, browser: Browser
) -> None:
    page = written(labels, tmp_path / "review")
    browser.open(page.as_uri())
    assert browser.texts("article h2")[:2] == ["red stripe", "red stripe"]
    assert browser.texts("#count") == ["0 of 6 decided"]

    def press(key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            browser._call(
                "Input.dispatchKeyEvent", type=kind, key=key, text=key if len(key) == 1 and kind == "keyDown" else ""
            )

    press("ArrowRight")
    press("a")
    press("r")
    press("ArrowRight")
    press("a")
    press("ArrowLeft")
    press("u")
    browser.click("article:nth-of-type(6) button[data-decision=refused]")
    assert browser.texts("article .said") == ["accepted", "refused", "", "", "", "refused"]
    assert browser.texts("#count") == ["3 of 6 decided"]
    browser._call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path / "downloads"))
    browser.click("#save")
    end = time.monotonic() + 60
    while not (found := list(tmp_path.glob("downloads/*.json"))):
        assert time.monotonic() < end, "nothing was saved"
        time.sleep(0.05)
    assert browser.problems == [] and {one.partition(":")[0] for one in browser.requests} <= {"file", "data", "blob"}
    counts = apply_decisions([labels.path], read_decisions(found[0]))
    assert counts == {"accepted": 1, "refused": 2}
    decided = {(row["index"], row["phrase"]): row["decision"] for row in open_all([labels.path]).rows()}
    assert decided[2, "red stripe"] == "accepted" and decided[1, "red stripe"] == "refused"
    assert sum(one is not None for one in decided.values()) == 3


def test_nothing_but_the_page_is_needed(labels: LabelFolder, tmp_path: Path) -> None:
    page = written(labels, tmp_path / "review").read_text()
    assert "http://" not in page and "https://" not in page and "default-src &#x27;none&#x27;" in page
    assert page.count("<article") == 6 and page.count("data:image/jpeg;base64,") == 6
    assert [one.name for one in (tmp_path / "review").glob("sheet-*.jpg")] == ["sheet-001.jpg"]


def test_refused_answers_are_left_out_of_formats(labels: LabelFolder, tmp_path: Path) -> None:
    decisions = read_decisions(saved(tmp_path / "d.json", labels, (7, "red stripe", "refused")))
    before = list(labels.rows())
    assert apply_decisions([labels.path], decisions) == {"accepted": 0, "refused": 1}
    assert apply_decisions([labels.path], decisions) == {"accepted": 0, "refused": 1}
    rows = list(open_all([labels.path]).rows())
    changed = [(old, new) for old, new in zip(before, rows, strict=True) if old != new]
    assert [new for _, new in changed] == [{**changed[0][0], "decision": "refused"}]
    write_annotations(iter(rows), tmp_path / "out", ["coco-results"], images=False, outputs=OutputFiles())
    results = json.loads(next((tmp_path / "out" / "coco-results").glob("*.json")).read_text())
    assert len(results) == 7 * 2 - 1


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[]", "not a JSON object"),
        ('{"format": "other"}', "no file that"),
        (
            '{"format": "risctl-decisions", "version": 1, "plan": "p", "decisions": [{"decision": "maybe"}]}',
            "decision 1",
        ),
        ('{"format": "risctl-decisions", "version": 1, "plan": "p", "decisions": 3}', "holds no decisions"),
    ],
)
def test_other_files_are_no_decisions(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "d.json").write_text(content)
    with pytest.raises(DataError, match=told):
        read_decisions(tmp_path / "d.json")


def test_decisions_of_another_collection_are_refused(labels: LabelFolder, tmp_path: Path) -> None:
    other = read_decisions(saved(tmp_path / "d.json", labels, (80, "red stripe", "refused")))
    with pytest.raises(DataError, match="1 decisions are about rows that are not there"):
        apply_decisions([labels.path], other)
    second = label_all(pictures(tmp_path / "more", count=2), tmp_path / "second")
    with pytest.raises(DataError, match="of another collection"):
        apply_decisions([second.path], other)
