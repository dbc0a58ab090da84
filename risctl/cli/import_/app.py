"""`risctl import`: published weights to files that risctl reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.import_ import zsi
from risctl.cli.import_.referformer import import_referformer
from risctl.cli.options import JsonOption, QuietOption

app = typer.Typer(help="Convert published weights into risctl's checkpoints and backbones.", no_args_is_help=True)
app.command("referformer", epilog="Example: risctl import referformer r50_ytvos.pth --out referformer-r50.safetensors")(
    import_referformer
)

OutOption = Annotated[Path, typer.Option("--out", "-o", help="The .safetensors file to write.", show_default=False)]


@app.command("vlt", epilog="Example: risctl import vlt best_map.h5 --out vlt.safetensors --vectors glove.840B.300d.zip")
def import_vlt(
    source: Annotated[Path, typer.Argument(help="The published Keras weights (.h5).", show_default=False)],
    out: OutOption,
    vectors: Annotated[
        str | None,
        typer.Option(help="Word vectors: GloVe or word2vec file, or a spaCy model's name.", show_default=False),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="A store whose words the checkpoint is to know.", show_default=False)
    ] = None,
    extra_words: Annotated[
        int, typer.Option(min=0, help="How many of the vectors' most frequent words the checkpoint is to know.")
    ] = 50_000,
    max_words: Annotated[
        int, typer.Option(min=1, max=200, help="Words read of a text: 15 for RefCOCO and RefCOCO+, 20 for RefCOCOg.")
    ] = 15,
    queries: Annotated[
        int | None, typer.Option(min=1, help="Queries to expect. Default: as many as the file has.", show_default=False)
    ] = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a checkpoint of a published VLT (Keras h5; TensorFlow is not needed).

    The published file holds no word vectors, so name those it was trained with, or GloVe's Common Crawl vectors, which
    are the same. The checkpoint then predicts unaided.
    """
    from risctl.checkpoints.import_vlt import import_vlt as convert

    with console.quiet_if(quiet):
        if vectors is None:
            console.warn("without --vectors the checkpoint knows no word and is good for inspection only")
        done = convert(
            source, out, queries=queries, max_words=max_words, vectors=vectors, extra_words=extra_words, data=data
        )
        console.say(
            f"VLT: {done.parameters:,} parameters, {done.model['queries']} queries, "
            f"input {done.model['input_size']}, {done.words:,} words"
        )
        written = {
            "path": str(done.path),
            "model": done.model,
            "words": done.words,
            "parameters": done.parameters,
        }
        console.result(str(done.path), data=written, as_json=as_json)


@app.command("darknet53", epilog="Example: risctl import darknet53 yolov3.weights --out darknet53.safetensors")
def import_darknet53(
    source: Annotated[
        Path, typer.Argument(help="YOLOv3's weights: Darknet's .weights or Keras .h5.", show_default=False)
    ],
    out: OutOption,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a backbone for `model.visual.weights` of YOLOv3's weights (Darknet-53 and the first of its heads)."""
    from risctl.checkpoints import import_backbone

    with console.quiet_if(quiet):
        count = import_backbone.import_darknet53(source, out)
        console.say(f"Darknet-53: {count:,} numbers")
        console.result(str(out), data={"path": str(out), "numbers": count}, as_json=as_json)


@app.command(
    "deeplab-resnet101",
    epilog="Example: risctl import deeplab-resnet101 deeplab_resnet.ckpt --out backbone.safetensors",
)
def import_deeplab(
    source: Annotated[
        Path,
        typer.Argument(
            help="A TensorFlow checkpoint, a .caffemodel, or arrays under either's names (.npz, .safetensors, .h5).",
            show_default=False,
        ),
    ],
    out: OutOption,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a backbone for `model.visual.weights` of DeepLab v2's ResNet-101, as STEP begins with it.

    Its classifier and what an optimiser keeps are left out. Neither TensorFlow nor Caffe is needed.
    """
    from risctl.checkpoints import import_backbone

    with console.quiet_if(quiet):
        count = import_backbone.import_deeplab(source, out)
        console.say(f"DeepLab ResNet-101: {count:,} numbers")
        console.result(str(out), data={"path": str(out), "numbers": count}, as_json=as_json)


app.command("zsi", epilog=zsi.EXAMPLE)(zsi.import_zsi)
