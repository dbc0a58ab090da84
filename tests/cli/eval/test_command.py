"""`risctl eval`, run as a program: its report, its JSON, its rows, its exit codes."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.command_line import Run
from PIL import Image

from risctl.checkpoints.checkpoint import save_checkpoint
from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.data.records import Annotation, Dataset, Expression, ImageRecord, Record
from risctl.data.store.writer import write_store
from risctl.evaluation.model_evaluation import evaluate
from risctl.inference.predictor import Predictor
from risctl.metrics.protocols import get_protocol
from risctl.vision import rle


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures of noise, one ref each: three in val with two sentences, one in testA with one."""
    generator = np.random.default_rng(0)
    images, annotations, records = {}, {}, []
    for k in range(4):
        file = io.BytesIO()
        Image.fromarray(generator.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(file, "PNG")
        images[k] = ImageRecord(image_id=k, file_name=f"{k}.png", height=40, width=60, data=file.getvalue())
        mask = np.zeros((40, 60), dtype=bool)
        mask[5:30, 10 : 40 + k] = True
        annotations[k] = Annotation(
            annotation_id=k, image_id=k, category_id=1, box=(10, 5, 30, 25), mask=rle.encode(mask)
        )
        texts = ["the red cup", "blue book"][: 2 if k < 3 else 1]
        records.append(
            Record(
                ref_id=k,
                image_id=k,
                split="val" if k < 3 else "testA",
                annotation_ids=(k,),
                expressions=tuple(
                    Expression(sentence_id=2 * k + n, raw=text, sent=text, tokens=tuple(text.split()))
                    for n, text in enumerate(texts)
                ),
            )
        )
    dataset = Dataset(
        name="refcoco",
        split_by="unc",
        categories={1: "cup"},
        images=images,
        annotations=annotations,
        records=records,
    )
    path = tmp_path_factory.mktemp("store") / "refcoco.h5"
    write_store(dataset, path)
    return path


def test_a_report_with_its_protocol(risctl: Run, tiny_checkpoint: Path, store: Path) -> None:
    result = risctl("eval", "--model", tiny_checkpoint, "--data", store, "--split", "val", "--device", "cpu")
    assert result.code == 0
    assert "refcoco (unc), split val: 3 images, 3 refs, 6 sentences" in result.out
    assert get_protocol("original").describe() in result.out
    assert "warning: contamination" in result.out
    assert "mIoU" in result.out and " to " in result.out
    digest = hashlib.sha256((tiny_checkpoint / "best.safetensors").read_bytes()).hexdigest()
    assert digest[:12] in result.out


def test_json_and_rows_of_several_protocols(risctl: Run, tiny_checkpoint: Path, store: Path) -> None:
    result = risctl(
        *("eval", "-m", tiny_checkpoint, "-d", store, "-s", "all", "--protocol", "cris,mmdet", "--threshold", "0.4"),
        *("--rows", "rows.jsonl", "--json", "--quiet", "--device", "cpu"),
    )
    assert (result.code, result.err) == (0, "")
    told = json.loads(result.out)
    assert list(told["protocols"]) == ["cris", "mmdet"]
    assert (told["split"], told["sentences"], told["rows"]) == ("all", 7, "rows.jsonl")
    assert {one["threshold"] for one in told["protocols"].values()} == {0.4}
    rows = [json.loads(line) for line in Path("rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 7 + 4
    mean = 100 * np.mean([row["iou"] for row in rows if row["protocol"] == "cris"])
    assert told["figures"]["mIoU"] == pytest.approx(mean)


@pytest.fixture(scope="module")
def own_threshold(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a run folder with the weights of `tiny_checkpoint`, whose recipe has these evaluation options."""

    def made(**options: Any) -> Path:
        loaded = load_checkpoint(tiny_checkpoint, torch.device("cpu"))
        recipe = loaded.recipe.model_copy(update={"eval": loaded.recipe.eval.model_copy(update=options)})
        run = tmp_path_factory.mktemp("own") / "run"
        run.mkdir()
        path = run / "best.safetensors"
        save_checkpoint(path, system=loaded.system, recipe=recipe, vocabulary=loaded.vocabulary, extra={"step": 7})
        return run

    return made


@pytest.mark.parametrize(
    ("named", "recipe", "options", "threshold", "said"),
    [
        ("original", {"threshold": 0.35}, (), 0.35, "probability > 0.35, from the model's recipe"),
        ("original", {}, (), 0.5, "probability > 0.5, the default"),
        (
            "mcn",
            {"protocol": "mcn", "threshold": 0.4},
            (),
            0.35,
            "probability > 0.35, fixed by the protocol mcn, not 0.4",
        ),
        ("mcn", {"protocol": "mcn"}, ("--threshold", "0.2"), 0.2, "probability > 0.2 as given, not the protocol's own"),
        ("original", {"threshold": 0.35}, ("--threshold", "0"), 0.0, "probability > 0 as given;"),
    ],
)
def test_naming_the_default_protocol_changes_nothing(
    risctl: Run,
    store: Path,
    own_threshold: Callable[..., Path],
    named: str,
    recipe: dict[str, Any],
    options: tuple[str, ...],
    threshold: float,
    said: str,
) -> None:
    run = own_threshold(**recipe)
    command = ("eval", "-m", run, "-d", store, "--device", "cpu", "--json", "-q", *options)
    unnamed, as_named = (json.loads(risctl(*command, *more).out) for more in ((), ("--protocol", named)))
    assert unnamed["figures"] == as_named["figures"]
    [result] = unnamed["protocols"].values()
    assert result == as_named["protocols"][named]
    assert result["threshold"] == threshold and said in result["protocol"]
    given = float(options[1]) if options else None
    predictor = Predictor.load(run, device="cpu", threshold=given)
    assert predictor.threshold == threshold and said.rstrip(";") in predictor.describe()
    report = evaluate(run, store, threshold=given, device="cpu")
    assert report.figures == pytest.approx(unnamed["figures"])


def test_a_limit_is_stated(risctl: Run, tiny_checkpoint: Path, store: Path) -> None:
    result = risctl("eval", "-m", tiny_checkpoint, "-d", store, "--limit", "1", "--device", "cpu", "--json")
    told = json.loads(result.out)
    assert told["sentences"] == 1
    assert any(line.startswith("limited: 1 of the 6") for line in told["warnings"])
    # One image has no interval; JSON has no NaN.
    assert told["intervals"]["mIoU"] == [None, None]


def test_reports_in_three_forms_of_one_evaluation(risctl: Run, tiny_checkpoint: Path, store: Path) -> None:
    result = risctl(
        *("eval", "-m", tiny_checkpoint, "-d", store, "--protocol", "original,rela", "--device", "cpu", "--json", "-q"),
        *("--report", "out/report.html", "--report", "out/report.md", "--report", "out/report.json", "--pictures", "1"),
    )
    assert (result.code, result.err) == (0, "")
    told = json.loads(result.out)
    assert told["reports"] == ["out/report.html", "out/report.md", "out/report.json"]
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg") == 2
    figure = f"{told['figures']['mIoU']:.2f}"
    assert figure in page and figure in Path("out/report.md").read_text(encoding="utf-8")
    stored = json.loads(Path("out/report.json").read_text(encoding="utf-8"))
    assert stored["protocols"] == told["protocols"]
    assert stored["model"] == told["model"]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--split", "testa"], 2, "did you mean 'testA'"),
        (["--protocol", "lvat"], 2, "did you mean 'lavt'"),
        (["--text-field", "raww"], 2, "did you mean 'raw'"),
        (["--threshold", "1.5"], 2, "probability in [0, 1)"),
        (["--report", "report.pdf"], 2, ".html, .md, .json"),
        (["--model", "nowhere"], 6, "nowhere"),
        (["--data", "nowhere.h5"], 4, "risctl prepare"),
    ],
)
def test_errors_are_one_line_and_have_their_code(
    risctl: Run, tiny_checkpoint: Path, store: Path, options: list[str], code: int, message: str
) -> None:
    result = risctl("eval", "-m", tiny_checkpoint, "-d", store, "--device", "cpu", *options)
    assert (result.code, result.out) == (code, "")
    assert message in result.err
    assert len(result.err.strip().splitlines()) == 1


def test_help_shows_the_command_without_loading_torch() -> None:
    code = "import sys, risctl.cli.eval; sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'h5py')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("option", ["--rows", "--report", "--submission"])
def test_no_output_replaces_the_store_or_another_output(risctl: Run, store: Path, option: str) -> None:
    before = store.read_bytes()
    linked = Path("linked.json")
    linked.hardlink_to(store)
    ran = risctl("eval", "--data", store, option, linked)
    assert ran.code == 2 and "is an input of this command" in ran.err
    ran = risctl("eval", "--data", store, "--report", "same.json", "--rows", "./same.json")
    assert ran.code == 2 and "named twice" in ran.err
    assert store.read_bytes() == before and not Path("same.json").exists()
    ran = risctl("eval", "--data", store, option, linked, "--overwrite")
    assert ran.code == 2 and "would be replaced; name another output" in ran.err
    assert store.read_bytes() == before


def test_earlier_rows_and_reports_stay_unless_told_otherwise(risctl: Run, tiny_checkpoint: Path, store: Path) -> None:
    command = ("eval", "-m", tiny_checkpoint, "-d", store, "--limit", 2)
    for option, name in (("--rows", "rows.jsonl"), ("--report", "report.json")):
        Path(name).write_text("of last week")
        ran = risctl("eval", "-m", "absent", "-d", store, option, name)
        assert ran.code == 2 and f"{name} is there already; replace it with --overwrite" in ran.err
        assert Path(name).read_text() == "of last week"
        assert risctl(*command, option, name, "--overwrite").code == 0
        assert Path(name).read_text() != "of last week"
    weights = tiny_checkpoint / "best.safetensors"
    ran = risctl(*command, "--rows", weights, "--overwrite")
    assert ran.code == 2 and "is an input of this command" in ran.err


def test_options_that_detection_would_ignore_are_refused(risctl: Run, tiny_checkpoint: Path, store: Path) -> None:
    command = ("eval", "-m", tiny_checkpoint, "-d", store, "--protocol", "zsi")
    result = risctl(*command, "--threshold", "0.3", "--rows", "rows.jsonl")
    assert result.code == 2 and "leave --rows and --threshold out" in result.err
    assert not Path("rows.jsonl").exists()
