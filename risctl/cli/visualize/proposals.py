"""`risctl visualize proposals`: draws the best proposals of Global-Local CLIP with their scores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.options import Device, DeviceOption, JsonOption, OverwriteOption, QuietOption
from risctl.cli.visualize.contact_sheets import ContactSheetFile, OutOption
from risctl.cli.zeroshot.open_predictor import open_predictor
from risctl.cli.zeroshot.options import Choices, with_choices

EXAMPLE = 'Example: risctl visualize proposals photo.jpg "the red cup" --proposals sam'


@with_choices
def proposals(
    *,
    image: Annotated[Path, typer.Argument(help="The picture.", show_default=False)],
    phrase: Annotated[str, typer.Argument(metavar="PHRASE", help="What to look for, in quotes.", show_default=False)],
    choices: Choices,
    shown: Annotated[int, typer.Option("--shown", min=1, max=60, help="How many of the best proposals are drawn.")] = 8,
    out: OutOption = None,
    overwrite: OverwriteOption = False,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Draw the best proposals of Global-Local CLIP for a phrase, each with its scores, on one contact sheet.

    It is that of `risctl zeroshot predict --explain`. Prints the path of the sheet; --json adds the scores.
    """
    with console.quiet_if(quiet):
        sheet = ContactSheetFile.claim(out, f"{image.stem}.proposals.png", overwrite=overwrite, inputs=[image])
        from risctl.errors import UsageError
        from risctl.vision.images import read_image
        from risctl.visualization.explain.proposals import proposal_contact_sheet, proposal_records
        from risctl.zeroshot.predictor import ZeroShotPredictor
        from risctl.zeroshot.proposals.base import InputImage

        if choices.method.is_text_prompted:
            raise UsageError(f"--method {choices.method} answers without proposals; there are none to draw")
        pixels = read_image(image)
        predictor = open_predictor(choices, device=device, store=None)
        if not isinstance(predictor, ZeroShotPredictor):
            raise UsageError(f"{predictor.describe()} answers without proposals; there are none to draw")
        console.say(predictor.describe())
        proposed = predictor.set_image(InputImage(pixels=pixels, name=image.name))
        [answer] = predictor.predict([phrase])
        best = predictor.explain(answer, max_count=shown)
        sheet.write(proposal_contact_sheet(pixels, proposed, answer, best))
        data = {
            "image": str(image),
            "text": phrase,
            "sheet": str(sheet.path),
            "noun_phrase": answer.noun_phrase,
            "count": len(proposed),
            "proposals": proposal_records(answer, best),
        }
        console.result(str(sheet.path), data=data, as_json=as_json)
