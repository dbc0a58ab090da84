"""Two processes train what one does that accumulates their batches: the same weights, to the bit.

The running statistics of batch norms alone are combined with another rounding; and sums over more than two batches.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny import build_tiny, tiny_recipe, tiny_store, weights_of
from helpers.two_processes import RUNNING, assert_one_run, in_two_processes
from torch import Tensor, nn

from risctl.checkpoints.checkpoint import read_tensors
from risctl.errors import RisctlError, UsageError
from risctl.recipe.load import parse_recipe
from risctl.recipe.schema import Recipe
from risctl.training import run as training
from risctl.training.global_batch import global_batch
from risctl.training.run_record import read_run_record
from risctl.training.shared_norms import SharedNorms

PACKED = {"phrases_per_image": 2, "sentences": "all"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two processes in `two`, of one in `one`; `crossed` and `split` changed from one to two, or back."""
    folder = tmp_path_factory.mktemp("parallel")
    values = {name: one.model_dump(mode="json") for name, one in recipes(tiny_store(folder)).items()}
    training.train(parse_recipe(values["one"], source="one"), out=folder / "one", device="cpu", build=build_tiny)
    training.train(parse_recipe(values["four"], source="four"), out=folder / "four", device="cpu", build=build_tiny)
    training.train(
        parse_recipe(values["uneven"], source="uneven"), out=folder / "uneven", device="cpu", build=build_tiny
    )
    begun = parse_recipe(values["one, begun"], source="begun")
    training.train(begun, out=folder / "crossed", device="cpu", build=build_tiny)
    for name, recipe in (("packed", "packed, one"), ("packed, crossed", "packed, one, begun")):
        training.train(parse_recipe(values[recipe], source=name), out=folder / name, device="cpu", build=build_tiny)
    in_two_processes(_pair, folder, folder, values)
    rest = parse_recipe(values["two"], source="rest")
    training.resume(folder / "back", recipe=rest, device="cpu", build=build_tiny)
    rest = parse_recipe(values["packed, two"], source="rest")
    training.resume(folder / "packed, back", recipe=rest, device="cpu", build=build_tiny)
    return folder


def recipes(store: Path) -> dict[str, Recipe]:
    """Everything that could depend on the processes: norms, dropout, EMA, accumulation, an uneven last step."""

    def recipe(*, accumulate: int, steps: int = 8, name: str = "adam", **data: Any) -> Recipe:
        return tiny_recipe(
            store,
            data={"batch_size": 3, "last_batch": "wrap", "augment": {"flip": 0.5}, **data},
            optim={"name": name, "accumulate": accumulate, "clip_norm": 1.0, "warmup_steps": 2},
            train={"epochs": 3, "max_steps": steps, "ema": 0.9, "eval_limit": 2, "trackers": []},
        )

    return {
        "one": recipe(accumulate=2),
        "two": recipe(accumulate=1),
        "one, begun": recipe(accumulate=2, steps=3),
        "two, begun": recipe(accumulate=1, steps=3),
        "four": recipe(accumulate=4, name="sgd"),
        "two of two": recipe(accumulate=2, name="sgd"),
        "uneven": recipe(accumulate=1, steps=1),
        "packed, one": recipe(accumulate=2, **PACKED),
        "packed, two": recipe(accumulate=1, **PACKED),
        "packed, one, begun": recipe(accumulate=2, steps=3, **PACKED),
        "packed, two, begun": recipe(accumulate=1, steps=3, **PACKED),
    }


def _pair(rank: int, folder: Path, values: Mapping[str, Any]) -> None:
    options: dict[str, Any] = {"device": "cpu", "build": build_tiny, "continues": True}
    given = {name: parse_recipe(one, source=name) for name, one in values.items()}
    training.train(given["two"], out=folder / "two", **options)
    training.train(given["two, begun"], out=folder / "back", **options)
    training.train(given["two of two"], out=folder / "two of two", **options)
    training.resume(folder / "crossed", recipe=given["one"], **options)
    training.train(given["packed, two"], out=folder / "packed, two", **options)
    training.train(given["packed, two, begun"], out=folder / "packed, back", **options)
    training.resume(folder / "packed, crossed", recipe=given["packed, one"], **options)
    told: dict[str, Any] = {"code": 0}
    try:
        training.train(given["two" if rank == 0 else "four"], out=folder / "disagree", **options)
    except RisctlError as error:
        told = {"code": error.exit_code, "message": str(error)}
    told["uneven"] = {"code": 0}
    try:
        training.resume(folder / "uneven", recipe=given["uneven"], **options)
    except RisctlError as error:
        told["uneven"] = {"code": error.exit_code, "message": str(error)}
    (folder / f"told-{rank}.json").write_text(json.dumps(told))


def test_two_processes_train_what_one_does(folder: Path) -> None:
    assert_one_run(folder / "one", folder / "two")
    names = weights_of(folder / "one" / "last.safetensors")
    assert any(name.endswith(RUNNING) for name in names) and any(name.startswith("mean.") for name in names)


def test_two_processes_that_accumulate_differ_by_rounding_alone(folder: Path) -> None:
    ours, theirs = (weights_of(folder / name / "last.safetensors") for name in ("four", "two of two"))
    for name, value in ours.items():
        assert torch.allclose(value, theirs[name], rtol=1e-4, atol=1e-6), name
    norms = [
        [value for _, value in read_run_record(folder / name).curves["grad_norm"]] for name in ("four", "two of two")
    ]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)


def test_a_run_goes_on_with_other_processes_at_the_same_sample(folder: Path) -> None:
    """From one to two, and from two to one: every step has its samples, and the weights are those of a whole run."""
    for name, note in (("crossed", "processes: 2 in place of 1"), ("back", "processes: 1 in place of 2")):
        assert_one_run(folder / "one", folder / name)
        log = (folder / name / "log.txt").read_text()
        assert f"{note}; every step keeps its 6 samples" in log and "no longer bit-identical" in log
    position = read_tensors(folder / "crossed" / "last.safetensors", prefixes=())[0]["position"]
    assert position["processes"] == 1


def test_expressions_of_an_image_stay_together_in_two_processes_and_on_resuming(folder: Path) -> None:
    for name in ("packed, two", "packed, crossed", "packed, back"):
        assert_one_run(folder / "packed", folder / name)
    assert "40 samples an epoch, up to 2 of an image together" in (folder / "packed" / "log.txt").read_text()
    # Not what the same samples give in another order.
    ours, theirs = (weights_of(folder / name / "last.safetensors") for name in ("one", "packed"))
    assert any(not torch.equal(value, theirs[name]) for name, value in ours.items())


def test_processes_that_disagree_end_together(folder: Path) -> None:
    first, second = (json.loads((folder / f"told-{rank}.json").read_text()) for rank in (0, 1))
    assert first["code"] == second["code"] == 2
    assert first["message"] == second["message"]
    assert "process 1 has another optim.accumulate, optim.name than process 0" in first["message"]
    assert not (folder / "disagree").exists()


def test_a_number_of_processes_that_cannot_go_on_is_told_by_both(folder: Path) -> None:
    for rank in (0, 1):
        told = json.loads((folder / f"told-{rank}.json").read_text())["uneven"]
        assert told["code"] == 2 and "cannot be divided evenly among 2; take 1, 3 processes" in told["message"], told


def test_a_store_that_one_machine_lacks_ends_all_with_one_line(tmp_path: Path) -> None:
    """The one that lacks it tells; what the recipes say is alike."""
    store = tiny_store(tmp_path)
    values = tiny_recipe(store, data={"store": "tiny.h5"}).model_dump(mode="json")
    in_two_processes(_lacking, tmp_path, tmp_path, values)
    first, second = (json.loads((tmp_path / f"told-{rank}.json").read_text()) for rank in (0, 1))
    assert first["code"] == second["code"] == 4 and (first["silent"], second["silent"]) == (True, False)
    assert "tiny.h5" in second["message"]


def _lacking(rank: int, folder: Path, values: Mapping[str, Any]) -> None:
    (folder / str(rank)).mkdir()
    os.chdir(folder if rank == 0 else folder / "1")
    told: dict[str, Any] = {"code": 0}
    try:
        training.train(parse_recipe(values, source="given"), out=folder / "run", device="cpu", build=build_tiny)
    except RisctlError as error:
        silent = getattr(error, "told_by_another", False)
        told = {"code": error.exit_code, "message": str(error), "silent": silent}
    (folder / f"told-{rank}.json").write_text(json.dumps(told))


@pytest.mark.parametrize(
    ("began_with", "processes", "expected"),
    [
        (1, 1, (6, 2)),
        (2, 1, (6, 4)),
        (1, 2, (6, 1)),
        (1, 4, (3, 1)),
        (1, 12, (1, 1)),
        (4, 2, (6, 4)),
        (2, 3, (2, 4)),
        (2, 6, (2, 2)),
    ],
)
def test_the_samples_of_a_step_are_divided_anew(
    began_with: int, processes: int, expected: tuple[int, int], tmp_path: Path
) -> None:
    recipe = tiny_recipe(tmp_path / "none.h5", data={"batch_size": 6}, optim={"accumulate": 2})
    made = global_batch(recipe, processes=processes, position={"processes": began_with})
    assert made.samples == 12 * began_with and made.processes == processes
    assert (made.batch_size, made.accumulate) == expected
    note = made.note(recipe)
    assert (note is None) == (began_with == processes)
    if note is not None:
        assert ("batches are smaller" in note) == (made.batch_size < 6)


def test_samples_that_cannot_be_divided_are_refused_with_what_can(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path / "none.h5", data={"batch_size": 4})
    with pytest.raises(UsageError, match=r"4 samples a step, from 1 process, .* among 3; take 1, 2, 4 processes"):
        global_batch(recipe, processes=3, position={"processes": 1})


def test_norms_are_combined_as_one_process_would() -> None:
    """Also norms that a batch passes twice, or not at all, or that are frozen."""
    torch.manual_seed(0)
    inputs = torch.randn(2, 5, 3)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.twice, self.never, self.frozen = nn.BatchNorm1d(3), nn.BatchNorm1d(3, momentum=0.3), nn.BatchNorm1d(3)
            self.averaged = nn.BatchNorm1d(3, momentum=None)

        def forward(self, batch: Tensor) -> Tensor:
            return self.averaged(self.frozen.eval()(self.twice(self.twice(batch) + 1)))

    models = [Model() for _ in range(3)]

    class Gathering:
        """Stands for the accelerator of each process, which learns what all have."""

        def __init__(self) -> None:
            self.rows: list[Tensor] = []
            self.all: Tensor | None = None

        def gather(self, row: Tensor) -> Tensor:
            self.rows.append(row)
            return row if self.all is None else self.all

    for _ in range(3):
        gathering = Gathering()
        norms = [SharedNorms(model, gathering) for model in models[:2]]  # type: ignore[arg-type]
        before = [{name: one.clone() for name, one in model.state_dict().items()} for model in models[:2]]
        for turn in range(2):  # what each has, then what all have
            for model, shared, batch, kept in zip(models[:2], norms, inputs, before, strict=True):
                model.load_state_dict(kept)
                shared.note()
                model.train()(batch)
                shared.combine()
            gathering.all = torch.cat(gathering.rows[:2])
            assert turn == 1 or len(gathering.rows) == 2
        for batch in inputs:
            models[2].train()(batch)
    whole = models[2].state_dict()
    for model in models[:2]:
        for name, value in model.state_dict().items():
            assert torch.allclose(value, whole[name], rtol=1e-5, atol=1e-6), name
