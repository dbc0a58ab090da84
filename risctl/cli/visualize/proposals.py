"""`risctl visualize proposals`: how Global-Local CLIP chose among the proposals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.options import Device, DeviceOption, JsonOption, QuietOption
from risctl.cli.visualize.contact_sheets import OutOption, contact_sheet_path, write_contact_sheet
from risctl.cli.zeroshot.answerer import answerer_of
from risctl.cli.zeroshot.options import Choices, with_choices

EXAMPLE = 'Example: risctl visualize proposals photo.jpg "the red cup" --proposals sam'


@with_choices
def proposals(
    *,
    image: Annotated[Path, typer.Argument(help="The picture.", show_default=False)],
    text: Annotated[str, typer.Argument(help="What to look for, in quotes.", show_default=False)],
    choices: Choices,
    shown: Annotated[int, typer.Option("--shown", min=1, max=60, help="How many of the best are drawn.")] = 8,
    out: OutOption = None,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Draw the best proposals of Global-Local CLIP for a text, each with its scores, on one contact sheet.

    The sheet is that of `risctl zeroshot predict --explain`. It prints the sheet's path; --json adds the scores.
    """
    with console.quiet_if(quiet):
        path = contact_sheet_path(out, f"{image.stem}.proposals.png")
        from risctl.errors import UsageError
        from risctl.vision.images import read_image
        from risctl.visualization.explain.proposals import proposal_contact_sheet, proposal_records
        from risctl.zeroshot.predictor import ZeroShotPredictor
        from risctl.zeroshot.proposals.base import InputImage

        if choices.method.is_text_prompted:
            raise UsageError(f"--method {choices.method} answers without proposals; there are none to draw")
        pixels = read_image(image)
        answerer = answerer_of(choices, device=device, store=None)
        if not isinstance(answerer, ZeroShotPredictor):
            raise UsageError(f"{answerer.describe()} answers without proposals; there are none to draw")
        console.say(answerer.describe())
        found = answerer.set_image(InputImage(pixels=pixels, name=image.name))
        [answer] = answerer.predict([text])
        best = answerer.explain(answer, max_count=shown)
        write_contact_sheet(proposal_contact_sheet(pixels, found, answer, best), path)
        data = {
            "image": str(image),
            "text": text,
            "sheet": str(path),
            "noun_phrase": answer.noun_phrase,
            "count": len(found),
            "proposals": proposal_records(answer, best),
        }
        console.result(str(path), data=data, as_json=as_json)
