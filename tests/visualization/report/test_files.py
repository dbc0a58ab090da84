"""Reports as Markdown and JSON, and the rules of their files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.colour_finder import SIDE, ColourFinder, made_store, png, stripe

from risctl.data.records import Annotation, Dataset, Expression, ImageRecord, Record
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.errors import UsageError
from risctl.evaluation.image_evaluator import evaluate
from risctl.evaluation.report import Report
from risctl.metrics.rows import rows_of
from risctl.vision import rle
from risctl.visualization.report.files import check_report_paths, write_report
from risctl.visualization.report.markdown import plain
from risctl.visualization.report.sample_images import worst_and_best


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    with Store(made_store(tmp_path_factory.mktemp("store"), name="refcoco")) as store:
        return evaluate(ColourFinder(), store, split="val", protocols=["rela", "zsris", "phrasecut"], resamples=50)


def test_json_holds_all_that_the_figures_rest_on(report: Report, tmp_path: Path) -> None:
    write_report(tmp_path / "out" / "report.json", report, about={"model": "m", "data": "d"})
    told = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert (told["model"], told["data"]) == ("m", "d")
    assert told["written_by"].startswith("risctl ")
    assert list(told["protocols"]) == ["rela", "zsris", "phrasecut"]
    rela = told["protocols"]["rela"]
    assert rela["headline"] == "gIoU"
    # Of the two samples without a target one is seen as such.
    assert (rela["figures"]["N-acc"], rela["figures"]["T-acc"]) == (50, 100)
    assert {"gIoU", "cIoU", "Pr@0.7"} <= rela["figures"].keys()
    assert sum(rela["iou_histogram"]["counts"]) + rela["iou_histogram"]["zero"] == 20
    assert rela["iou_histogram"]["left_out"] == 2
    assert dict(map(tuple, rela["precision_curve"]))[0.7] == pytest.approx(rela["figures"]["Pr@0.7"])
    parts = {one["name"]: {group["name"]: group for group in one["groups"]} for one in rela["breakdowns"]}
    assert list(parts) == ["length", "ability", "category", "area", "distractors", "targets"]
    assert parts["targets"]["no target"]["figures"]["N-acc"] == 50
    assert parts["distractors"]["1"]["samples"] == 20
    assert parts["ability"]["colour"]["few"] is True
    low, high = parts["ability"]["colour"]["interval"]
    assert low <= parts["ability"]["colour"]["figures"]["gIoU"] <= high
    known = [one["iou"] for one in told["worst"] if one["iou"] is not None]
    # Of a sample without a target there is no IoU.
    assert known == sorted(known) and len(known) < len(told["worst"])
    assert told["best"][0]["iou"] == 1


def test_images_that_are_in_the_training_split_too_are_told(tmp_path: Path) -> None:
    images = {
        number: ImageRecord(image_id=number, file_name="a.png", height=SIDE, width=SIDE, data=png(*[stripe(0, 4)] * 3))
        for number in (1, 2)
    }
    mask = rle.encode(stripe(0, 4))
    annotations = {
        number: Annotation(annotation_id=number, image_id=number, category_id=1, box=(0, 0, 4, 32), mask=mask)
        for number in images
    }
    said = Expression(sentence_id=1, raw="red", sent="red", tokens=("red",))
    asked = [("train", 1), ("val", 1), ("val", 2)]
    records = [
        Record(
            ref_id=ref,
            image_id=image,
            split=split,
            annotation_ids=(image,),
            expressions=(replace(said, sentence_id=ref),),
        )
        for ref, (split, image) in enumerate(asked)
    ]
    dataset = Dataset(
        name="own", split_by="", categories={1: "x"}, images=images, annotations=annotations, records=records
    )
    write_store(dataset, tmp_path / "own.h5")
    with Store(tmp_path / "own.h5") as store:
        told = {split: evaluate(ColourFinder(), store, split=split, resamples=0).warnings for split in ("val", "train")}
    assert "contamination: 1 of the 2 images of val are in train too" in told["val"]
    assert not any("contamination" in line for line in told["train"])


def test_rows_hold_what_a_comparison_needs(report: Report, tmp_path: Path) -> None:
    report.write_rows(tmp_path / "rows.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    back = rows_of([row for row in rows if row["protocol"] == "rela"])
    own = report.results["rela"].rows
    for name, column in back.columns().items():
        assert [str(one) for one in column] == [str(one) for one in own.columns()[name]], name
    assert {row["words"] for row in rows} == {1, 2}


def test_markdown_tells_the_same(report: Report, tmp_path: Path) -> None:
    write_report(tmp_path / "report.md", report, about={"model": "runs/a_b*c"})
    content = (tmp_path / "report.md").read_text(encoding="utf-8")
    result = report.results["rela"]
    assert f"| gIoU | {result.figures['gIoU']:.2f} |" in content
    assert "runs/a\\_b\\*c" in content
    assert "contamination: RefCOCO-family" in content
    for part in ("Expression length", "Ability", "Category", "Target area", "Same-category distractors", "Pr@X"):
        assert part in content
    widths = {line.count(" | ") for line in content.split("### Ability")[1].split("###")[0].splitlines() if "|" in line}
    assert len(widths) == 1


@pytest.mark.parametrize(
    "text",
    ["a | b", "<img src=x>", "# no", "[x](y)", "`a`", "a\n\n- b", "\ud800", "~~x~~ _y_", "- x", "> x", "hi @you"],
)
def test_markdown_shows_text_as_it_is(text: str) -> None:
    shown = plain(text)
    shown.encode("utf-8")
    assert "\n" not in shown
    assert not shown.startswith(("-", ">")) and " @" not in shown
    for sign in "|<#[`~_":
        assert shown.count(sign) == shown.count("\\" + sign)


def test_endings_are_checked_before_anything_is_computed() -> None:
    with pytest.raises(UsageError, match=r"\.html, \.md, \.json"):
        check_report_paths([Path("report.pdf")])
    with pytest.raises(UsageError, match="twice"):
        check_report_paths([Path("a.md"), Path("./a.md")])
    check_report_paths([Path("a.HTML"), Path("a.md"), Path("a.json")])


def test_the_surest_mistakes_come_first(report: Report) -> None:
    result = report.results["rela"]
    worst, best = worst_and_best(result, each=3)
    rows = {int(key): place for place, key in enumerate(result.rows.key)}
    images = [int(result.rows.image_id[rows[key]]) for key in worst]
    assert len(set(images)) == 3
    # The blue that is not there but found: no worse IoU than 0.
    assert not result.rows.targeted[rows[worst[0]]]
    assert all(result.rows.targeted[rows[key]] for key in best)
    assert not set(worst) & set(best)
