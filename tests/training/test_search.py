"""Searches by Optuna: what they try, that they go on as they were, and that a hopeless training is stopped."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from helpers.small_models import SMALL_VLT

from risctl.errors import DataError, RecipeError, UsageError
from risctl.training.search_space import range_of, trial_values
from risctl.training.sweep import Sweep, Trial, begin_sweep, plan_sweep, read_sweep
from risctl.training.sweep_points import best_point, sweep_points
from risctl.training.sweep_runner import TrialEnd
from risctl.visualization.report.run_page import sweep_page

pytest.importorskip("optuna", reason="needs the extra search")
from risctl.training.search import SearchRunner

GRID = ("optim.lr=1e-4..1e-1:log", "model.queries=1..4", "optim.name=adam,sgd")


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    file = tmp_path / "small.yaml"
    file.write_text(f"{SMALL_VLT}\ndata: {{store: none.h5}}\ntrain: {{epochs: 1, seed: 5}}\n")
    return str(file)


def planned(recipe: str, out: Path, *, trials: int = 8, search: str = "tpe", grid: tuple[str, ...] = GRID) -> Sweep:
    return plan_sweep(recipe, overrides=(), grid=grid, seeds=1, out=out, search=search, trials=trials)


def value_of(trial: Trial) -> float:
    """The best learning rate is 0.01, the best optimizer adam."""
    return 50 - 10 * abs(math.log10(float(trial.values["optim.lr"])) + 2) - (trial.values["optim.name"] == "sgd")


class Pretending(SearchRunner):
    """Writes at once what a training would come to."""

    def __init__(self, sweep: Sweep, *, stop_after: int = 10_000, prune: bool = True, **options: Any) -> None:
        self.ended: list[TrialEnd] = []
        given = {"jobs": 1, "device": "cpu", "ended": self.ended.append, **options}
        super().__init__(sweep, figure="mIoU", prune=prune, **given)
        self.stop_after = stop_after

    def _trained(
        self, trial: Trial, environment: Mapping[str, str], *, is_lost: Callable[[], bool] | None = None
    ) -> TrialEnd:
        if trial.number > self.stop_after:
            self._stopping.set()
            return TrialEnd(trial=trial, code=143)
        value = value_of(trial)
        trial.run.mkdir(parents=True, exist_ok=True)
        for turn in (1, 2, 3):
            with (trial.run / "metrics.jsonl").open("a") as file:
                file.write(json.dumps({"kind": "eval", "step": turn, "figures": {"mIoU": value * turn / 3}}) + "\n")
            if is_lost is not None and is_lost():
                return TrialEnd(trial=trial, code=0, pruned=True)
        best = {"figure": "mIoU", "value": value, "step": 3}
        (trial.run / "result.json").write_text(json.dumps({"figures": {"mIoU": value}, "best": best}))
        return TrialEnd(trial=trial, code=0)


def searched(sweep: Sweep, **options: Any) -> Sweep:
    begin_sweep(sweep)
    runner = Pretending(sweep, **options)
    runner.run()
    return runner.sweep


@pytest.mark.parametrize("search", ["tpe", "random"])
def test_a_search_that_was_stopped_goes_on_as_it_would_have(recipe: str, tmp_path: Path, search: str) -> None:
    whole = searched(planned(recipe, tmp_path / "whole", search=search, trials=12), prune=False)
    halved = planned(recipe, tmp_path / "halved", search=search, trials=12)
    searched(halved, prune=False, stop_after=7)
    assert len(read_sweep(halved.path).asked) == 8, "the eighth was begun"
    again = searched(halved, prune=False)
    assert again.asked == whole.asked and len(whole.asked) == 12
    assert read_sweep(again.path) == again
    values = [dict(one.values) for one in whole.asked]
    assert all(1e-4 <= float(one["optim.lr"]) <= 1e-1 and one["model.queries"] in "1234" for one in values)
    assert {one["optim.name"] for one in values} == {"adam", "sgd"} and len({one["optim.lr"] for one in values}) == 12


def test_more_trials_learn_from_those_before(recipe: str, tmp_path: Path) -> None:
    sweep = searched(planned(recipe, tmp_path / "s", trials=10), prune=False)
    more = searched(planned(recipe, tmp_path / "s", trials=30), prune=False)
    assert more.asked[:10] == sweep.asked and len(more.asked) == 30
    points = sweep_points(more)
    first, later = ([point.mean or 0 for point in some] for some in (points[:10], points[20:]))
    assert sum(later) / 10 > sum(first) / 10, "the search has learnt nothing"
    assert best_point(points) in points


def test_a_training_below_the_median_is_stopped_and_said_to_be(recipe: str, tmp_path: Path) -> None:
    begin_sweep(sweep := planned(recipe, tmp_path / "s", trials=20))
    runner = Pretending(sweep)
    ends = runner.run()
    pruned = [end.trial.number for end in ends if end.pruned]
    assert pruned and min(pruned) > 5 and all(end.code == 0 for end in ends)
    points = sweep_points(read_sweep(sweep.path))
    assert [place for place, point in enumerate(points, start=1) if point.state == "pruned"] == pruned
    assert all((point.mean is None) == (point.state == "pruned") for point in points)
    page = sweep_page(runner.sweep, points)
    assert page.count("<td>pruned</td>") == len(pruned) and "tpe, 20 trainings" in page


def test_a_search_of_which_every_trial_fails_ends_early(recipe: str, tmp_path: Path) -> None:
    class Failing(Pretending):
        def _trained(self, trial: Trial, *_: Any, **__: Any) -> TrialEnd:
            return TrialEnd(trial=trial, code=4, message="no store")

    begin_sweep(sweep := planned(recipe, tmp_path / "s"))
    runner = Failing(sweep)
    assert [end.code for end in runner.run()] == [4, 4, 4]
    assert [one.state for one in runner.sweep.asked] == ["failed"] * 3


def test_a_damaged_record_of_a_search_is_one_line(recipe: str, tmp_path: Path) -> None:
    sweep = searched(planned(recipe, tmp_path / "s", trials=2))
    (sweep.path / "trials.json").write_text('{"trials": [{"values": {}, "state": ""}]}')
    with pytest.raises(DataError, match=r"trials\.json cannot be read.*the same `risctl sweep` writes it anew"):
        read_sweep(sweep.path)
    (sweep.path / "search.journal").write_text("{}\n{}\n")
    with pytest.raises(DataError, match=r"search\.journal cannot be read.*another --out"):
        Pretending(sweep).run()


@pytest.mark.parametrize(
    ("grid", "error", "words"),
    [
        ((), UsageError, "--search takes the keys"),
        (("optim.lr=1e-3..1e-4",), UsageError, "is empty"),
        (("optim.lr=0..1e-4:log",), UsageError, "no logarithm"),
        (("optim.lr=1e-4..1e-3,1e-2",), UsageError, "a range stands alone"),
        (("optim.lr=1e-4..100",), RecipeError, r"optim\.lr"),
        (("model.quarries=1..2",), RecipeError, r"did you mean model\.queries"),
        (("optim.name=adam,adamm",), RecipeError, "adamm"),
    ],
)
def test_a_wrong_search_is_one_line_before_anything_is_made(
    recipe: str, tmp_path: Path, grid: tuple[str, ...], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        planned(recipe, tmp_path / "s", grid=grid)
    assert not (tmp_path / "s").exists()


def test_a_range_without_a_search_is_refused(recipe: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a range, which --search tries"):
        plan_sweep(recipe, overrides=(), grid=GRID[:1], seeds=1, out=tmp_path / "s")


def test_ranges_are_read_and_written_as_recipes_take_them() -> None:
    whole, rate = range_of("k", ["2..16"]), range_of("k", ["1e-4..3e-2:log"])
    assert whole is not None and whole.whole and not whole.logarithmic and whole.text(7.0) == "7"
    assert rate is not None and not rate.whole and rate.logarithmic
    assert rate.text(0.00123456789) == "0.0012346" and rate.text(1e-4) == "0.0001" and float(rate.text(0.031)) == 0.03
    assert range_of("k", ["1..", "2"]) is None and trial_values("k", ["a", "b"]) == ("a", "b")
    assert trial_values("k", ["2..16"]) == ("2", "16")
