"""`risctl visualize proposals`: how Global-Local CLIP chose among the proposals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.options import Device, DeviceOption, JsonOption, QuietOption
from risctl.cli.visualize.contact_sheets import OutOption, sheet_path, write_sheet
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
    """Draw the best proposals of Global-Local CLIP for a text, each with its scores, on one sheet.

    The sheet is that of `risctl zeroshot predict --explain`. It prints the sheet's path; --json adds the scores.
    """
    with console.quiet_if(quiet):
        path = sheet_path(out, f"{image.stem}.proposals.png")
        from risctl.errors import UsageError
        from risctl.vision.images import read_image
        from risctl.visualization.zeroshot_contact_sheet import draw_proposals
        from risctl.zeroshot.predictor import ZeroShot
        from risctl.zeroshot.proposals.base import Picture

        if choices.method.is_peer:
            raise UsageError(f"--method {choices.method} answers without proposals; there are none to draw")
        pixels = read_image(image)
        answerer = answerer_of(choices, device=device, store=None)
        if not isinstance(answerer, ZeroShot):
            raise UsageError(f"{answerer.describe()} answers without proposals; there are none to draw")
        console.say(answerer.describe())
        found = answerer.look(Picture(pixels=pixels, name=image.name))
        [answer] = answerer.answers([text])
        drawn = draw_proposals(answerer, answer, most=shown)
        write_sheet(drawn.sheet, path)
        data = {
            "image": str(image),
            "text": text,
            "sheet": str(path),
            "noun_phrase": answer.phrase,
            "count": len(found),
            "proposals": drawn.proposals,
        }
        console.result(str(path), data=data, as_json=as_json)
