"""A training that begins with the weights of another: all of them, of some parts, of another vocabulary."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.small_models import REFERFORMER
from helpers.tiny import assert_same_tensors, build_tiny, tiny_dataset, tiny_recipe, tiny_store, weights_of

from risctl.checkpoints.checkpoint import save_checkpoint
from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.data.records import Expression
from risctl.data.store.writer import write_store
from risctl.errors import CheckpointError, RecipeError
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.load import parse_recipe
from risctl.recipe.train import InitWeightsSection
from risctl.systems.registry import build_system
from risctl.training.init_weights import read_init_weights
from risctl.training.run import resume, train


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def trained(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("first") / "run"
    train(tiny_recipe(store), out=out, device="cpu", build=build_tiny)
    return out


def begun(path: Path, **keys: Any) -> Any:
    return read_init_weights(InitWeightsSection(checkpoint=str(path), **keys))


def other_words(folder: Path) -> Path:
    """Write a store that says "azure" where the other says "blue"."""
    dataset = tiny_dataset()
    for number, record in enumerate(dataset.records):
        expressions = tuple(
            Expression(
                sentence_id=expression.sentence_id,
                raw=expression.raw,
                sent=expression.sent.replace("blue", "azure"),
                tokens=tuple(expression.sent.replace("blue", "azure").split()),
            )
            for expression in record.expressions
        )
        dataset.records[number] = replace(record, expressions=expressions)
    write_store(dataset, folder / "other.h5")
    return folder / "other.h5"


def test_a_training_begins_where_the_other_ended(store: Path, trained: Path, tmp_path: Path) -> None:
    """With the same weights and words, the first step's loss is what the other's weights give."""
    sayings: list[str] = []

    class Listener:
        def line(self, text: str, *, routine: bool = False) -> None:
            sayings.append(text)

        def evaluating(self, done: int, total: int) -> None:
            pass

        def step(self, step: int, total: int, **_: Any) -> None:
            pass

    start = {"checkpoint": str(trained)}
    recipe = tiny_recipe(store, optim={"lr": 1e-9}, train={"epochs": 1, "max_steps": 1, "init_weights": start})
    result = train(recipe, out=tmp_path / "next", device="cpu", build=build_tiny, callback=Listener())
    before, after = load_checkpoint(trained, build=build_tiny), load_checkpoint(result.checkpoint, build=build_tiny)
    for name, parameter in before.system.named_parameters():
        assert torch.allclose(parameter, after.system.get_parameter(name), atol=1e-6), name
    assert before.vocabulary == after.vocabulary
    assert any("begins with" in saying and str(trained) in saying for saying in sayings)


def test_words_keep_their_vectors_and_new_ones_begin_anew(store: Path, trained: Path, tmp_path: Path) -> None:
    start = {"checkpoint": str(trained)}
    recipe = tiny_recipe(
        other_words(tmp_path), optim={"lr": 1e-9}, train={"epochs": 1, "max_steps": 1, "init_weights": start}
    )
    result = train(recipe, out=tmp_path / "next", device="cpu", build=build_tiny)
    before, after = load_checkpoint(trained, build=build_tiny), load_checkpoint(result.checkpoint, build=build_tiny)
    words = after.vocabulary.words
    # What the first knew stays known, if the new data do not say it at all.
    assert set(words) == {*before.vocabulary.words, "azure"}
    for word in before.vocabulary.words:
        own = after.system.embedding.weight[words.index(word)]
        assert torch.allclose(own, before.system.embedding.weight[before.vocabulary.words.index(word)], atol=1e-6)
    assert torch.allclose(before.system.head.weight, after.system.head.weight, atol=1e-6)


def test_parts_are_taken_and_others_begin_anew(store: Path, trained: Path) -> None:
    recipe, known = tiny_recipe(store), load_checkpoint(trained, build=build_tiny)
    for keys, taken in (({"include": ("backbone",)}, {"backbone"}), ({"exclude": ("head", "backbone")}, {"embedding"})):
        torch.manual_seed(5)
        system = build_tiny(recipe.model, vocabulary=known.vocabulary)
        fresh = {name: one.clone() for name, one in system.named_parameters()}
        note = begun(trained, **keys).fill(system, known.vocabulary)
        assert "keep their own" in note
        for name, one in system.named_parameters():
            wanted = known.system.get_parameter(name) if name.split(".")[0] in taken else fresh[name]
            assert torch.equal(one, wanted), name


def test_parts_that_stay_random_are_told(store: Path, trained: Path, tmp_path: Path) -> None:
    """The parts, not their tensors; a constant counts to neither side, and what another file gives is not random."""
    start = {"checkpoint": str(trained), "include": ["backbone.0", "embedding"]}
    recipe = tiny_recipe(store, train={"epochs": 1, "max_steps": 1, "init_weights": start})
    train(recipe, out=tmp_path / "part", device="cpu", build=build_tiny)
    warning = "warning: random at the start, since train.init_weights leaves it out and nothing else gives it: "
    line = f"{warning}backbone.3 (584 parameters), head (73 parameters)\n"
    assert line in (tmp_path / "part" / "log.txt").read_text(encoding="utf-8")

    def build(model: Any, **keys: Any) -> Any:
        system = build_tiny(model, **keys)
        with torch.no_grad():  # as a backbone whose weights are published
            for number, one in enumerate(system.backbone.parameters()):
                one.copy_(torch.linspace(-1, number, one.numel()).view_as(one))
        return system

    start["include"] = ["embedding"]
    recipe = tiny_recipe(store, train={"epochs": 1, "max_steps": 1, "init_weights": start})
    train(recipe, out=tmp_path / "published", device="cpu", build=build)
    told = (tmp_path / "published" / "log.txt").read_text(encoding="utf-8")
    assert f"{warning}head (73 parameters)\n" in told
    # A system without a part named "visual" or "text" has its encoders elsewhere: other weights are read for them.
    assert not begun(trained, include=("head",)).takes_encoders
    assert begun(trained).takes_encoders
    del start["include"]
    train(
        tiny_recipe(store, train={"epochs": 1, "max_steps": 1, "init_weights": start}),
        out=tmp_path / "whole",
        device="cpu",
        build=build_tiny,
    )
    assert warning not in (tmp_path / "whole" / "log.txt").read_text(encoding="utf-8")


def test_what_does_not_fit_is_named(store: Path, trained: Path, tmp_path: Path) -> None:
    known = load_checkpoint(trained, build=build_tiny)
    system = build_tiny(tiny_recipe(store).model, vocabulary=known.vocabulary)
    with pytest.raises(RecipeError, match=r"'heads'; nearest: 'head'"):
        begun(trained, exclude=("heads",)).fill(system, known.vocabulary)
    system.head = torch.nn.Conv2d(8, 2, 3, padding=1)
    system.further = torch.nn.Linear(2, 2)
    with pytest.raises(CheckpointError, match=r"further.weight is missing.*head.weight is \(1, 8, 3, 3\), expected"):
        begun(trained).fill(system, known.vocabulary)
    begun(trained, exclude=("head", "further")).fill(system, known.vocabulary)
    with pytest.raises(CheckpointError, match="no run folder"):
        begun(tmp_path / "absent")


def test_a_started_run_goes_on_exactly_without_what_it_began_with(store: Path, trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "start.safetensors"
    copy.write_bytes((trained / "last.safetensors").read_bytes())
    keys: dict[str, Any] = {"init_weights": {"checkpoint": str(copy), "exclude": ["head"]}, "epochs": 4}
    recipe = tiny_recipe(store, train=keys)
    train(recipe, out=tmp_path / "whole", device="cpu", build=build_tiny)

    class StopHereError(Exception):
        pass

    class Stopper:
        def line(self, text: str, *, routine: bool = False) -> None:
            pass

        def evaluating(self, done: int, total: int) -> None:
            pass

        def step(self, step: int, total: int, **_: Any) -> None:
            if step == 7:
                raise StopHereError

    with pytest.raises(StopHereError):
        train(recipe, out=tmp_path / "part", device="cpu", build=build_tiny, callback=Stopper())
    copy.unlink()
    resume(tmp_path / "part", device="cpu", build=build_tiny)
    assert_same_tensors(
        weights_of(tmp_path / "whole" / "last.safetensors"), weights_of(tmp_path / "part" / "last.safetensors")
    )


@pytest.mark.parametrize(
    "model",
    [
        REFERFORMER,
        {
            "system": "vlt",
            "input_size": 64,
            "hidden": 32,
            "fusion_channels": 32,
            "visual": {"name": "small_cnn"},
            "text": {"hidden": 16},
        },
        {"system": "step", "visual": {"name": "small_cnn"}, "text": {"hidden": 16}},
    ],
    ids=lambda model: str(model["system"]),
)
def test_every_system_can_begin_with_another_vocabulary(model: dict[str, Any], tmp_path: Path) -> None:
    recipe = parse_recipe(
        {"name": "any", "model": model, "data": {"store": "none.h5"}, "train": {"epochs": 1}}, source="test"
    )
    first, second = Vocabulary(["red", "cup"]), Vocabulary(["cup", "blue", "red"])
    system = build_system(recipe.model, vocabulary=first, pretrained=False)
    save_checkpoint(tmp_path / "one.safetensors", system=system, recipe=recipe, vocabulary=first)
    torch.manual_seed(9)
    other = build_system(recipe.model, vocabulary=second, pretrained=False)
    start = begun(tmp_path / "one.safetensors")
    assert start.words == first and start.takes_encoders
    assert "and 1 words that it does not know" in start.fill(other, second)
    own, given = other.state_dict(), system.state_dict()
    different = [name for name in own if own[name].shape != given[name].shape]
    assert len(different) == 1
    assert torch.equal(own[different[0]][[0, 1, 4, 2]], given[different[0]])
    assert all(torch.equal(own[name], given[name]) for name in own if name not in different)


def test_new_class_heads_as_after_the_published_pretraining(tmp_path: Path) -> None:
    """Ref-YouTube-VOS's fine-tuning: one class in the place of COCO's 91."""

    def build(classes: int) -> Any:
        model = {**REFERFORMER, "classes": classes}
        mapping = {"name": "any", "model": model, "data": {"store": "none.h5"}, "train": {"epochs": 1}}
        recipe = parse_recipe(mapping, source="test")
        return recipe, build_system(recipe.model, vocabulary=Vocabulary(["red"]))

    recipe, pretrained = build(91)
    path = tmp_path / "pretrained.safetensors"
    save_checkpoint(path, system=pretrained, recipe=recipe, vocabulary=Vocabulary(["red"]))
    _, binary = build(1)
    with pytest.raises(CheckpointError, match=r"classes.0.weight is \(91, 32\), expected \(1, 32\)"):
        begun(path).fill(binary, Vocabulary(["red"]))
    begun(path, exclude=("classes",)).fill(binary, Vocabulary(["red"]))
    assert torch.equal(binary.query_embedding, pretrained.query_embedding)
    assert binary.classes[0].bias.shape == (1,)
