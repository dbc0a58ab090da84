"""The report of an evaluation on videos: the same forms as of images, the samples in their middle frames."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.browser import Browser, find_chromium
from helpers.video_files import write_youtube
from helpers.video_system import perfect, recipe_of

from risctl.data.datasets.ref_video.reader import read_ref_youtube_vos
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.evaluation.report import Report
from risctl.evaluation.video_evaluator import VideoReport, evaluate_videos
from risctl.evaluation.video_report import MiddleFrames, report_of
from risctl.language.vocabulary import Vocabulary
from risctl.systems.registry import build_system
from risctl.visualization.report.files import write_report
from risctl.visualization.report.sample_images import image_samples, listing_of

Made = tuple[Path, VideoReport, Report, MiddleFrames]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """The page of what is right but for "the box on the left", in three videos; in the last only one box is spoken of.

    With it the measures, the report, and what draws.
    """
    folder = tmp_path_factory.mktemp("videos")
    root = write_youtube(folder / "set", videos={"test": ("aa", "b<b>", "cc")})
    file = root / "meta_expressions" / "test" / "meta_expressions.json"
    table = json.loads(file.read_text())
    table["videos"]["cc"]["expressions"] = {"0": {"exp": "a very big red box", "obj_id": "1"}}
    file.write_text(json.dumps(table))
    write_store(read_ref_youtube_vos(root), folder / "set.h5")
    system = build_system(recipe_of(folder / "set.h5").model, vocabulary=Vocabulary(["red", "left"]))
    with Store(folder / "set.h5") as store:
        perfect(system, store)
        system.predict = lambda output, **given: super(type(system), system).predict(output, **given)
        measured = evaluate_videos(system, store, split="test", clip_length=8)
        report = report_of(measured, store, split="test", text_field="sent", resamples=50)
        drawn = MiddleFrames(system, store, measured, text_field="sent", threshold=0.5)
        listing = listing_of(report)
        images = image_samples(report, listing, store, masks_of=drawn.masks_of, image_of=drawn.image_of, each=2)
        for ending in ("html", "md", "json"):
            path = folder / f"report.{ending}"
            write_report(path, report, about={"model": "runs/clips"}, pictures=images, listing=listing)
        yield folder / "report.html", measured, report, drawn


def test_the_figures_are_those_measured_with_intervals_over_videos(made: Made) -> None:
    path, measured, report, _ = made
    result = report.results["videos"]
    assert {name: result.figures[name] for name in measured.figures} == pytest.approx(measured.figures)
    interval = result.intervals["J&F"]
    assert interval.low < result.figures["J&F"] <= interval.high
    groups = {one.name: {name: part.samples for name, part in parts.items()} for one, parts in result.breakdowns}
    assert groups["category"] == {"box": 5, "crate": 4}
    assert groups["objects"] == {"1": 1, "2": 8}
    assert sum(groups["length"].values()) == 9
    told = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert (told["unit"], told["images"], told["refs"], told["sentences"]) == ("video", 3, 5, 9)
    assert [(one["text"], one["video"]) for one in told["worst"][:2]] == [
        ("the box on the left", "aa"),
        ("the box on the left", "b<b>"),
    ]
    assert "in clips of 8 frames, the query chosen for each video" in told["protocols"]["videos"]["protocol"]
    text = path.with_suffix(".md").read_text(encoding="utf-8")
    assert "95% interval over videos" in text and "| b\\<b> |" in text
    assert "image" not in text.lower()


def test_an_image_is_of_the_middle_frame_that_shows_the_object(made: Made) -> None:
    _, measured, _, drawn = made
    rows = {row.sample: row for row in measured.rows if row.video == "aa" and row.j > 0.5}
    found = dict(drawn.masks_of(list(rows)))
    assert found.keys() == rows.keys()
    for sample, mask in found.items():
        looked = drawn.image_of(sample)
        # The second box does not show in the third frame.
        assert looked.note == ("frame 3 of 5" if "red" in rows[sample].text else "frame 4 of 5")
        assert np.count_nonzero(looked.target & mask) > 0.9 * np.count_nonzero(looked.target | mask)


def test_no_figure_is_named_that_the_protocol_does_not_report(made: Made) -> None:
    page, listed = made[0].read_text(encoding="utf-8"), made[0].with_suffix(".md").read_text(encoding="utf-8")
    assert "no Pr@X" in page
    assert "Pr@" not in page.replace("no Pr@X", "")
    assert "Share of samples with IoU &gt;= X" in page and "### Share of samples with IoU >= X" in listed


def test_the_page_in_a_browser(made: Made, tmp_path: Path) -> None:
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium found to open the page in (install one, or set RISCTL_CHROMIUM)")
    try:
        browser = Browser(program, tmp_path / "profile")
    except (AssertionError, OSError) as error:
        pytest.skip(f"{program} does not start here: {error}")
    try:
        wrong = next(row.sample for row in made[1].rows if row.video == "b<b>" and row.f < 0.5)
        browser.open(f"{made[0].as_uri()}#s{wrong}")
        heads = browser.texts("#sample-table thead th")
        assert heads[:4] == ["sample", "IoU", "F", "expression"] and heads[-1] == "video"
        [panel] = browser.texts("#detail")
        assert "videob<b>" in panel and "image id" not in panel
        browser.click("#detail a[data-filter]")
        assert browser.texts("#sample-table tbody td:last-child") == ["b<b>"] * 4
        browser.write("#filter", 'video:"b<b>" f<0.5')
        assert browser.texts("#sample-table tbody td:nth-child(4)") == ["the box on the left"]
        assert browser.problems == []
    finally:
        browser.close()
