"""Writes traced graphs as files: ONNX, torch's own export format, or TorchScript."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from risctl.errors import MachineError, UsageError
from risctl.export.compact import compact
from risctl.export.trace import first_line, quiet

SUFFIXES = {"onnx": ".onnx", "pt2": ".pt2", "torchscript": ".ts"}
# A protobuf holds less than 2 GiB; the weights of larger models stand beside the graph.
_LARGEST_FILE = 1_900_000_000

Run = Callable[[Sequence[Tensor]], list[Tensor]]
"""Runs a graph on its inputs, in their order."""


def write_onnx(program: ExportedProgram, path: Path, *, inputs: Sequence[str], outputs: Sequence[str]) -> list[Path]:
    """Writes a graph as ONNX.

    Args:
        program: The traced graph.
        path: The file.
        inputs: Names of the inputs, in their order.
        outputs: Names of the outputs.

    Returns:
        The files: the graph, and its weights where they stand apart.

    Raises:
        MachineError: A package is missing.
        UsageError: An operation has no counterpart in ONNX.
    """
    require_onnx()
    with quiet():
        try:
            made = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                input_names=list(inputs),
                output_names=list(outputs),
            )
        except Exception as error:  # the exporter raises whatever its translators raise
            raise UsageError(f"the graph cannot be written as ONNX: torch.onnx says: {first_line(error)}") from error
        assert made is not None
        size = sum(tensor.numel() * tensor.element_size() for tensor in program.state_dict.values())
        apart = size > _LARGEST_FILE
        made.save(str(path), external_data=apart)
        compact(path)
    beside = path.with_name(path.name + ".data")
    return [path, beside] if beside.exists() else [path]


def write_pt2(program: ExportedProgram, path: Path) -> list[Path]:
    """Writes a graph in torch's export format; returns the file."""
    with quiet():
        torch.export.save(program, str(path))
    return [path]


def write_torchscript(module: nn.Module, example: tuple[Any, ...], path: Path, *, name: str) -> list[Path]:
    """Writes a module as TorchScript, traced with an example; returns the file.

    Args:
        module: The module.
        example: Its inputs.
        path: The file.
        name: What errors call the model.

    Raises:
        UsageError: It cannot be traced.
    """
    with quiet(), warnings.catch_warnings(), torch.no_grad(), as_exported():
        warnings.simplefilter("ignore")
        try:
            traced = torch.jit.trace(module.eval(), example, check_trace=False, strict=False)
            torch.jit.save(traced, str(path))
        except Exception as error:  # whatever torch meets in a module that was not written for it
            raise UsageError(f"{name} cannot be exported: torch.jit says: {first_line(error)}") from error
    return [path]


def open_onnx(path: Path, *, threads: int = 0, weights: Path | None = None) -> Any:
    """Returns an ONNX Runtime session of a graph on the CPU; `weights` is the file that it reads its weights from."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    if weights is not None:
        data = weights.read_bytes()
        options.add_external_initializers_from_files_in_memory([weights.name], [data], [len(data)])
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def runner(path: Path, kind: str, *, inputs: Sequence[str], grouped: int = 0, weights: Path | None = None) -> Run:
    """Returns what runs a written graph.

    Args:
        path: The file.
        kind: onnx, pt2 or torchscript.
        inputs: Names of the inputs in their order; of ONNX those that the graph reads are fed.
        grouped: How many of the first inputs torch's graphs take as one tuple; 0: each by itself.
        weights: The file that an ONNX graph reads its weights from, where they stand apart.
    """
    if kind == "onnx":
        session = open_onnx(path, weights=weights)
        read = {one.name for one in session.get_inputs()}

        def run_onnx(values: Sequence[Tensor]) -> list[Tensor]:
            feed = {name: value.numpy() for name, value in zip(inputs, values, strict=True) if name in read}
            return [torch.from_numpy(output) for output in session.run(None, feed)]

        return run_onnx
    with quiet():
        module = torch.export.load(str(path)).module() if kind == "pt2" else torch.jit.load(str(path))

    def run_torch(values: Sequence[Tensor]) -> list[Tensor]:
        taken = (tuple(values[:grouped]), *values[grouped:]) if grouped else values
        with torch.no_grad():
            return list(module(*taken))

    return run_torch


def described(
    names: Sequence[str], tensors: Sequence[Tensor], axes: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """Returns inputs or outputs as JSON values: name, type of numbers, and shape with the names of free axes.

    Args:
        names: Their names.
        tensors: An example of each.
        axes: The names of free axes by the tensor's name, from the first axis on.
    """
    return [
        {
            "name": name,
            "type": str(tensor.dtype).removeprefix("torch."),
            "shape": [*axes.get(name, ()), *list(tensor.shape)[len(axes.get(name, ())) :]],
        }
        for name, tensor in zip(names, tensors, strict=True)
    ]


def require_onnx() -> None:
    """Raises `MachineError` if a package is missing that writing or checking ONNX needs."""
    from importlib.util import find_spec

    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise MachineError(f"exporting to ONNX needs {', '.join(missing)}: pip install 'risctl[export]'")


@contextmanager
def as_exported() -> Iterator[None]:
    """Makes modules take the paths without loops and branches, as torch.export does."""
    before = torch.compiler._is_compiling_flag
    torch.compiler._is_compiling_flag = True
    try:
        yield
    finally:
        torch.compiler._is_compiling_flag = before
