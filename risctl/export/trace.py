"""Traces a system's halves with torch.export, for any number of images and expressions."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from risctl.errors import UsageError
from risctl.systems.base import System
from risctl.systems.exportable import Exportable, Graphs

# Images and expressions that a graph takes at once, at most; torch.export wants a bound.
MOST_IMAGES, MOST_EXPRESSIONS = 256, 1024
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """Inputs of a system: B images and N expressions about them.

    Attributes:
        images: (B, 3, H, W).
        padding: Bool (B, H, W).
        image_of: The image of each expression, int64 (N,).
        words: Token ids, int64 (N, L).
        word_mask: Bool (N, L).
    """

    images: Tensor
    padding: Tensor
    image_of: Tensor
    words: Tensor
    word_mask: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """The traced halves of a system.

    Attributes:
        graphs: The halves as they were traced.
        encode: The first.
        answer: The second.
        features: The first one's output for the example.
    """

    graphs: Graphs
    encode: ExportedProgram
    answer: ExportedProgram
    features: tuple[Tensor, ...]


def trace(system: System, example: Example) -> Traced:
    """Traces the halves of `system`, in evaluation mode.

    Args:
        system: The system.
        example: Two images or more, three expressions or more, so that no count is taken for a constant.

    Raises:
        UsageError: It cannot be exported; why, in one line.
    """
    if not isinstance(system, Exportable):
        raise UsageError(
            f"{type(system).__name__} cannot be exported: "
            f"{system.not_exported or 'it does not say how it is cut into graphs (risctl.systems.exportable)'}"
        )
    graphs = system.graphs(example.images, example.padding)
    images, expressions = Dim("images", min=1, max=MOST_IMAGES), Dim("expressions", min=1, max=MOST_EXPRESSIONS)
    sides: dict[int, Any] = {}
    if graphs.multiple is not None:
        sides = {1: graphs.multiple * Dim("rows", min=1, max=512), 2: graphs.multiple * Dim("columns", min=1, max=512)}
    padding: dict[int, Any] = {0: images, **sides}
    encode = traced_module(
        graphs.encode,
        (example.images, example.padding),
        ({0: images, **{axis + 1: side for axis, side in sides.items()}}, padding),
        name=type(system).__name__,
    )
    with torch.no_grad():
        features = tuple(encode.module()(example.images, example.padding))
    of_feature: dict[int, Any] = {0: images} if not sides else {0: images, 2: Dim.AUTO, 3: Dim.AUTO}
    answer = traced_module(
        graphs.answer,
        (features, example.padding, example.image_of, example.words, example.word_mask),
        (
            tuple(of_feature for _ in features),
            padding if not sides else {0: images, 1: Dim.AUTO, 2: Dim.AUTO},
            *({0: expressions} for _ in range(3)),
        ),
        name=type(system).__name__,
    )
    return Traced(graphs=graphs, encode=encode, answer=answer, features=features)


def traced_module(module: nn.Module, inputs: tuple[Any, ...], shapes: tuple[Any, ...], *, name: str) -> ExportedProgram:
    """Traces a module.

    Args:
        module: The module.
        inputs: An example of its inputs.
        shapes: Their free axes, as torch.export takes them.
        name: What errors call it.

    Raises:
        UsageError: It cannot be traced; why, in one line.
    """
    with quiet(), torch.no_grad():
        try:
            return torch.export.export(module.eval(), inputs, dynamic_shapes=shapes, strict=False)
        except Exception as error:  # whatever torch meets in a module that was not written for it
            raise UsageError(f"{name} cannot be exported: torch.export says: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """Returns the first line of what an error comes from, shortened and without a terminal's colours."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in _COLOURS.sub("", str(error)).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]


@contextmanager
def quiet() -> Iterator[None]:
    """Silences the warnings and logs of torch's exporters, which are about their own insides."""
    loggers = [logging.getLogger(name) for name in ("torch", "torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
