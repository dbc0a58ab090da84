"""Exports a model: traces it, writes its graphs, compares them with the model, and describes all in one folder."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from risctl.checkpoints.loaded_model import LoadedModel
from risctl.errors import UsageError, unknown_name
from risctl.export import check
from risctl.export.calibration import Calibration
from risctl.export.clips import of_clips
from risctl.export.description import sha256, write_description
from risctl.export.formats import SUFFIXES, described, require_onnx, runner, write_onnx, write_pt2, write_torchscript
from risctl.export.int8 import quantise_graphs
from risctl.export.plan import Half, of_images
from risctl.export.precision import PRECISIONS, store_in_half
from risctl.export.shared_weights import share_weights
from risctl.export.trace import first_line
from risctl.metrics.protocols import Protocol, get_protocol
from risctl.runtime.manifest import ANSWER, ENCODE, VOCABULARY
from risctl.systems.exportable import ExportableClips


def export_model(
    loaded: LoadedModel,
    folder: Path,
    *,
    format_name: str = "onnx",
    precision: str = "fp32",
    images: Sequence[np.ndarray] = (),
    weights: Path | None = None,
    calibration: Calibration | None = None,
) -> dict[str, Any]:
    """Writes a model's graphs, tokenizer data and description into a new folder.

    Args:
        loaded: The model.
        folder: The folder, which is there and empty.
        format_name: onnx, pt2 or torchscript.
        precision: fp32; fp16: the weights are stored in half precision and computed with in float32; int8: layers
            compute with whole numbers of 8 bits.
        images: Images of the model's kind, uint8 RGB (H, W, 3), which the graphs are compared on; made ones by default.
        calibration: For int8: the store that it is calibrated and measured on.
        weights: The model's own file, in half precision: ONNX graphs read their weights from it and hold none.

    Returns:
        The description, as it stands in the folder.

    Raises:
        UsageError: The model cannot be exported, or not so.
        MachineError: A package is missing, or the graphs differ from the model.
    """
    if format_name not in SUFFIXES:
        raise UsageError(unknown_name("format", format_name, SUFFIXES))
    if precision not in PRECISIONS:
        raise UsageError(unknown_name("precision", precision, PRECISIONS))
    if (precision == "int8") != (calibration is not None):
        raise UsageError(
            "--precision int8 is calibrated on real images; give --calibrate STORE, which risctl prepare makes"
            if calibration is None
            else f"--calibrate is of --precision int8; leave it out with {precision}"
        )
    if precision != "fp32" and format_name != "onnx":
        raise UsageError(f"--precision {precision} is of ONNX graphs; give --format onnx, or leave the precision out")
    if format_name == "onnx":
        require_onnx()
    system = loaded.system.eval()
    in_clips = isinstance(system, ExportableClips)
    if in_clips and calibration is not None:
        raise UsageError(
            f"--precision int8 is calibrated on single images, and the graphs of {type(system).__name__} take clips; "
            "give fp32 or fp16"
        )
    if in_clips and format_name != "onnx":
        raise UsageError(
            f"{type(system).__name__} is exported as ONNX alone: torch's own formats would take two phrases or more; "
            "give --format onnx"
        )
    plan = of_clips(system) if in_clips else of_images(system)
    halves = plan.halves
    files = {name: _write(half, name, folder, format_name) for name, half in halves.items()}
    if precision == "fp16":
        for file in files.values():
            store_in_half(folder / file)
    elif weights is not None:
        for file in files.values():
            share_weights(folder / file, weights, location=weights.name)
    runs = {
        name: runner(folder / files[name], format_name, inputs=half.inputs, grouped=half.grouped, weights=weights)
        for name, half in halves.items()
    }
    try:
        found = plan.compared(runs[ENCODE], runs[ANSWER], images)
    except Exception as error:  # whatever an engine says of inputs that its graph does not take
        raise UsageError(
            f"{loaded.recipe.name} cannot be exported: the graph does not take images of every size: "
            f"{first_line(error)}"
        ) from error
    if precision != "fp16":
        check.raise_if_different(found, name=loaded.recipe.name)
    quantised: dict[str, Any] = {}
    if calibration is not None:
        paths = {name: folder / file for name, file in files.items()}
        protocol = protocol_of(loaded)
        names = {name: half.inputs for name, half in halves.items()}
        runs, quantised = quantise_graphs(system, paths, runs, calibration, inputs=names, protocol=protocol)
        found = plan.compared(runs[ENCODE], runs[ANSWER], images)
    (folder / VOCABULARY).write_text(json.dumps(loaded.vocabulary.to_list(), ensure_ascii=False), encoding="utf-8")
    header = {
        **_model(loaded),
        "graph_format": format_name,
        "precision": precision if weights is None else "fp16",
        "graphs": {
            name: {
                "file": files[name],
                "inputs": described(half.inputs, half.given, plan.axes),
                "outputs": described(half.outputs, half.gives, plan.axes),
            }
            for name, half in halves.items()
        },
        "image": _settings(system.preprocess, sides=plan.sides),
        **plan.described,
        "text": {
            **_text_settings(system.preprocess),
            "vocabulary": type(loaded.vocabulary).__name__,
            "file": VOCABULARY,
        },
        "checked": [one.to_dict() for one in found],
        "max_error": max(one.logits for one in found),
        **({"int8": quantised} if quantised else {}),
    }
    if weights is not None:
        header["weights"] = {
            "file": weights.name,
            "bytes": weights.stat().st_size,
            "sha256": sha256(weights),
        }
    return write_description(folder, header)


def _write(half: Half, name: str, folder: Path, format_name: str) -> str:
    """Writes one graph; returns its file's name."""
    path = folder / f"{name}{SUFFIXES[format_name]}"
    if format_name == "onnx":
        write_onnx(half.program, path, inputs=half.inputs, outputs=half.outputs)
    elif format_name == "pt2":
        write_pt2(half.program, path)
    else:
        features = half.grouped
        example = (tuple(half.given[:features]), *half.given[features:]) if features else half.given
        write_torchscript(half.module, example, path, name=name)
    return path.name


def protocol_of(loaded: LoadedModel) -> Protocol:
    """Returns the protocol of a model's figures."""
    settings = loaded.recipe.eval
    return get_protocol(settings.protocol).at_threshold(given=None, recipe=settings.threshold)


def _model(loaded: LoadedModel) -> dict[str, Any]:
    """Returns what the description says of the model, its checkpoint and its figures."""
    protocol = protocol_of(loaded)
    return {
        "name": loaded.recipe.name,
        "system": loaded.recipe.model.system,
        "parameters": sum(parameter.numel() for parameter in loaded.system.parameters()),
        "checkpoint": {
            "file": loaded.path.name,
            "sha256": loaded.header.get("sha256"),
            "step": loaded.header.get("step"),
            "dataset": loaded.header.get("dataset"),
        },
        "protocol": protocol.describe(),
        "figures": loaded.header.get("metrics") or {},
        "output": {
            "threshold": protocol.threshold,
            "no_target_threshold": float(loaded.system.no_target_threshold),
            "probability": "sigmoid of the logits, resized to the input, cropped to the image, resized to the image",
        },
    }


def _settings(preprocess: Any, *, sides: str) -> dict[str, Any]:
    """Returns how an image becomes the input: the preprocess's name and its numbers."""
    numbers = {
        name: value
        for name, value in sorted(vars(preprocess).items())
        if not name.startswith("_") and isinstance(value, bool | int | float | str | None) and name != "max_words"
    }
    return {
        "kind": type(preprocess).__name__,
        "how": (inspect.getdoc(type(preprocess)) or "").partition("\n")[0],
        "values": "RGB in [0, 1]; the graph normalises them",
        "sides": sides,
        **numbers,
    }


def _text_settings(preprocess: Any) -> dict[str, Any]:
    """Returns how a text becomes tokens: their greatest number and what the preprocess's tokenizer adds."""
    word_ids = getattr(preprocess, "word_ids", None)
    if word_ids is None:
        lowercase = getattr(preprocess, "lowercase", None)
        settings: dict[str, Any] = {"kind": "vocabulary", "max_words": preprocess.max_words}
        return settings if lowercase is None else settings | {"lowercase": lowercase}
    return {"kind": "hashed_words", "max_words": preprocess.max_words, "buckets": word_ids.buckets}
