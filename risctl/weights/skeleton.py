"""Builds models without their numbers: to compare what a recipe asks for with what a file holds, and to fill them.

A few hundred bytes of a recipe can ask for gigabytes. A skeleton is the model on the meta device, where tensors have
shapes and take no memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.overrides import TorchFunctionMode

from risctl.errors import CheckpointError, RisctlError
from risctl.weights.tensor_checks import Layout, fits_kind, kind_problem

Model = TypeVar("Model", bound=nn.Module)

_PARTS_PER_TENSOR, _PARTS = 100, 20_000
_BUFFERS_PER_NUMBER, _BUFFERS = 8, 2**24


class _TooManyPartsError(Exception):
    """A model has far more parts than the file has tensors."""


def build_skeleton(build: Callable[[], Model], *, tensors: int, source: Any) -> Model:
    """Builds a model on the meta device, and stops as soon as it has far more parts than a file has tensors.

    Args:
        build: Builds the model.
        tensors: How many tensors the file has.
        source: What names the model in errors.

    Raises:
        CheckpointError: The model is too large for the file, or cannot be built.
    """
    try:
        with _counted_parts(_PARTS + _PARTS_PER_TENSOR * tensors), torch.device("meta"), _Shapes():
            return build()
    except RisctlError:
        raise
    except _TooManyPartsError:
        raise CheckpointError(
            f"{source} does not fit the model of its recipe: the recipe asks for far more than its {tensors:,} tensors"
        ) from None
    except Exception as error:  # the recipe's numbers may fit together in no model
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise CheckpointError(f"{source} describes a model that cannot be built: {first[:160]}") from error


def check_fit(
    own: Mapping[str, Tensor], given: Mapping[str, Layout], *, source: Any, ignored: Callable[[str], bool] | None = None
) -> None:
    """Compares the tensors of a model with those of a file before one is read.

    Args:
        own: The state of the model, or of its skeleton.
        given: What the file says of its tensors, by the names of the model.
        source: The file.
        ignored: Says of a tensor of the model whether the file may lack it.

    Raises:
        CheckpointError: Names, shapes or kinds of numbers differ; the first few are named.
    """
    problems = [f"{name} is missing" for name in own if name not in given and not (ignored and ignored(name))]
    problems += [f"{name} is not of this model" for name in given if name not in own]
    for name, tensor in own.items():
        layout = given.get(name)
        if layout is None:
            continue
        if layout.shape != tuple(tensor.shape):
            problems.append(f"{name} is {layout.shape}, expected {tuple(tensor.shape)}")
        elif not fits_kind(layout.dtype, tensor.dtype):
            problems.append(kind_problem(name, layout.dtype, tensor.dtype))
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise CheckpointError(f"{source} does not fit the model of its recipe: {'; '.join(problems[:3])}{more}")


def check_buffers(skeleton: nn.Module, *, source: Any) -> None:
    """Checks that what a model computes for itself (grids, masks) is not far larger than its weights.

    Raises:
        CheckpointError: It is.
    """
    saved = sum(tensor.numel() for tensor in skeleton.state_dict().values())
    buffers = sum(buffer.numel() for buffer in skeleton.buffers())
    if buffers > _BUFFERS + _BUFFERS_PER_NUMBER * saved:
        raise CheckpointError(
            f"{source} does not fit the model of its recipe: the recipe asks for tables of {buffers:,} numbers beside "
            f"{saved:,} weights"
        )


@contextmanager
def without_initial_values() -> Iterator[None]:
    """Builds models without random parameters, which take seconds, for a file that holds them all."""
    with _NoInitialValues():
        yield


class _NoInitialValues(TorchFunctionMode):
    """Leaves parameters as they were allocated."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        # Some functions of `torch.nn.init` are seen as a whole, of others what they do to the tensor.
        if getattr(func, "__module__", "") == "torch.nn.init" or func in (Tensor.normal_, Tensor.uniform_):
            tensor = args[0] if args else kwargs.get("tensor")
            if isinstance(tensor, nn.Parameter):
                return tensor
        return func(*args, **kwargs)


class _Shapes(_NoInitialValues):
    """Computes some shapes on the meta device itself: torch would import its compiler for them, which takes seconds."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not kwargs and args:
            first = args[0]
            if func is torch.linspace and len(args) == 3:
                return torch.empty(args[2])
            if func in (torch.randn, torch.rand):
                return torch.empty(*args)
            if func is torch.stack and first[0].is_meta:
                return _stacked(*args)
            scaled = func in _SCALING and isinstance(first, Tensor) and isinstance(args[1], float)
            if scaled and first.is_meta and first.is_floating_point():
                return torch.empty(first.shape, dtype=first.dtype)
        return super().__torch_function__(func, types, args, kwargs)


_SCALING = (Tensor.mul, Tensor.div, torch.mul, torch.div)


def _stacked(tensors: Any, dim: int = 0) -> Tensor:
    first = tensors[0]
    place = dim % (first.ndim + 1)
    return torch.empty((*first.shape[:place], len(tensors), *first.shape[place:]), dtype=first.dtype)


@contextmanager
def _counted_parts(max_count: int) -> Iterator[None]:
    """Raises `_TooManyPartsError` once this thread has made more modules, parameters and buffers than `max_count`."""
    thread, count = threading.get_ident(), 0

    def part(*_: Any) -> None:
        nonlocal count
        if threading.get_ident() == thread:
            count += 1
            if count > max_count:
                raise _TooManyPartsError

    with ExitStack() as stack:
        for register in (
            hooks.register_module_module_registration_hook,
            hooks.register_module_parameter_registration_hook,
            hooks.register_module_buffer_registration_hook,
        ):
            stack.callback(register(part).remove)
        yield
