"""The plan of a sweep, and what it came to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.small_models import SMALL_VLT
from scipy import stats

from risctl.errors import DataError, RecipeError, UsageError
from risctl.training.run_record import read_run_record
from risctl.training.sweep import Sweep, begin_sweep, job_lines, plan_sweep, read_sweep
from risctl.training.sweep_points import best_point, sweep_points


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    file = tmp_path / "small.yaml"
    file.write_text(f"{SMALL_VLT}\ndata: {{store: none.h5}}\ntrain: {{epochs: 1, seed: 5}}\n")
    return str(file)


def planned(recipe: str, tmp_path: Path, *grid: str, seeds: int = 1, overrides: tuple[str, ...] = ()) -> Sweep:
    return plan_sweep(recipe, overrides=overrides, grid=grid, seeds=seeds, out=tmp_path / "sweep")


def many(key: str, count: int) -> str:
    return f"{key}={','.join(map(str, range(1, count + 1)))}"


def write_result(sweep: Sweep, number: int, value: float) -> None:
    run = sweep.trials()[number - 1].run
    run.mkdir(parents=True, exist_ok=True)
    best = {"figure": "mIoU", "value": value, "step": 7}
    (run / "result.json").write_text(json.dumps({"figures": {"mIoU": value}, "best": best}))


def test_every_combination_is_trained_with_every_seed(recipe: str, tmp_path: Path) -> None:
    sweep = planned(recipe, tmp_path, "optim.lr=1e-3,0.01", "optim.betas=[0.9, 0.98],[0.8, 0.9]", seeds=2)
    trials = sweep.trials()
    assert [trial.seed for trial in trials] == [5] * 4 + [6] * 4, "every combination before a second seed"
    assert [list(trial.values.values()) for trial in trials[:4]] == [
        ["1e-3", "[0.9, 0.98]"], ["1e-3", "[0.8, 0.9]"], ["0.01", "[0.9, 0.98]"], ["0.01", "[0.8, 0.9]"],
    ]  # fmt: skip
    assert len({trial.run for trial in trials}) == 8
    assert all("/" not in trial.run.name and " " not in trial.run.name for trial in trials)
    assert trials[4].overrides == ("optim.lr=1e-3", "optim.betas=[0.9, 0.98]", "train.seed=6")


def test_the_lines_of_a_job_array_are_commands_that_can_be_given_again(recipe: str, tmp_path: Path) -> None:
    lines = job_lines(planned(recipe, tmp_path, "optim.betas=[0.9, 0.98],[0.8, 0.9]"), device="cuda")
    assert lines[0].startswith(f"risctl train {recipe} 'optim.betas=[0.9, 0.98]' train.seed=5 --out ")
    assert all(line.endswith(" --resume --device cuda") for line in lines)


@pytest.mark.parametrize(
    ("grid", "error", "words"),
    [
        (("optim.lr",), UsageError, "KEY=VALUE,VALUE"),
        (("optim.lr=1e-3,,1e-4",), UsageError, "KEY=VALUE,VALUE"),
        (("optim.lr=1e-3", "optim.lr=1e-4"), UsageError, "names optim.lr twice"),
        (("optim.lr=1e-3,1e-3",), UsageError, "a value of optim.lr twice"),
        (("train.seed=1,2",), UsageError, "--seeds N"),
        (("optim.weight_decey=1e-3,1e-4",), RecipeError, "did you mean optim.weight_decay"),
        (("optim.lr=1e-3,-1",), RecipeError, "optim.lr"),
        ((many("model.queries", 101), many("data.batch_size", 100)), UsageError, "10,100 trials are too many"),
    ],
)  # fmt: skip
def test_a_wrong_grid_is_one_line_before_anything_is_made(
    recipe: str, tmp_path: Path, grid: tuple[str, ...], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        planned(recipe, tmp_path, *grid)
    assert not (tmp_path / "sweep").exists()


def test_a_sweep_goes_on_with_the_same_plan_alone(recipe: str, tmp_path: Path) -> None:
    sweep = planned(recipe, tmp_path, "optim.lr=1e-3,1e-2", seeds=2)
    begin_sweep(sweep)
    begin_sweep(sweep)
    assert read_sweep(sweep.path) == sweep
    with pytest.raises(UsageError, match="another sweep: grid, seeds differ"):
        begin_sweep(planned(recipe, tmp_path, "optim.lr=1e-3", seeds=1))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds no sweep"):
        begin_sweep(plan_sweep(recipe, overrides=(), grid=(), seeds=1, out=tmp_path / "other"))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"recipe": 1, "overrides": [], "grid": [], "seeds": [0]}',
        '{"recipe": "r", "overrides": [], "grid": [], "seeds": []}',
    ],
)
def test_a_damaged_plan_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(DataError, match=r"sweep\.json"):
        read_sweep(tmp_path)


def test_points_have_the_mean_over_seeds_and_students_interval(recipe: str, tmp_path: Path) -> None:
    sweep = planned(recipe, tmp_path, "optim.lr=1e-3,1e-2,1e-1", seeds=3)
    values = {1: 20.0, 4: 23.0, 7: 21.5, 2: 30.0, 5: 31.0}
    for number, value in values.items():
        write_result(sweep, number, value)
    first, second, third = sweep_points(sweep)
    expected = stats.t.interval(0.95, 2, loc=21.5, scale=stats.sem([20.0, 23.0, 21.5]))
    assert first.mean == pytest.approx(21.5) and (first.low, first.high) == pytest.approx(expected)
    assert second.mean == 30.5 and [seed["ended"] for seed in second.seeds] == [True, True, False]
    assert third.mean is None and third.low is None
    assert best_point([first, second, third]) is second and best_point([third]) is None
    one = sweep_points(planned(recipe, tmp_path, "optim.lr=1e-3,1e-2,1e-1"))[0]
    assert one.mean == 20.0 and one.low is None, "one seed has no interval"


def test_a_record_takes_what_can_be_read_of_a_run(tmp_path: Path) -> None:
    lines = [
        '{"kind": "train", "step": 2, "loss": 3.0, "terms": {"a": 1.0, "b": 2.0}, "rate": 0.1}',
        '{"kind": "eval", "step": 2, "figures": {"mIoU": 12.5, "bad": "x", "flag": true}}',
        "not json",
        '{"kind": "train", "step": -1, "loss": 1.0}',
        '{"kind": "train", "step": 1, "loss": 4.0, "terms": {"a": 4.0}}',
        '{"kind": "tra',
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    record = read_run_record(tmp_path)
    assert record.curves == {
        "loss": ((1, 4.0), (2, 3.0)), "rate": ((2, 0.1),), "loss: a": ((2, 1.0),), "loss: b": ((2, 2.0),),
        "mIoU": ((2, 12.5),),
    }  # fmt: skip
    assert record.evaluated == ("mIoU",) and record.unreadable == 3 and record.step == 2
    assert record.result is None and record.best is None


@pytest.mark.parametrize(
    "result", ["", "[1]", "{}", '{"figures": {"mIoU": "x"}}', '{"figures": {}, "best": {"figure": "mIoU", "value": 1}}']
)
def test_a_damaged_result_is_one_line(tmp_path: Path, result: str) -> None:
    (tmp_path / "metrics.jsonl").write_text("")
    (tmp_path / "result.json").write_text(result)
    with pytest.raises(DataError, match=r"result\.json.*--resume"):
        read_run_record(tmp_path)


def test_a_folder_that_is_no_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no metrics\.jsonl"):
        read_run_record(tmp_path / "absent")


def test_infinite_values_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(f'{{"kind": "train", "step": 1, "loss": 1{"0" * 305}}}\n')
    assert read_run_record(tmp_path).curves == {}
    assert np.isfinite(read_run_record(tmp_path).step)
