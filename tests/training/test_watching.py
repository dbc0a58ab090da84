"""What a run tells while it goes on: curves, trackers, and when it ends early."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from helpers.tiny import assert_same_tensors, build_tiny, tiny_recipe, tiny_store, weights_of
from PIL import Image

from risctl.errors import MachineError, RecipeError, UsageError
from risctl.recipe.train import TrainSection
from risctl.training.early_stop import is_over, note_evaluation
from risctl.training.run import resume, train
from risctl.training.run_record import WATCHED, read_run_record
from risctl.training.state import TrainingState
from risctl.visualization.report.curve_picture import curve_picture
from risctl.visualization.report.run_page import run_page


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_store(tmp_path_factory.mktemp("store"))


def entries(run: Path, kind: str) -> list[dict[str, Any]]:
    read = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [entry for entry in read if entry["kind"] == kind]


def never_better(store: Path, **train_keys: Any) -> Any:
    """A run whose figures stay as they are: its weights hardly move."""
    keys = {"epochs": 6, "eval_limit": 2, "early_stop": {"patience": 2}, **train_keys}
    return tiny_recipe(store, model={"dropout": 0.0}, optim={"lr": 1e-9}, train=keys)


def test_a_run_records_gradient_data_and_memory(store: Path, tmp_path: Path) -> None:
    norms: list[float] = []

    recipe = tiny_recipe(store, train={"epochs": 1, "eval_every": None, "log_every": 2, "trackers": []})
    train(recipe, out=tmp_path / "run", device="cpu", build=build_tiny)
    for entry in entries(tmp_path / "run", "train"):
        assert entry["grad_norm"] > 0 and 0 <= entry["data_share"] <= 1 and entry["memory_mib"] > 10
        norms.append(entry["grad_norm"])
    record = read_run_record(tmp_path / "run")
    assert set(WATCHED) <= set(record.curves) and [value for _, value in record.curves["grad_norm"]] == norms
    page = run_page([record])
    assert "gradient norm" in page and "share of the time in data" in page and "memory, MiB" in page
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_the_norm_is_that_before_clipping(store: Path, tmp_path: Path) -> None:
    told = {}
    for clip in (None, 1e-3):
        recipe = tiny_recipe(
            store, optim={"clip_norm": clip}, train={"epochs": 1, "max_steps": 1, "eval_every": None, "trackers": []}
        )
        train(recipe, out=tmp_path / str(clip), device="cpu", build=build_tiny)
        [entry] = entries(tmp_path / str(clip), "train")
        told[clip] = entry["grad_norm"]
    assert told[None] == pytest.approx(told[1e-3]) and told[None] > 1e-3


def test_the_picture_has_every_curve(store: Path, tmp_path: Path) -> None:
    train(
        tiny_recipe(store, train={"epochs": 2, "eval_limit": 2}), out=tmp_path / "run", device="cpu", build=build_tiny
    )
    record = read_run_record(tmp_path / "run")
    picture = curve_picture([record, record], ["first", "second"], [0, 1])
    pixels = np.asarray(picture)
    assert isinstance(picture, Image.Image) and pixels.shape[1] == 3 * 560
    # The second run, drawn over the first, has its colour in the chart of each quantity.
    second = (pixels == (230, 159, 0)).all(axis=2)
    for place in range(len(record.curves)):
        row, column = divmod(place, 3)
        assert second[row * 360 : row * 360 + 360, column * 560 : column * 560 + 560].any(), place


def test_a_run_whose_figure_does_not_rise_ends_early(store: Path, tmp_path: Path) -> None:
    result = train(never_better(store), out=tmp_path / "run", device="cpu", build=build_tiny)
    assert result.stopped_early and result.steps == 15 and len(entries(tmp_path / "run", "eval")) == 3
    told = json.loads((tmp_path / "run" / "result.json").read_text())
    assert told["stopped_early"] is True and told["best"]["step"] == 5
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "stopped early after step 15: mIoU has not risen in 2 evaluations" in log
    # A run that has ended so has nothing left to do; with more patience it goes on, as if it had had it at once.
    assert resume(tmp_path / "run", device="cpu", build=build_tiny).steps == 15
    patient = never_better(store, early_stop={"patience": 3})
    went_on = resume(tmp_path / "run", recipe=patient, device="cpu", build=build_tiny)
    assert (went_on.steps, went_on.stopped_early) == (20, True)
    train(patient, out=tmp_path / "whole", device="cpu", build=build_tiny)
    assert_same_tensors(*(weights_of(tmp_path / name / "last.safetensors") for name in ("run", "whole")))


def test_patience_counts_evaluations_since_the_last_rise() -> None:
    section = TrainSection(epochs=1, early_stop={"figure": "oIoU", "patience": 2, "min_delta": 1.0})  # type: ignore[arg-type]
    state, ends = TrainingState(), []
    for value in (50.0, 50.5, 51.5, 52.0, math.nan):
        note_evaluation(state, {} if math.isnan(value) else {"oIoU": value, "mIoU": 99.0}, section)
        ends.append(is_over(state, section.early_stop))
    assert ends == [False, False, False, False, True] and state.highest == 51.5


def test_what_cannot_stop_or_track_is_refused(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecipeError, match="early_stop"):
        never_better(store, eval_every=None)
    with pytest.raises(UsageError, match=r"train\.early_stop\.figure: unknown figure 'mIoUs'; did you mean 'mIoU'"):
        recipe = never_better(store, early_stop={"figure": "mIoUs", "patience": 1})
        train(recipe, out=tmp_path / "run", device="cpu", build=build_tiny)
    find = importlib.util.find_spec
    monkeypatch.setattr("risctl.training.trackers.find_spec", lambda name: None if name == "wandb" else find(name))
    with pytest.raises(MachineError, match=r"names wandb, which is not installed: pip install 'risctl\[wandb\]'"):
        train(never_better(store, trackers=["wandb"]), out=tmp_path / "other", device="cpu", build=build_tiny)
    assert not (tmp_path / "other").exists()


def test_the_best_is_kept_by_any_figure(store: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(store, train={"epochs": 2, "eval_limit": 2, "best": "oIoU", "trackers": []})
    result = train(recipe, out=tmp_path / "run", device="cpu", build=build_tiny)
    assert result.best is not None and result.best.figure == "oIoU"
    measured = {entry["step"]: entry["figures"]["oIoU"] for entry in entries(tmp_path / "run", "eval")}
    assert result.best.value == max(measured.values()) == measured[result.best.step]


def test_tensorboard_has_the_figures(store: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs tensorboard, the extra risctl[tensorboard]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe = tiny_recipe(store, train={"epochs": 1, "eval_limit": 2, "trackers": ["tensorboard"]})
    train(recipe, out=tmp_path / "run", device="cpu", build=build_tiny)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    for entry in entries(tmp_path / "run", "train"):
        [value] = [one.value for one in events.Scalars("train/grad_norm") if one.step == entry["step"]]
        assert value == pytest.approx(entry["grad_norm"], rel=1e-6)
    assert {"train/loss", "train/data_share", "train/memory_mib", "eval/mIoU"} <= set(events.Tags()["scalars"])


def test_weights_and_biases_offline(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real library where it is installed; else its interface, as accelerate calls it."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    logged: list[tuple[int, dict[str, float]]] = []
    begun: list[dict[str, Any]] = []
    is_real = importlib.util.find_spec("wandb") is not None
    if not is_real:
        monkeypatch.setitem(sys.modules, "wandb", _wandb(begun, logged))
        monkeypatch.setattr("risctl.training.trackers.find_spec", lambda name: object())
    recipe = tiny_recipe(store, train={"epochs": 1, "eval_every": None, "trackers": ["wandb"]})
    train(recipe, out=tmp_path / "run", device="cpu", build=build_tiny)
    assert len((tmp_path / "run" / "wandb" / "id").read_text()) == 16
    if is_real:
        [folder] = (tmp_path / "run" / "wandb").glob("offline-run-*")
        assert any(file.suffix == ".wandb" and file.stat().st_size for file in folder.iterdir())
        return
    longer = tiny_recipe(store, train={"epochs": 2, "eval_every": None, "trackers": ["wandb"]})
    resume(tmp_path / "run", recipe=longer, device="cpu", build=build_tiny)
    assert begun[0]["id"] == begun[1]["id"] and begun[0]["dir"] == str(tmp_path / "run")
    steps = [entry["step"] for entry in entries(tmp_path / "run", "train")]
    assert [step for step, values in logged if "train/loss" in values] == steps == list(range(1, 11))


def _wandb(begun: list[dict[str, Any]], logged: list[tuple[int, dict[str, float]]]) -> ModuleType:
    class Run:
        def log(self, values: dict[str, float], step: int) -> None:
            logged.append((step, values))

        def finish(self) -> None:
            begun[-1]["finished"] = True

    class Config:
        def update(self, values: dict[str, Any], **_: Any) -> None:
            begun[-1]["config"] = values

    def init(**options: Any) -> Run:
        begun.append(options)
        return Run()

    module: Any = ModuleType("wandb")
    module.init, module.config = init, Config()
    return module
