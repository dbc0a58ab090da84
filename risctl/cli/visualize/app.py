"""`risctl visualize`: pictures of data, of predictions, and of how a model came to its answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from risctl.cli import console
from risctl.cli.options import Device, DeviceOption, JsonOption, ModelOption, QuietOption
from risctl.cli.predict.command import introduced
from risctl.cli.visualize import data, detections, proposals
from risctl.cli.visualize.contact_sheets import OutOption, ThresholdOption, contact_sheet_path, write_contact_sheet

ImageArgument = Annotated[Path, typer.Argument(help="The picture.", show_default=False)]
SourceArgument = Annotated[Path, typer.Argument(help="A picture, a video, or a folder of frames.", show_default=False)]
TextArgument = Annotated[str, typer.Argument(help="What to look for, in quotes.", show_default=False)]
FramesOption = Annotated[int, typer.Option(min=1, max=64, help="Of a video, how many frames, evenly spaced.")]

app = typer.Typer(help="Draw datasets, predictions, and how a model arrived at its answer.", no_args_is_help=True)
app.command("data", epilog=data.DATA_EXAMPLE)(data.data)
app.command("predictions", epilog=data.PREDICTIONS_EXAMPLE)(data.predictions)
app.command("detections", epilog=detections.EXAMPLE)(detections.detections)
app.command("proposals", epilog=proposals.EXAMPLE)(proposals.proposals)


# What is drawn of an answer -> help; and examples.
HELP = {
    "steps": """
    Draw the steps of a STEP on one contact sheet (PNG).

    For each step the heatmap Q (how well the text fits a level of the picture), the map P after it, and how much
    each word weighs in the text vector. It prints the sheet's path; --json adds the weights as numbers.
    """,
    "words": """
    Draw which words each query of a VLT reads, how much it counts, and where the queries look, on one contact sheet.

    It prints the sheet's path; --json adds the weights as numbers.
    """,
    "attention": """
    Draw what a model has to show of how it came to its answer, whichever its system.

    Of a VLT that is `words`, of a STEP `steps`, of a ReferFormer `queries`; these commands draw the same. Of a mini
    it is the things found and how probably each was meant. What Global-Local CLIP chose from, which has no checkpoint
    of its own, is drawn by `proposals`.
    """,
    "queries": """
    Draw all queries of a ReferFormer over time on one contact sheet (PNG): masks, boxes and scores, a row a frame.

    It prints the sheet's path; --json adds the scores as numbers.
    """,
}
EXAMPLES = {
    "steps": 'photo.jpg "the red cup" --model runs/step-scenes',
    "words": 'photo.jpg "the red cup" --model runs/vlt-scenes',
    "attention": 'photo.jpg "the red cup" --model runs/vlt-scenes',
    "queries": 'street.mp4 "the red car" --model runs/referformer-scenes-video',
}


def answer_command(what: str) -> Callable[..., None]:
    """Return the command that draws `what` of an answer: two take a picture, two a video as well."""

    def of_picture(
        image: ImageArgument,
        text: TextArgument,
        model: ModelOption,
        out: OutOption = None,
        threshold: ThresholdOption = None,
        device: DeviceOption = Device.auto,
        quiet: QuietOption = False,
        as_json: JsonOption = False,
    ) -> None:
        with console.quiet_if(quiet):
            _draw(what, image, text, model=model, out=out, threshold=threshold, device=device, as_json=as_json)

    def of_source(
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
        with console.quiet_if(quiet):
            _draw(
                what, source, text, model=model, out=out, threshold=threshold, device=device, as_json=as_json,
                max_frames=frames,
            )  # fmt: skip

    return of_source if what in ("attention", "queries") else of_picture


for _what, _help in HELP.items():
    app.command(_what, help=_help, epilog=f"Example: risctl visualize {_what} {EXAMPLES[_what]}")(answer_command(_what))


def _draw(
    what: str,
    source: Path,
    text: str,
    *,
    model: Path,
    out: Path | None,
    threshold: float | None,
    device: Device,
    as_json: bool,
    **frames: int,
) -> None:
    path = contact_sheet_path(out, f"{source.stem}.{what}.png")
    from risctl.inference.explanation import explain
    from risctl.inference.predictor import Predictor
    from risctl.visualization.explain.sheets import explanation_contact_sheet

    predictor = introduced(Predictor.load(model, device=device.value, threshold=threshold), [text])
    kind = None if what == "attention" else what
    explained = explain(predictor, source, text, kind=kind, **frames)
    write_contact_sheet(explanation_contact_sheet(explained), path)
    data: dict[str, Any] = {"source" if frames else "image": str(source), "text": text, "sheet": str(path)}
    if kind is None:
        data["kind"] = explained.explanation.kind
    if explained.is_clip:
        data["frames"] = explained.names
    elif kind is not None:
        [prediction] = explained.frames
        data |= {"score": prediction.score, "box": prediction.box}
    console.result(str(path), data=data | explained.explanation.to_dict(), as_json=as_json)
