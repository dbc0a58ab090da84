"""`risctl visualize`: pictures of data, of predictions, and of how a model came to its answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console, visualize_data
from risctl.cli.options import Device, DeviceOption, JsonOption, ModelOption, QuietOption
from risctl.cli.sheets import OutOption, ThresholdOption, sheet_path, write_sheet

app = typer.Typer(help="Draw data, predictions, and how a model came to its answer.", no_args_is_help=True)
app.command("data", epilog=visualize_data.DATA_EXAMPLE)(visualize_data.data)
app.command("predictions", epilog=visualize_data.PREDICTIONS_EXAMPLE)(visualize_data.predictions)


@app.command("steps", epilog='Example: risctl visualize steps photo.jpg "the red cup" --model runs/step-scenes')
def steps(
    image: Annotated[Path, typer.Argument(help="The picture.", show_default=False)],
    text: Annotated[str, typer.Argument(help="What to look for, in quotes.", show_default=False)],
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
        from risctl.engine.predictor import Predictor
        from risctl.engine.steps_view import draw_steps

        predictor = Predictor.load(model, device=device.value, threshold=threshold)
        console.say(predictor.describe())
        for remark in predictor.remarks(text):
            console.warn(f"{text!r}: {remark}")
        drawn = draw_steps(predictor, image, text)
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


@app.command(
    "queries", epilog='Example: risctl visualize queries street.mp4 "the red car" --model runs/referformer-scenes-video'
)
def queries(
    source: Annotated[Path, typer.Argument(help="A picture, a video, or a folder of frames.", show_default=False)],
    text: Annotated[str, typer.Argument(help="What to look for, in quotes.", show_default=False)],
    model: ModelOption,
    out: OutOption = None,
    frames: Annotated[int, typer.Option(min=1, max=64, help="Of a video, how many frames, evenly spaced.")] = 6,
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
        from risctl.engine.predictor import Predictor
        from risctl.engine.queries_view import draw_queries

        predictor = Predictor.load(model, device=device.value, threshold=threshold)
        console.say(predictor.describe())
        for remark in predictor.remarks(text):
            console.warn(f"{text!r}: {remark}")
        drawn = draw_queries(predictor, source, text, frames=frames)
        write_sheet(drawn.sheet, path)
        data = {"source": str(source), "text": text, "sheet": str(path), **drawn.to_json()}
        console.result(str(path), data=data, as_json=as_json)
