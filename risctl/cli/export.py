"""`risctl export`: writes a model as graphs for ONNX Runtime and other engines."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from risctl.cli import console
from risctl.cli.options import JsonOption, OverwriteOption, QuietOption, VocabularyOption
from risctl.errors import UsageError

EXAMPLE = "Example: risctl export runs/first --format onnx --out first.onnx"


class Format(StrEnum):
    """What the graphs are written as."""

    onnx = "onnx"
    pt2 = "pt2"
    torchscript = "torchscript"


class Precision(StrEnum):
    """How the weights are stored; with int8, how layers compute as well."""

    fp32 = "fp32"
    fp16 = "fp16"
    int8 = "int8"


app = typer.Typer()


@app.command("export", epilog=EXAMPLE)
def export(
    model: Annotated[
        Path | None,
        typer.Argument(
            metavar="[MODEL]",
            help="A run folder, a checkpoint file (.safetensors), or mini, the model that comes with risctl.",
            show_default=False,
        ),
    ] = None,
    format_name: Annotated[
        Format, typer.Option("--format", help="onnx, pt2 (torch.export) or torchscript.")
    ] = Format.onnx,
    precision: Annotated[
        Precision,
        typer.Option(
            "--precision",
            help="fp16: the weights are stored in half precision and computed with in float32; the files have half the "
            "size. int8: layers compute with 8 bits; see --calibrate.",
        ),
    ] = Precision.fp32,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="The folder to write. Default: MODEL's name and the format.", show_default=False
        ),
    ] = None,
    clip: Annotated[
        str | None,
        typer.Option(
            "--clip",
            metavar="SOURCE",
            help="In place of MODEL: the towers of a CLIP, named as in risctl zeroshot: a folder or hub id in Hugging "
            "Face's layout, or OpenAI's .pt.",
            show_default=False,
        ),
    ] = None,
    vocabulary: VocabularyOption = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(
            "--image", help="A picture to compare the graphs on, up to three; made ones by default.", show_default=False
        ),
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            "--calibrate",
            metavar="STORE",
            help="With int8: the store whose images its layers are fitted to, and the loss is measured on.",
            show_default=False,
        ),
    ] = None,
    calibration_split: Annotated[
        str | None,
        typer.Option(
            "--calibration-split",
            help="The split to calibrate on, none of tests. Default: train, else val.",
            show_default=False,
        ),
    ] = None,
    calibration_samples: Annotated[
        int, typer.Option("--calibration-samples", help="How many images to calibrate on, one sentence of each.")
    ] = 64,
    measured_samples: Annotated[
        int, typer.Option("--measured-samples", help="How many sentences about other images to measure the loss on.")
    ] = 200,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a model as graphs for ONNX Runtime and other engines.

    Two graphs are written: encode (images to features) and answer (features
    and tokens to logits and scores), so that a picture is encoded once and
    asked many phrases. Both take any number of pictures and phrases; those of
    ReferFormer take the frames of a clip.

    The folder also holds vocabulary.json, the tokenizer's data, and
    model.json: inputs and outputs, how a picture becomes the input, threshold,
    protocol and figures, and a digest of every file. The graphs are compared
    with the model at three sizes of picture before the folder is there; the
    largest difference stands in model.json.

    With --precision int8 --calibrate STORE the graphs compute with 8 bits.
    The loss of mIoU is measured on sentences of val about images that were not
    used to calibrate, and stands in model.json.

    --clip SOURCE writes the towers of a CLIP: image (pixels to embeddings) and
    text (tokens to embeddings), with tokenizer.json and the scale of logits.

    `risctl predict --model FOLDER` answers with an exported folder, without
    torch.
    """
    with console.quiet_if(quiet):
        if (model is None) == (clip is None):
            raise UsageError("expected MODEL, or --clip SOURCE in its place; give one of them")
        if clip is not None:
            if calibrate is not None or calibration_split is not None or images:
                raise UsageError("leave --calibrate and --image out: the towers of a CLIP draw no masks")
            _export_clip(clip, vocabulary, out, format_name, precision, overwrite=overwrite, as_json=as_json)
            return
        assert model is not None
        if vocabulary is not None:
            raise UsageError("leave --vocabulary out: it is of --clip")
        from risctl.export.folder import export_to
        from risctl.export.refusals import refuse_what_is_no_checkpoint
        from risctl.vision.images import read_image

        calibration = None
        if calibration_split is not None and calibrate is None:
            raise UsageError("--calibration-split is a split of a store; give --calibrate STORE too")
        if calibrate is not None:
            from risctl.export.calibration import Calibration

            calibration = Calibration(
                store=calibrate, split=calibration_split, samples=calibration_samples, measured=measured_samples
            )
        pictures = [read_image(path) for path in images or ()]
        folder = out if out is not None else Path(f"{_name_of(model)}.{format_name.value}")
        refuse_what_is_no_checkpoint(model)
        console.say(f"tracing {model}; this takes minutes, for clips a quarter of an hour or more")
        header = export_to(
            model,
            folder,
            format_name=format_name.value,
            precision=precision.value,
            images=pictures,
            overwrite=overwrite,
            calibration=calibration,
        )
    seen = "frames" if "clip" in header else "pictures"
    for one in header["checked"]:
        height, width = one["image"]
        scores = "" if one["scores"] is None else f", of a score {one['scores']:.2g}"
        console.say(
            f"compared at {height}x{width}, {one['images']} {seen}, {one['expressions']} phrases: largest difference "
            f"of a logit {one['logits']:.2g}{scores}"
        )
    size = sum(file.stat().st_size for file in folder.iterdir())
    lines = [f"{folder}: {header['graph_format']}, {header['precision']}, {size / 1e6:.1f} MB"]
    if "int8" in header:
        lines.append(_loss(header["int8"]))
    console.result(
        "\n".join(lines),
        data={"out": str(folder), **header},
        as_json=as_json,
    )


def _export_clip(
    source: str,
    vocabulary: Path | None,
    out: Path | None,
    format_name: Format,
    precision: Precision,
    *,
    overwrite: bool,
    as_json: bool,
) -> None:
    from risctl.export.clip import export_clip_to

    folder = out if out is not None else Path(f"{Path(source).stem}.{format_name.value}")
    console.say(f"tracing {source}; this takes a minute or two")
    header = export_clip_to(
        source,
        folder,
        vocabulary=vocabulary,
        format_name=format_name.value,
        precision=precision.value,
        overwrite=overwrite,
    )
    for one in header["checked"]:
        console.say(f"compared {one['batch']} at once, {one['graph']}: largest difference {one['difference']:.2g}")
    size = sum(file.stat().st_size for file in folder.iterdir())
    console.result(
        f"{folder}: two towers, {header['graph_format']}, {header['precision']}, {size / 1e6:.1f} MB",
        data={"out": str(folder), **header},
        as_json=as_json,
    )


def _loss(found: dict[str, Any]) -> str:
    """Returns what int8 loses, in one line."""
    on, by = found["measured_on"], found["figure"]
    return (
        f"{by} {_shown(found['fp32'][by])} in fp32, {_shown(found['int8'][by])} in int8, a loss of "
        f"{_shown(found['loss'])}: {on['samples']} sentences about {on['images']} images of {on['split']} of "
        f"{found['store']}, none of them among the {found['calibrated_on']['samples']} of "
        f"{found['calibrated_on']['split']} that it was calibrated on; {found['protocol']}; time of an image and a "
        f"phrase {found['time_ratio']:.2f} of fp32's here"
    )


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _name_of(model: Path) -> str:
    return model.stem if model.suffix == ".safetensors" else model.name
