"""Every stored parity case of a system that is here passes, and the runner tells when one does not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

RUNNER = Path(__file__).with_name("run.py")
sys.path.insert(0, str(RUNNER.parent))

import run  # noqa: E402


@pytest.fixture(scope="module")
def cases(shared: Path) -> Path:
    return shared / "parity"


@pytest.mark.parametrize(
    "folder",
    [
        "vlt",
        "step_parts",
        "metrics",
        "more_metrics",
        "formats",
        "datasets",
        "global_local_clip",
        "referformer",
        "zsi",
        "lavt",
        "rela",
        "cris",
    ],
)
def test_every_case_of_a_system_passes(cases: Path, folder: str) -> None:
    if not cases.is_dir():
        pytest.skip(f"no parity cases at {cases}")
    found = run.cases_in([cases / folder])
    assert found
    for case in found:
        rows = list(run.run_case(case))
        assert rows
        assert [row for row in rows if not run.is_ok(row[1], row[2])] == []


def test_formula_is_the_stored_one(cases: Path) -> None:
    """Our writing of the formula against the cases' own file, over the parameter names of all of them."""
    import importlib.util

    from formula import values_of

    if not (cases / "formula.py").is_file():
        pytest.skip(f"no parity cases at {cases}")
    spec = importlib.util.spec_from_file_location("published_formula", cases / "formula.py")
    published = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(published)
    checked = 0
    for file in sorted(cases.rglob("case.json")):
        case = json.loads(file.read_text(encoding="utf-8"))
        listed = case.get("parameters", [])
        for parameter in listed if isinstance(listed, list) else []:
            name, shape = parameter["name"], tuple(parameter["shape"])
            if np.prod(shape) > 100_000:
                continue
            for last in (False, True):
                expected = published.formula_tensor(name, shape, salt=case["salt"], channels_last=last)
                assert np.array_equal(values_of(name, shape, salt=case["salt"], channels_last=last), expected), name
            checked += 1
    assert checked > 100


def test_the_runner_fails_on_what_is_missing_or_wrong(tmp_path: Path) -> None:
    """A case of nobody, and a folder without a case: lines that say so, and exit code 1."""
    nobody = tmp_path / "nobody" / "case"
    nobody.mkdir(parents=True)
    (nobody / "case.json").write_text(json.dumps({"system": "none", "kind": "none"}))
    (tmp_path / "empty").mkdir()
    done = subprocess.run(
        [sys.executable, str(RUNNER), str(nobody), str(tmp_path / "empty")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["FAIL", "FAIL"]


def test_comparison_tells_missing_wrong_shape_and_nan() -> None:
    from comparison import compare

    case = {"outputs": dict.fromkeys("abcd"), "tolerances": {name: {"max_abs_difference": 0.5} for name in "abcd"}}
    stored = {name: np.zeros(2) for name in "abcd"}
    ours = {"a": np.array([0.25, -0.5]), "b": np.zeros(3), "c": np.array([np.nan, 0])}
    rows = {output: run.is_ok(error, tolerance) for output, error, tolerance in compare(ours, case, stored)}
    assert rows == {"a": True, "b": False, "c": False, "d": False}
