"""Exports the two towers of a CLIP: images to embeddings, and token ids to embeddings in the same space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn import functional

from risctl.core.encoders.clip import CLIP
from risctl.core.fusion.global_local import DEVIATION, MEAN
from risctl.errors import MachineError, UsageError, unknown_name
from risctl.export.description import write_description
from risctl.export.folder import refuse_existing
from risctl.export.formats import (
    SUFFIXES,
    Run,
    described,
    require_onnx,
    runner,
    write_onnx,
    write_pt2,
    write_torchscript,
)
from risctl.export.precision import PRECISIONS, store_in_half
from risctl.export.trace import MOST_EXPRESSIONS, MOST_IMAGES, quiet, traced_module
from risctl.files import new_folder
from risctl.language.clip_tokens import ClipTokens
from risctl.runtime.manifest import CLIP_TOWERS
from risctl.systems.global_local_clip.load_clip import load_clip

IMAGE, TEXT, TOKENIZER = "image", "text", "tokenizer.json"
BATCHES = (1, 2, 5)
"""How many images, or texts, are embedded at once in the check."""

TOLERANCE = 1e-4
"""Of embeddings of unit length: more than rounding changes."""

_INPUTS = {IMAGE: ("images",), TEXT: ("tokens", "ends")}
_OUTPUTS = {IMAGE: ("image_embeddings",), TEXT: ("text_embeddings",)}
_AXES = {
    "images": ("images",),
    "tokens": ("texts", "length"),
    "ends": ("texts",),
    "image_embeddings": ("images",),
    "text_embeddings": ("texts",),
}
_LEAST_TOKENS = 2  # the marks of start and end


class ImageTower(nn.Module):
    """Embeds images."""

    def __init__(self, clip: CLIP) -> None:
        """Takes the model."""
        super().__init__()
        self.visual = clip.visual

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Returns embeddings of unit length (N, E) of normalised images (N, 3, S, S)."""
        return (functional.normalize(self.visual.features(images), dim=-1),)


class TextTower(nn.Module):
    """Embeds texts."""

    def __init__(self, clip: CLIP) -> None:
        """Takes the model."""
        super().__init__()
        self.text = clip.text

    def forward(self, tokens: Tensor, ends: Tensor) -> tuple[Tensor]:
        """Returns embeddings of unit length (N, E) of token ids (N, L) whose end tokens are at `ends` (N,)."""
        return (functional.normalize(self.text(tokens, ends), dim=-1),)


def export_clip_to(
    source: str,
    out: Path,
    *,
    vocabulary: Path | None = None,
    format_name: str = "onnx",
    precision: str = "fp32",
    overwrite: bool = False,
) -> dict[str, Any]:
    """Exports a CLIP into the folder `out`, which is there only once all is written and compared.

    Args:
        source: A folder or hub id in Hugging Face's layout, or OpenAI's `.pt`; see `load_clip`.
        out: The folder.
        vocabulary: See `load_clip`.
        format_name: onnx, pt2 or torchscript.
        precision: fp32, or fp16: the weights are stored in half precision.
        overwrite: Whether an exported model that is there already is replaced.

    Returns:
        The description, as it stands in the folder.

    Raises:
        UsageError: The folder is there already, or the model cannot be exported so.
        CheckpointError: The model's files are missing, damaged or something else.
        MachineError: A package is missing, or a graph differs from the model.
    """
    refuse_existing(out, overwrite=overwrite)
    for name, given, known in (("format", format_name, SUFFIXES), ("precision", precision, PRECISIONS)):
        if given not in known:
            raise UsageError(unknown_name(name, given, known))
    if precision == "int8":
        raise UsageError("the loss of int8 is measured by masks, which a CLIP does not draw; take fp16")
    if precision != "fp32" and format_name != "onnx":
        raise UsageError(f"--precision {precision} is of ONNX graphs; give --format onnx, or leave the precision out")
    if format_name == "onnx":
        require_onnx()
    clip, tokens = load_clip(source, vocabulary=vocabulary)
    with new_folder(out, replace=overwrite) as made:
        return export_clip(clip, tokens, made, name=source, format_name=format_name, precision=precision)


def export_clip(
    clip: CLIP, tokens: ClipTokens, folder: Path, *, name: str, format_name: str = "onnx", precision: str = "fp32"
) -> dict[str, Any]:
    """Writes both towers, the tokenizer and their description into an empty folder; see `export_clip_to`."""
    side = clip.visual.resolution
    towers: dict[str, nn.Module] = {IMAGE: ImageTower(clip).eval(), TEXT: TextTower(clip).eval()}
    images, texts = Dim("images", min=1, max=MOST_IMAGES), Dim("texts", min=1, max=MOST_EXPRESSIONS)
    length = Dim("length", min=_LEAST_TOKENS, max=tokens.context)
    shapes: dict[str, tuple[Any, ...]] = {IMAGE: ({0: images},), TEXT: ({0: texts, 1: length}, {0: texts})}
    files: dict[str, str] = {}
    graphs, checked = {}, []
    for tower, module in towers.items():
        example = _inputs(tower, 3, side=side, context=tokens.context)
        path = folder / f"{tower}{SUFFIXES[format_name]}"
        if format_name == "torchscript":
            write_torchscript(module, example, path, name=name)
        else:
            program = traced_module(module, example, shapes[tower], name=name)
            if format_name == "onnx":
                write_onnx(program, path, inputs=_INPUTS[tower], outputs=_OUTPUTS[tower])
            else:
                write_pt2(program, path)
        if precision == "fp16":
            store_in_half(path)
        run = _runner(path, format_name, tower)
        checked += [_compared(tower, module, run, count, side=side, context=tokens.context) for count in BATCHES]
        files[tower] = path.name
        with torch.no_grad():
            [embeddings] = module(*example)
        graphs[tower] = {
            "file": path.name,
            "inputs": described(_INPUTS[tower], example, _AXES),
            "outputs": described(_OUTPUTS[tower], [embeddings], _AXES),
        }
    worst = max(float(one["difference"]) for one in checked)
    if precision == "fp32" and not worst <= TOLERANCE:
        raise MachineError(
            f"the exported graphs of {name} differ from the model by {worst:.3g} in an embedding of unit length; "
            "nothing was written. Please report it with what `risctl doctor` says"
        )
    (folder / TOKENIZER).write_text(tokens.definition, encoding="utf-8")
    header = {
        "kind": CLIP_TOWERS,
        "name": name,
        "parameters": sum(parameter.numel() for parameter in clip.parameters()),
        "graph_format": format_name,
        "precision": precision,
        "graphs": graphs,
        "image": _image(clip),
        "text": {
            "file": TOKENIZER,
            "lower_case": True,
            "max_tokens": tokens.context,
            "cut": "a longer text keeps its first tokens and its end token",
            "fill": 0,
            "ends": "the place of each text's end token",
        },
        "logits": {
            "scale": math.exp(float(clip.logit_scale)),
            "formula": "scale * image_embeddings @ transpose(text_embeddings)",
        },
        "checked": checked,
        "max_error": worst,
    }
    return write_description(folder, header)


def _runner(path: Path, format_name: str, tower: str) -> Run:
    """Returns what runs a written graph, whose inputs are taken one by one."""
    if format_name == "onnx":
        return runner(path, "onnx", inputs=_INPUTS[tower])
    with quiet():
        module: Any = torch.export.load(str(path)).module() if format_name == "pt2" else torch.jit.load(str(path))
    return lambda values: list(module(*values))


def _image(clip: CLIP) -> dict[str, Any]:
    """Returns how an image becomes the input, as `risctl zeroshot` makes it."""
    mean, deviation = getattr(clip.visual, "normalisation", None) or (MEAN, DEVIATION)
    return {
        "size": clip.visual.resolution,
        "colours": "RGB in [0, 1]",
        "mean": list(mean),
        "deviation": list(deviation),
        "resize": "bilinear to size x size, without keeping the aspect ratio",
    }


def _inputs(tower: str, count: int, *, side: int, context: int) -> tuple[Tensor, ...]:
    """Returns made inputs of a tower, the same every time: `count` images or texts."""
    generator = torch.Generator().manual_seed(count)
    if tower == IMAGE:
        return (torch.randn((count, 3, side, side), generator=generator),)
    # As many tokens as a text may have when there are many texts, and few when there is one.
    length = min(context, 3 + 4 * count) if count < max(BATCHES) else context
    ends = torch.randint(1, length, (count,), generator=generator)
    tokens = torch.randint(1, 256, (count, length), generator=generator)
    return torch.where(torch.arange(length) <= ends[:, None], tokens, 0), ends


def _compared(tower: str, module: nn.Module, run: Run, count: int, *, side: int, context: int) -> dict[str, Any]:
    """Returns how far a written graph is from its tower for `count` images or texts."""
    inputs: Sequence[Tensor] = _inputs(tower, count, side=side, context=context)
    with torch.no_grad():
        [found], [expected] = run(inputs), module(*inputs)
    same = found.shape == expected.shape
    return {
        "graph": tower,
        "batch": count,
        **({"length": inputs[0].shape[1]} if tower == TEXT else {}),
        "difference": float((found - expected).abs().max()) if same else math.inf,
    }
