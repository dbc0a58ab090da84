"""Models without their numbers: what is compared before memory is taken."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from risctl.errors import CheckpointError
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.load import load_recipe
from risctl.systems.registry import build_system
from risctl.weights.skeleton import build_skeleton, check_buffers, check_fit, without_initial_values
from risctl.weights.tensor_checks import Layout, all_finite, layouts_of


def test_a_model_of_a_terabyte_takes_none() -> None:
    skeleton = build_skeleton(lambda: nn.Linear(10**6, 10**6), tensors=2, source="x")
    with pytest.raises(CheckpointError, match=r"weight is \(3, 4\), expected \(1000000, 1000000\)"):
        check_fit(skeleton.state_dict(), layouts_of(nn.Linear(4, 3).state_dict()), source="x")


@pytest.mark.parametrize("part", [nn.Identity, lambda: nn.LayerNorm(1), lambda: nn.BatchNorm1d(1)])
def test_a_model_of_endless_parts_is_stopped(part: Callable[[], nn.Module]) -> None:
    def build() -> nn.Module:
        layers = nn.ModuleList()
        for _ in range(10**9):
            layers.append(part())
        return layers

    with pytest.raises(CheckpointError, match="asks for far more than its 3 tensors"):
        build_skeleton(build, tensors=3, source="x")


def test_tables_beside_the_weights_are_bounded() -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3))
            self.register_buffer("grid", torch.zeros(2**14, 2**14), persistent=False)

    with pytest.raises(CheckpointError, match="tables of"):
        check_buffers(build_skeleton(Wide, tensors=1, source="x"), source="x")


def test_what_cannot_be_built_is_one_line() -> None:
    with pytest.raises(CheckpointError, match="x describes a model that cannot be built"):
        build_skeleton(lambda: nn.MultiheadAttention(10, 3), tensors=3, source="x")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (Layout((3,), torch.complex64), "weight holds complex64, expected floating-point numbers"),
        (Layout((3,), torch.int64), "weight holds int64, expected floating-point numbers"),
        (Layout((3,), None), "weight holds another type"),
        (Layout((4,), torch.float32), r"weight is \(4,\), expected \(3,\)"),
    ],
)
def test_kinds_and_shapes_are_compared(given: Layout, says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        check_fit({"weight": torch.zeros(3)}, {"weight": given}, source="x")
    check_fit({"weight": torch.zeros(3)}, {"weight": Layout((3,), torch.float16)}, source="x")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_one_number_that_is_not_finite_is_found(value: float, dtype: torch.dtype) -> None:
    tensor = torch.full((3, 4), torch.finfo(dtype).max, dtype=dtype)
    assert all_finite(tensor)
    tensor[1, 2] = value
    assert not all_finite(tensor)


@pytest.mark.parametrize("name", ["vlt-light-refcoco", "step-scenes", "referformer-scenes", "zsi-coco-mini", "mini"])
def test_a_skeleton_has_the_names_shapes_and_kinds_of_its_model(name: str) -> None:
    recipe, vocabulary = load_recipe(name), Vocabulary(f"word{number}" for number in range(30))

    def build() -> nn.Module:
        return build_system(recipe.model, vocabulary=vocabulary, pretrained=False)

    with without_initial_values():
        layouts = layouts_of(build().state_dict())
    skeleton = build_skeleton(build, tensors=len(layouts), source="x")
    assert layouts_of(skeleton.state_dict()) == layouts
    assert all(tensor.is_meta for tensor in skeleton.state_dict().values())
    check_buffers(skeleton, source="x")


def test_models_built_for_a_file_keep_what_they_compute_themselves() -> None:
    def build() -> nn.Module:
        return build_system(load_recipe("mini").model, vocabulary=Vocabulary(["a"]), pretrained=False)

    with without_initial_values():
        bare = build()
    own = set(bare.state_dict())
    for (name, one), other in zip(build().named_buffers(), bare.buffers(), strict=True):
        assert name in own or torch.equal(one, other)


def test_loading_the_shipped_model_imports_no_compiler(tmp_path: Path) -> None:
    code = "import sys, risctl; risctl.load('mini'); print({'sympy', 'torch._dynamo'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
