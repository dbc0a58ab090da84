"""Plans an export: the two graphs of a system, what they take and give, and how they are compared with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from risctl.export import check
from risctl.export.formats import Run
from risctl.export.trace import trace
from risctl.runtime.manifest import ANSWER, ENCODE
from risctl.systems.base import System

_ASKED = ("padding", "image_of", "words", "word_mask")
OUTPUTS = ("logits", "scores", "choice")
"""What the second graph of an image system gives, in this order, as far as the system has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Half:
    """One of the two graphs.

    Attributes:
        module: What was traced.
        program: The trace.
        inputs: Names of the inputs, in their order.
        outputs: Names of the outputs.
        given: An example of each input.
        gives: What comes out of these.
        grouped: How many of the first inputs the module takes as one tuple; 0: it takes each by itself.
    """

    module: nn.Module
    program: ExportedProgram
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    given: tuple[Tensor, ...]
    gives: tuple[Tensor, ...]
    grouped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An export before anything is written.

    Attributes:
        halves: The graphs by name.
        axes: The names of the free axes of inputs and outputs, by the tensor's name, from the first axis on.
        sides: How large inputs may be, for a reader.
        compared: Compares what was written with the system: the runs of both graphs and images to the agreements.
        described: What the description says beside.
    """

    halves: Mapping[str, Half]
    axes: Mapping[str, Sequence[str]]
    sides: str
    compared: Callable[[Run, Run, Sequence[np.ndarray]], list[check.Agreement]]
    described: Mapping[str, Any] = field(default_factory=dict)


def of_images(system: System) -> Plan:
    """Plans the export of a system of images.

    Raises:
        UsageError: It cannot be exported; why, in one line.
    """
    example = check.example_of(system, [check.made_image(480, 640, seed=number) for number in range(2)])
    traced = trace(system, example)
    graphs, features = traced.graphs, traced.features
    asked = (example.padding, example.image_of, example.words, example.word_mask)
    with torch.no_grad():
        answers = tuple(traced.answer.module()(features, *asked))
    sides = () if graphs.multiple is None else ("rows", "columns")
    return Plan(
        halves={
            ENCODE: Half(
                module=graphs.encode,
                program=traced.encode,
                inputs=("images", "padding"),
                outputs=graphs.features,
                given=(example.images, example.padding),
                gives=features,
            ),
            ANSWER: Half(
                module=graphs.answer,
                program=traced.answer,
                inputs=(*graphs.features, *_ASKED),
                outputs=OUTPUTS[: len(answers)],
                given=(*features, *asked),
                gives=answers,
                grouped=len(features),
            ),
        },
        axes={
            "images": ("images", "3", *sides) if sides else ("images",),
            "padding": ("images", *sides),
            **dict.fromkeys(graphs.features, ("images",)),
            **dict.fromkeys(("image_of", "words", "word_mask", "logits", "scores"), ("expressions",)),
        },
        sides="fixed" if graphs.multiple is None else f"multiples of {graphs.multiple}",
        compared=lambda encode, answer, images: check.check(system, encode, answer, images=images),
    )
