"""`risctl visualize`: pictures of data, of predictions, and of how a model came to its answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from risctl.cli import console, visualize_data, visualize_detections, visualize_proposals
from risctl.cli.options import Device, DeviceOption, JsonOption, ModelOption, QuietOption
from risctl.cli.sheets import OutOption, ThresholdOption, sheet_path, write_sheet

if TYPE_CHECKING:
    from risctl.engine.predictor import Predictor

ImageArgument = Annotated[Path, typer.Argument(help="The picture.", show_default=False)]
SourceArgument = Annotated[Path, typer.Argument(help="A picture, a video, or a folder of frames.", show_default=False)]
TextArgument = Annotated[str, typer.Argument(help="What to look for, in quotes.", show_default=False)]
FramesOption = Annotated[int, typer.Option(min=1, max=64, help="Of a video, how many frames, evenly spaced.")]

app = typer.Typer(help="Draw data, predictions, and how a model came to its answer.", no_args_is_help=True)
app.command("data", epilog=visualize_data.DATA_EXAMPLE)(visualize_data.data)
app.command("predictions", epilog=visualize_data.PREDICTIONS_EXAMPLE)(visualize_data.predictions)
app.command("detections", epilog=visualize_detections.EXAMPLE)(visualize_detections.detections)
app.command("proposals", epilog=visualize_proposals.EXAMPLE)(visualize_proposals.proposals)


@app.command("steps", epilog='Example: risctl visualize steps photo.jpg "the red cup" --model runs/step-scenes')
def steps(
    image: ImageArgument,
    text: TextArgument,
    model: ModelOption,
    out: OutOption = None,
    threshold: ThresholdOption = None,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Draw the steps of a STEP on one sheet (PNG).

    For each step the heatmap Q (how well the text fits a level of the picture), the map P after it, and how much
    each word weighs in the text vector. It prints the sheet's path; --json adds the weights as numbers.
    """
    with console.quiet_if(quiet):
        path = sheet_path(out, f"{image.stem}.steps.png")
        from risctl.engine.steps_view import draw_steps

        drawn = draw_steps(_asked(model, device, threshold, text), image, text)
        write_sheet(drawn.sheet, path)
        found = drawn.prediction
        data = {
            "image": str(image),
            "text": text,
            "sheet": str(path),
            "score": found.score,
            "box": found.box,
            "steps": drawn.steps,
        }
        console.result(str(path), data=data, as_json=as_json)


@app.command("words", epilog='Example: risctl visualize words photo.jpg "the red cup" --model runs/vlt-scenes')
def words(
    image: ImageArgument,
    text: TextArgument,
    model: ModelOption,
    out: OutOption = None,
    threshold: ThresholdOption = None,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Draw which words each query of a VLT reads, how much it counts, and where the queries look, on one sheet.

    It prints the sheet's path; --json adds the weights as numbers.
    """
    with console.quiet_if(quiet):
        path = sheet_path(out, f"{image.stem}.words.png")
        from risctl.engine.words_view import draw_words

        drawn = draw_words(_asked(model, device, threshold, text), image, text)
        write_sheet(drawn.sheet, path)
        found = drawn.prediction
        data = {"image": str(image), "text": text, "sheet": str(path), "score": found.score, "box": found.box}
        console.result(str(path), data={**data, "queries": drawn.queries}, as_json=as_json)


@app.command("attention", epilog='Example: risctl visualize attention photo.jpg "the red cup" --model runs/vlt-scenes')
def attention(
    source: SourceArgument,
    text: TextArgument,
    model: ModelOption,
    out: OutOption = None,
    frames: FramesOption = 6,
    threshold: ThresholdOption = None,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Draw what a model has to show of how it came to its answer, whichever its system.

    Of a VLT that is `words`, of a STEP `steps`, of a ReferFormer `queries`; these commands draw the same. Of a mini
    it is the things found and how probably each was meant. What Global-Local CLIP chose from, which has no checkpoint
    of its own, is drawn by `proposals`.
    """
    with console.quiet_if(quiet):
        path = sheet_path(out, f"{source.stem}.attention.png")
        from risctl.engine.attention_view import draw_attention

        drawn = draw_attention(_asked(model, device, threshold, text), source, text, frames=frames)
        write_sheet(drawn.sheet, path)
        data = {"source": str(source), "text": text, "sheet": str(path), "kind": drawn.kind, **drawn.numbers}
        console.result(str(path), data=data, as_json=as_json)


@app.command(
    "queries", epilog='Example: risctl visualize queries street.mp4 "the red car" --model runs/referformer-scenes-video'
)
def queries(
    source: SourceArgument,
    text: TextArgument,
    model: ModelOption,
    out: OutOption = None,
    frames: FramesOption = 6,
    threshold: ThresholdOption = None,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Draw all queries of a ReferFormer over time on one sheet (PNG): masks, boxes and scores, a row a frame.

    It prints the sheet's path; --json adds the scores as numbers.
    """
    with console.quiet_if(quiet):
        path = sheet_path(out, f"{source.stem}.queries.png")
        from risctl.engine.queries_view import draw_queries

        drawn = draw_queries(_asked(model, device, threshold, text), source, text, frames=frames)
        write_sheet(drawn.sheet, path)
        data = {"source": str(source), "text": text, "sheet": str(path), **drawn.to_json()}
        console.result(str(path), data=data, as_json=as_json)


def _asked(model: Path, device: Device, threshold: float | None, text: str) -> Predictor:
    """Return the model, having told what it is and what to know of how it reads `text`."""
    from risctl.engine.predictor import Predictor

    predictor = Predictor.load(model, device=device.value, threshold=threshold)
    console.say(predictor.describe())
    for remark in predictor.remarks(text):
        console.warn(f"{text!r}: {remark}")
    return predictor
