"""`risctl zeroshot predict`: the masks of phrases in an image, without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from risctl.cli import console
from risctl.cli.options import Device, DeviceOption, JsonOption, OutFolderOption, QuietOption
from risctl.cli.predict.result_line import result_line
from risctl.cli.visualize.contact_sheets import write_contact_sheet
from risctl.cli.zeroshot.open_predictor import open_predictor
from risctl.cli.zeroshot.options import Choices, with_choices

EXAMPLE = 'Example: risctl zeroshot predict photo.jpg "the red cup" --proposals sam --explain'


@with_choices
def predict(
    *,
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="The picture.", show_default=False)],
    phrases: Annotated[
        list[str],
        typer.Argument(metavar="PHRASE...", help="What to look for, each in quotes.", show_default=False),
    ],
    choices: Choices,
    explain: Annotated[
        bool, typer.Option("--explain", help="Write a sheet of the best proposals with their scores for each phrase.")
    ] = False,
    out: OutFolderOption = Path("predictions"),
    device: DeviceOption = Device.auto,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Segment what phrases refer to in a picture, without training.

    Files and lines are those of `risctl predict`; --explain adds
    PICTURE.PHRASE.sheet.jpg.
    """
    with console.quiet_if(quiet):
        from risctl.errors import UsageError
        from risctl.inference.output_files import PredictionFolder
        from risctl.output_files import OutputFiles
        from risctl.vision.images import read_image
        from risctl.visualization.explain.proposals import proposal_contact_sheet
        from risctl.zeroshot.predictor import ZeroShotPredictor
        from risctl.zeroshot.proposals.base import InputImage

        if explain and choices.method.is_text_prompted:
            raise UsageError(f"leave --explain out: it draws proposals, and {choices.method} has none")
        pixels = read_image(image)
        predictor = open_predictor(choices, device=device, store=None)
        console.say(predictor.describe())
        proposals = predictor.set_image(InputImage(pixels=pixels, name=image.name))
        if not choices.method.is_text_prompted and not len(proposals):
            console.warn(f"{image}: no proposals, so nothing can be selected; try another --proposals")
        outputs = OutputFiles(inputs=[image])
        folder = PredictionFolder(out, model=predictor.describe(), outputs=outputs)
        records: list[dict[str, Any]] = []
        distinct = list(dict.fromkeys(phrases))
        for phrase in distinct:
            if predictor.is_truncated(phrase):
                console.warn(f"{phrase[:40]!r}… is longer than the model reads and was truncated")
        for answer in predictor.predict(distinct):
            record = folder.write(answer.prediction, image=str(image), name=image.stem)
            record |= {"noun_phrase": answer.noun_phrase, "proposal": answer.chosen, "proposals": len(proposals)}
            if explain and isinstance(predictor, ZeroShotPredictor):
                sheet = Path(record["mask"].removesuffix(".mask.png") + ".sheet.jpg")
                drawn = proposal_contact_sheet(pixels, proposals, answer, predictor.explain(answer))
                write_contact_sheet(drawn, sheet, outputs=outputs, quality=90)
                record["sheet"] = str(sheet)
            records.append(record)
            if not as_json:
                console.result(result_line(record), data=record, as_json=False)
        if as_json:
            console.result("", data=records, as_json=True)
