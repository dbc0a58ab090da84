"""The trainer on a system of a thousand parameters: what it does to weights, what it leaves, what it refuses."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.tiny import (
    PROCESSES,
    TinySystem,
    assert_same_tensors,
    build_tiny,
    tiny_recipe,
    tiny_store,
    train_tiny,
    weights_of,
)

from risctl.checkpoints.checkpoint import MODEL, TRAINING, read_tensors
from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.data.batch import Batch
from risctl.data.store.reader import Store
from risctl.devices import pick_device
from risctl.errors import DataError, MachineError, RecipeError, UsageError
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.schema import Recipe
from risctl.systems.base import Output
from risctl.training.run import TrainingResult, resume, train
from risctl.training.run_folder import RunFolder
from risctl.training.state import TrainingError
from risctl.training.validation import validation_of


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_store(tmp_path_factory.mktemp("store"))


def run(recipe: Recipe, out: Path, **choices: Any) -> TrainingResult:
    return train(recipe, out=out, device="cpu", **{"build": build_tiny, **choices})


def lines(folder: Path, kind: str) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [entry for entry in entries if entry["kind"] == kind]


def model_tensors(path: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in weights_of(path).items() if name.startswith("model.")}


def test_learns_and_leaves_a_whole_run_folder(store: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(store, optim={"lr": 0.03}, train={"epochs": 16, "eval_every": 4, "log_every": 10})
    result = run(recipe, tmp_path / "run", command="risctl train tiny")
    folder = RunFolder(result.run)
    assert result.steps == 80 and result.best is not None and result.best.value > 40
    losses = [entry["loss"] for entry in lines(result.run, "train")]
    assert len(losses) == 8 and losses[-1] < 0.5 * losses[0]
    evaluations = lines(result.run, "eval")
    assert [entry["step"] for entry in evaluations] == [20, 40, 60, 80]
    best = max(evaluations, key=lambda entry: entry["figures"]["mIoU"])
    assert (best["step"], best["figures"]["mIoU"]) == (result.best.step, result.best.value)
    assert folder.recipe() == recipe
    assert (result.run / "command.txt").read_text() == "risctl train tiny\n"
    assert json.loads((result.run / "versions.json").read_text())["torch"] == torch.__version__.split("+")[0]
    log = folder.log_file.read_text()
    assert "learned embeddings over the training vocabulary" in log and "left" in log
    header = load_checkpoint(folder.best, build=build_tiny).header
    with Store(store) as opened:
        assert header["dataset"]["fingerprint"] == opened.fingerprint
    assert header["protocol"] == "original" and header["step"] == result.best.step
    assert header["metrics"] == best["figures"]
    assert "state" not in header and not any(name.startswith("training.") for name in weights_of(folder.best))
    loaded = load_checkpoint(result.run, build=build_tiny)
    assert "red" in loaded.vocabulary and loaded.path == folder.best


def test_a_seed_decides_the_weights(store: Path, tmp_path: Path) -> None:
    for name, seed, workers in (("a", 1, 0), ("b", 1, 2), ("c", 2, 0)):
        recipe = tiny_recipe(
            store, data={"workers": workers, "augment": {"flip": 0.5, "colour": 0.2}}, train={"epochs": 1, "seed": seed}
        )
        torch.manual_seed(len(name) + seed)
        run(recipe, tmp_path / name)
    first, second, third = (model_tensors(tmp_path / name / "last.safetensors") for name in "abc")
    assert_same_tensors(first, second)
    assert any(not torch.equal(first[name], third[name]) for name in first)


def test_accumulated_batches_are_one_large_batch(store: Path, tmp_path: Path) -> None:
    shared: dict[str, Any] = {"model": {"dropout": 0.0}, "train": {"epochs": 2}}
    run(tiny_recipe(store, data={"batch_size": 8}, **shared), tmp_path / "large")
    run(tiny_recipe(store, data={"batch_size": 2}, optim={"accumulate": 4}, **shared), tmp_path / "small")
    large, small = (model_tensors(tmp_path / name / "last.safetensors") for name in ("large", "small"))
    for name in large:
        torch.testing.assert_close(large[name], small[name], atol=1e-6, rtol=1e-5)
    assert len(lines(tmp_path / "small", "train")) == len(lines(tmp_path / "large", "train")) == 4


def test_gradients_are_clipped_and_multipliers_hold(store: Path, tmp_path: Path) -> None:
    optim = {
        "name": "sgd",
        "momentum": 0.0,
        "lr": 1.0,
        "clip_norm": 1e-3,
        "multipliers": {"backbone": 0.0, "backbone.3": 2.0},
    }
    recipe = tiny_recipe(store, optim=optim, train={"epochs": 1, "max_steps": 1})
    started: dict[str, torch.Tensor] = {}

    def build(*args: Any, **words: Any) -> TinySystem:
        system = build_tiny(*args, **words)
        started.update({name: one.detach().clone() for name, one in system.named_parameters()})
        return system

    run(recipe, tmp_path / "run", build=build)
    ended = model_tensors(tmp_path / "run" / "last.safetensors")
    moved = {name: ended[f"model.{name}"] - one for name, one in started.items()}
    assert not moved["backbone.0.weight"].any() and moved["backbone.3.weight"].any()
    squares = sum(
        float((step / (2 if name.startswith("backbone.3") else 1)).square().sum()) for name, step in moved.items()
    )
    # The backbone's own share of the norm is clipped with the rest, and then not used.
    assert 0 < squares**0.5 <= 1.001e-3


def test_unknown_multiplier_names_the_nearest(store: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"'bakbone'.*'backbone'"):
        run(tiny_recipe(store, optim={"multipliers": {"bakbone": 0.1}}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_rates_follow_warm_up_and_milestones(store: Path, tmp_path: Path) -> None:
    optim = {"lr": 0.1, "warmup_steps": 4, "warmup_ratio": 0.0, "schedule": {"name": "steps", "milestones": [2]}}
    run(tiny_recipe(store, optim=optim), tmp_path / "run")
    rates = [entry["rate"] for entry in lines(tmp_path / "run", "train")]
    assert rates == pytest.approx([0, 0.025, 0.05, 0.075, 0.1, 0.01, 0.01, 0.01, 0.01, 0.01])


def test_running_mean_is_evaluated_and_kept_as_best(store: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(store, train={"epochs": 3, "ema": 0.9, "eval_every": 3})
    run(recipe, tmp_path / "run")
    best, last = (weights_of(tmp_path / "run" / f"{name}.safetensors") for name in ("best", "last"))
    assert torch.equal(best["model.head.weight"], last["mean.head.weight"])
    assert not torch.equal(last["model.head.weight"], last["mean.head.weight"])
    loaded = load_checkpoint(tmp_path / "run" / "last.safetensors", build=build_tiny).system
    assert torch.equal(loaded.state_dict()["head.weight"], last["mean.head.weight"])


class Diverging(TinySystem):
    """Gives a loss that is not finite in its third step."""

    calls = 0

    def loss(self, output: Output, batch: Batch) -> dict[str, torch.Tensor]:
        self.calls += 1
        terms = super().loss(output, batch)
        return {**terms, "penalty": terms["penalty"] * float("inf")} if self.calls == 3 else terms


def test_a_loss_that_is_not_finite_stops_with_its_terms(store: Path, tmp_path: Path) -> None:
    def build(model: Any, **words: Any) -> TinySystem:
        words.pop("vectors"), words.pop("pretrained")
        return Diverging(**words, size=64, max_words=6, norm=True, dropout=0.1)

    with pytest.raises(
        TrainingError, match=r'step 3: \{"mask": "0\.\d+", "penalty": "inf"\} \(sentence ids \d+'
    ) as caught:
        run(tiny_recipe(store, train={"save_every": 1}), tmp_path / "run", build=build)
    assert caught.value.exit_code == 1
    header, tensors = read_tensors(tmp_path / "run" / "last.safetensors", prefixes=(MODEL, TRAINING))
    assert header["step"] == 2 and all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())


def test_weights_that_are_not_finite_are_not_saved(store: Path, tmp_path: Path) -> None:
    def build(*args: Any, **words: Any) -> TinySystem:
        system = build_tiny(*args, **words)

        def poison(module: torch.nn.Module, *_: Any) -> None:
            module.weight.data[1] = float("nan")

        # The word of row 1 is in no text, so the loss does not see it.
        system.embedding.register_forward_hook(poison)
        return system

    with pytest.raises(TrainingError, match=r"embedding\.weight is no longer finite"):
        run(tiny_recipe(store, train={"save_every": 1}), tmp_path / "run", build=build)
    assert not (tmp_path / "run" / "last.safetensors").exists()


def test_what_cannot_work_is_refused_before_anything_is_made(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(UsageError, match=r"data\.batch_size=20 or less"):
        run(tiny_recipe(store, data={"batch_size": 64}), out)
    with pytest.raises(UsageError, match="vall"):
        run(tiny_recipe(store, data={"val_split": "vall"}), out)
    with pytest.raises(DataError, match="risctl prepare"):
        run(tiny_recipe(tmp_path / "absent.h5"), out)
    with pytest.raises(MachineError, match="fp16 needs a GPU"):
        run(tiny_recipe(store, train={"precision": "fp16"}), out)
    assert not out.exists()
    out.mkdir()
    (out / "thesis.txt").touch()
    with pytest.raises(UsageError, match="not empty"):
        run(tiny_recipe(store), out)


def test_an_unknown_figure_is_named_at_the_first_evaluation(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mIoU"):
        run(tiny_recipe(store, train={"epochs": 1, "best": "mIuO"}), tmp_path / "run")


def test_bf16_trains_on_a_cpu(store: Path, tmp_path: Path) -> None:
    result = run(tiny_recipe(store, train={"epochs": 2, "precision": "bf16"}), tmp_path / "run")
    losses = [entry["loss"] for entry in lines(result.run, "train")]
    assert losses[-1] < losses[0]
    assert model_tensors(result.run / "last.safetensors")["model.head.weight"].dtype == torch.float32


def test_run_folders_are_numbered(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = tiny_recipe(store)
    assert [str(RunFolder.create(recipe).path) for _ in range(3)] == ["runs/tiny-1", "runs/tiny-2", "runs/tiny-3"]


def test_two_processes_train_like_one(store: Path, tmp_path: Path) -> None:
    """Distributed over two processes (gloo): the same global batches, so the same weights up to rounding."""
    shared: dict[str, Any] = {"model": {"dropout": 0.0}, "train": {"epochs": 2, "log_every": 1}}
    alone = tiny_recipe(store, data={"batch_size": 8}, **shared)
    run(alone, tmp_path / "alone")
    values = tiny_recipe(store, data={"batch_size": 4}, **shared).model_dump(mode="json")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in range(2):
        environment = {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": "2",
            "LOCAL_WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "OMP_NUM_THREADS": "1",
        }
        arguments = (values, tmp_path / "pair")
        processes.append(PROCESSES.Process(target=train_tiny, args=arguments, kwargs=environment))
        processes[-1].start()
    for process in processes:
        process.join(90)
        assert process.exitcode == 0
    one, two = (model_tensors(tmp_path / name / "last.safetensors") for name in ("alone", "pair"))
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(one[name], two[name], atol=1e-6, rtol=1e-5)
    evaluated = [lines(tmp_path / name, "eval") for name in ("alone", "pair")]
    assert [entry["step"] for entry in evaluated[0]] == [entry["step"] for entry in evaluated[1]]
    for first, second in zip(*evaluated):
        assert np.allclose(list(first["figures"].values()), list(second["figures"].values()), atol=1e-6)


def test_devices_are_picked_or_refused() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    with pytest.raises(UsageError, match="cuda"):
        pick_device("cudaa")
    if not torch.cuda.is_available():
        with pytest.raises(MachineError, match="no CUDA device"):
            pick_device("cuda")


def test_a_run_of_another_recipe_or_store_is_not_gone_on_with(store: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(store, train={"epochs": 1})
    run(recipe, tmp_path / "run")
    with pytest.raises(UsageError, match=r"another recipe: optim\.lr differ"):
        resume(tmp_path / "run", recipe=tiny_recipe(store, optim={"lr": 0.5}, train={"epochs": 1}), build=build_tiny)
    (tmp_path / "elsewhere").mkdir()
    other = tiny_store(tmp_path / "elsewhere", images=9)
    with pytest.raises(DataError, match="fingerprint"):
        resume(tmp_path / "run", recipe=tiny_recipe(other, train={"epochs": 1}), device="cpu", build=build_tiny)
    with pytest.raises(UsageError, match="does not exist"):
        resume(tmp_path / "nowhere", build=build_tiny)


def test_multipliers_hold_from_their_epoch_on(store: Path, tmp_path: Path) -> None:
    def backbone(name: str, *, epochs: int, first: int) -> dict[str, torch.Tensor]:
        optim = {"multipliers": {"backbone": 0.0}, "multipliers_from": first}
        train_keys = {"epochs": epochs, "eval_every": None}
        run(tiny_recipe(store, optim=optim, train=train_keys), tmp_path / name)
        tensors = model_tensors(RunFolder(tmp_path / name).last)
        return {key: value for key, value in tensors.items() if key.startswith("model.backbone.0")}

    held, free, later = (
        backbone("held", epochs=1, first=1), backbone("free", epochs=1, first=2), backbone("later", epochs=2, first=2)
    )  # fmt: skip
    assert any(not torch.equal(free[name], held[name]) for name in held)
    assert_same_tensors(free, later)


def test_the_first_sentence_of_each_ref_can_be_evaluated_alone(store: Path) -> None:
    recipe = tiny_recipe(store, train={"eval_sentences": "first"})
    system = build_tiny(recipe.model, vocabulary=Vocabulary(["red"]))
    texts: list[str] = []
    original = system.preprocess.text
    system.preprocess.text = lambda text: [texts.append(text), original(text)][1]
    with Store(store) as opened:
        validation, _ = validation_of(recipe, opened, device=torch.device("cpu"))
        assert validation is not None and "val, 4 sentences" in validation.describe()
        assert "mIoU" in validation.figures(system)
        firsts = [opened.sentence(int(opened.ref(int(row)).sentences[0])).sent for row in opened.refs("val")]
    assert sorted(texts) == sorted(firsts)
