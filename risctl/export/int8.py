"""Quantises an exported model on samples of a store, and measures what it loses on others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from risctl.data.store.reader import Store
from risctl.export.calibration import Calibration, Chosen, choose, examples
from risctl.export.formats import Run, runner
from risctl.export.measured import GraphSystem, measure
from risctl.export.precision import LEFT_IN_FLOAT, quantise
from risctl.metrics.protocols import Protocol
from risctl.runtime.manifest import ANSWER, ENCODE
from risctl.systems.base import System


def quantise_graphs(
    system: System,
    paths: Mapping[str, Path],
    runs: Mapping[str, Run],
    calibration: Calibration,
    *,
    inputs: Mapping[str, Sequence[str]],
    protocol: Protocol,
) -> tuple[dict[str, Run], dict[str, Any]]:
    """Replaces both graphs of a model by quantised ones.

    Args:
        system: The model.
        paths: The graphs' files by name.
        runs: What runs the graphs as they are, in fp32.
        calibration: The store and the counts of samples.
        inputs: The names of the inputs of each graph.
        protocol: The protocol of the figures.

    Returns:
        What runs the quantised graphs, and the measurement as JSON values.

    Raises:
        UsageError: The split or a count cannot be.
        DataError: The store is missing, damaged or too small.
    """
    with Store(calibration.store) as store:
        chosen = choose(store, calibration)
        layers = {
            name: quantise(paths[name], _feeds(name, system, store, chosen, runs[ENCODE], inputs[name]))
            for name in (ENCODE, ANSWER)
        }
        quantised = {name: runner(paths[name], "onnx", inputs=inputs[name]) for name in paths}
        full, less = (GraphSystem(system, some[ENCODE], some[ANSWER]).eval() for some in (runs, quantised))
        found = measure(full, less, store, chosen, protocol=protocol)
    return quantised, {**found, "layers": layers, "left_in_float": dict(LEFT_IN_FLOAT)}


def _feeds(
    name: str, system: System, store: Store, chosen: Chosen, encode: Run, inputs: Sequence[str]
) -> Iterator[dict[str, np.ndarray]]:
    """Yields the inputs of a graph for each sample that is calibrated on."""
    for one in examples(system, store, chosen.rows):
        if name == ENCODE:
            values = [one.images, one.padding]
        else:
            features = encode([one.images, one.padding])
            values = [*features, one.padding, one.image_of, one.words, one.word_mask]
        yield {key: value.numpy() for key, value in zip(inputs, values, strict=True)}
