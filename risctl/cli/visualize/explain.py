"""`risctl visualize attention`, `words`, `steps`, `stages`, …: draws how a model arrived at its answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from risctl.cli import console
from risctl.cli.announce import announce_model
from risctl.cli.options import (
    Device,
    DeviceOption,
    JsonOption,
    ModelOption,
    OverwriteOption,
    QuietOption,
    ThresholdOption,
)
from risctl.cli.visualize.contact_sheets import ContactSheetFile, OutOption

ImageArgument = Annotated[Path, typer.Argument(help="The picture.", show_default=False)]
SourceArgument = Annotated[Path, typer.Argument(help="A picture, a video, or a folder of frames.", show_default=False)]
PhraseArgument = Annotated[
    str, typer.Argument(metavar="PHRASE", help="What to look for, in quotes.", show_default=False)
]
FramesOption = Annotated[int, typer.Option(min=1, max=64, help="Videos: how many frames are drawn, evenly spaced.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A subcommand that draws an answer.

    Attributes:
        name: The subcommand's name.
        help: Its help.
        example: The arguments of its example.
        takes_videos: Whether it also draws videos.
    """

    name: str
    help: str
    example: str
    takes_videos: bool = False

    @property
    def epilog(self) -> str:
        """The example under the help."""
        return f"Example: risctl visualize {self.name} {self.example}"


VIEWS = (
    View(
        name="steps",
        help="""
        Draw the steps of a STEP model on one contact sheet.

        For each step: the heatmap Q (how well the phrase fits a level of the picture), the map P after it, and the
        weight of each word in the text vector. Prints the path of the sheet; --json adds the weights as numbers.
        """,
        example='photo.jpg "the red cup" --model runs/step-scenes',
    ),
    View(
        name="words",
        help="""
        Draw which words each query of a VLT attends to, its weight, and where it looks, on one contact sheet.

        Prints the path of the sheet; --json adds the weights as numbers.
        """,
        example='photo.jpg "the red cup" --model runs/vlt-scenes',
    ),
    View(
        name="stages",
        help="""
        Draw what each stage of a LAVT reads, word by word, and how far its gates open, on one contact sheet.

        Prints the path of the sheet; --json adds the words' shares and the gates as numbers.
        """,
        example='photo.jpg "the red cup" --model runs/lavt-scenes',
    ),
    View(
        name="regions",
        help="""
        Draw the regions of a ReLA on one contact sheet.

        The minimap (how probably each region is target), how much each region's mask counts, and the masks of the
        strongest four. Prints the path of the sheet; --json adds both maps as numbers.
        """,
        example='photo.jpg "the red cups" --model runs/rela-scenes',
    ),
    View(
        name="similarity",
        help="""
        Draw how a CRIS compares pixels with the phrase, with all of it and with each of its tokens, on one contact
        sheet.

        Prints the path of the sheet; --json adds each token's mean share in the mask and beside it.
        """,
        example='photo.jpg "the red cup" --model runs/cris-scenes',
    ),
    View(
        name="attention",
        help="""
        Draw whatever a model can show of how it arrived at its answer.

        For a VLT that is `words`, for a STEP `steps`, for a LAVT `stages`, for a CRIS `similarity`, for a ReferFormer
        `queries`, for a ReLA `regions`; these subcommands draw the same.
        For a mini it is the detections and the probability that each is the referred object. The proposals of
        Global-Local CLIP, which has no checkpoint of its own, are drawn by `proposals`.
        """,
        example='photo.jpg "the red cup" --model runs/vlt-scenes',
        takes_videos=True,
    ),
    View(
        name="queries",
        help="""
        Draw all queries of a ReferFormer over time on one contact sheet: masks, boxes and scores, one row per frame.

        Prints the path of the sheet; --json adds the scores as numbers.
        """,
        example='street.mp4 "the red car" --model runs/referformer-scenes-video',
        takes_videos=True,
    ),
)


def command_of(view: View) -> Callable[..., None]:
    """Returns the subcommand of a view."""

    def draw_image(
        image: ImageArgument,
        phrase: PhraseArgument,
        model: ModelOption,
        out: OutOption = None,
        overwrite: OverwriteOption = False,
        threshold: ThresholdOption = None,
        device: DeviceOption = Device.auto,
        quiet: QuietOption = False,
        as_json: JsonOption = False,
    ) -> None:
        with console.quiet_if(quiet):
            options: dict[str, Any] = {"threshold": threshold, "device": device, "as_json": as_json}
            _draw(view, image, phrase, model, out=out, overwrite=overwrite, **options)

    def draw_source(
        source: SourceArgument,
        phrase: PhraseArgument,
        model: ModelOption,
        out: OutOption = None,
        overwrite: OverwriteOption = False,
        frames: FramesOption = 6,
        threshold: ThresholdOption = None,
        device: DeviceOption = Device.auto,
        quiet: QuietOption = False,
        as_json: JsonOption = False,
    ) -> None:
        with console.quiet_if(quiet):
            options: dict[str, Any] = {"threshold": threshold, "device": device, "as_json": as_json}
            _draw(view, source, phrase, model, out=out, overwrite=overwrite, max_frames=frames, **options)

    return draw_source if view.takes_videos else draw_image


def _draw(
    view: View,
    source: Path,
    phrase: str,
    model: Path,
    *,
    out: Path | None,
    overwrite: bool,
    threshold: float | None,
    device: Device,
    as_json: bool,
    **frames: int,
) -> None:
    sheet = ContactSheetFile.claim(out, f"{source.stem}.{view.name}.png", overwrite=overwrite, inputs=[source, model])
    from risctl.inference.explanation import explain
    from risctl.inference.predictor import Predictor
    from risctl.visualization.explain.sheets import explanation_contact_sheet

    predictor = announce_model(Predictor.load(model, device=device.value, threshold=threshold), [phrase])
    kind = None if view.name == "attention" else view.name
    explained = explain(predictor, source, phrase, kind=kind, **frames)
    sheet.write(explanation_contact_sheet(explained))
    record: dict[str, Any] = {"source" if frames else "image": str(source), "text": phrase, "sheet": str(sheet.path)}
    if kind is None:
        record["kind"] = explained.explanation.kind
    if explained.is_clip:
        record["frames"] = explained.names
    elif kind is not None:
        [prediction] = explained.frames
        record |= {"score": prediction.score, "box": prediction.box}
    console.result(str(sheet.path), data=record | explained.explanation.to_dict(), as_json=as_json)
