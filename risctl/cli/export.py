"""`risctl export`: writes a model as graphs for ONNX Runtime and other engines."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.options import JsonOption, OverwriteOption, QuietOption

EXAMPLE = "Example: risctl export runs/first --format onnx --out first.onnx"


class Format(StrEnum):
    """What the graphs are written as."""

    onnx = "onnx"
    pt2 = "pt2"
    torchscript = "torchscript"


class Precision(StrEnum):
    """How the weights are stored."""

    fp32 = "fp32"
    fp16 = "fp16"


app = typer.Typer()


@app.command("export", epilog=EXAMPLE)
def export(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="A run folder, a checkpoint file (.safetensors), or mini, the model that comes with risctl.",
            show_default=False,
        ),
    ],
    format_name: Annotated[
        Format, typer.Option("--format", help="onnx, pt2 (torch.export) or torchscript.")
    ] = Format.onnx,
    precision: Annotated[
        Precision,
        typer.Option(
            "--precision",
            help="fp16: the weights are stored in half precision and computed with in float32; the files have half the "
            "size.",
        ),
    ] = Precision.fp32,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="The folder to write. Default: MODEL's name and the format.", show_default=False
        ),
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(
            "--image", help="A picture to compare the graphs on, up to three; made ones by default.", show_default=False
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a model as graphs for ONNX Runtime and other engines.

    Two graphs are written: encode (images to features) and answer (features
    and tokens to logits and scores), so that a picture is encoded once and
    asked many phrases. Both take any number of pictures and phrases.

    The folder also holds vocabulary.json, the tokenizer's data, and
    model.json: inputs and outputs, how a picture becomes the input, threshold,
    protocol and figures, and a digest of every file. The graphs are compared
    with the model at three sizes of picture before the folder is there; the
    largest difference stands in model.json.

    `risctl predict --model FOLDER` answers with an exported folder, without
    torch.
    """
    with console.quiet_if(quiet):
        from risctl.export.folder import export_to
        from risctl.vision.images import read_image

        pictures = [read_image(path) for path in images or ()]
        folder = out if out is not None else Path(f"{_name_of(model)}.{format_name.value}")
        console.say(f"tracing {model}; this takes a minute or two")
        header = export_to(
            model,
            folder,
            format_name=format_name.value,
            precision=precision.value,
            images=pictures,
            overwrite=overwrite,
        )
    for one in header["checked"]:
        height, width = one["image"]
        scores = "" if one["scores"] is None else f", of a score {one['scores']:.2g}"
        console.say(
            f"compared at {height}x{width}, {one['images']} pictures, {one['expressions']} phrases: largest difference "
            f"of a logit {one['logits']:.2g}{scores}"
        )
    size = sum(file.stat().st_size for file in folder.iterdir())
    console.result(
        f"{folder}: {header['graph_format']}, {header['precision']}, {size / 1e6:.1f} MB",
        data={"out": str(folder), **header},
        as_json=as_json,
    )


def _name_of(model: Path) -> str:
    return model.stem if model.suffix == ".safetensors" else model.name
