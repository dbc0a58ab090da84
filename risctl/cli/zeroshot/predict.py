"""`risctl zeroshot predict`: the masks of phrases in images, without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from risctl.cli import console
from risctl.cli.options import Device, DeviceOption, JsonOption, OutFolderOption, OverwriteOption, QuietOption
from risctl.cli.predict.inputs import find_images, read_image, split_arguments
from risctl.cli.predict.result_line import remark_on_mask, result_line
from risctl.cli.predict.skipped import Skipped, remark_on_phrases
from risctl.cli.visualize.contact_sheets import write_contact_sheet
from risctl.cli.zeroshot.open_predictor import open_predictor
from risctl.cli.zeroshot.options import Choices, with_choices

EXAMPLE = 'Example: risctl zeroshot predict photo.jpg "the red cup" --proposals sam --explain'


@with_choices
def predict(
    *,
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE... PHRASE...",
            help="First the pictures: a file, a folder, a quoted pattern ('photos/*.jpg'), or - for standard input. "
            "Then the phrases, each in quotes.",
            show_default=False,
        ),
    ],
    choices: Choices,
    explain: Annotated[
        bool, typer.Option("--explain", help="Write a sheet of the best proposals with their scores for each phrase.")
    ] = False,
    out: OutFolderOption = Path("predictions"),
    overwrite: OverwriteOption = False,
    device: DeviceOption = Device.auto,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Segment what phrases refer to in pictures, without training.

    Files and lines are those of `risctl predict`; --explain adds
    PICTURE.PHRASE.sheet.jpg. A picture or phrase of several that cannot be
    read is reported; the others are still predicted, and the exit code is 4.
    """
    with console.quiet_if(quiet):
        from risctl.errors import UsageError
        from risctl.inference.output_files import PredictionFolder
        from risctl.output_files import OutputFiles
        from risctl.visualization.explain.proposals import proposal_contact_sheet
        from risctl.zeroshot.predictor import ZeroShotPredictor
        from risctl.zeroshot.proposals.base import InputImage

        if explain and choices.method.is_text_prompted:
            raise UsageError(f"leave --explain out: it draws proposals, and {choices.method} has none")
        specs, phrases = split_arguments(arguments)
        remark_on_phrases(phrases)
        images = find_images(specs, out=out)
        outputs = OutputFiles(inputs=(image.path for image in images), overwrite=overwrite)
        folder = PredictionFolder(out, outputs=outputs)
        for image in images:
            folder.check(name=image.stem, file_name=image.file_name, texts=phrases, sheets=explain)
        skipped = Skipped(pictures=len(images), phrases=len(phrases))
        usable = skipped.usable_phrases(phrases)
        predictor = open_predictor(choices, device=device, store=None)
        console.say(predictor.describe())
        for phrase in usable:
            if predictor.is_truncated(phrase):
                console.warn(f"{phrase[:40]!r}… is longer than the model reads and was truncated")
        records: list[dict[str, Any]] = []
        for image in console.progress(images, label="predict"):
            with skipped.reading(image.shown) as attempt:
                pixels = read_image(image)
                name = image.shown if image.path is None else image.path.name
                proposals = predictor.set_image(InputImage(pixels=pixels, name=name))
                answers = predictor.predict(usable)
            if attempt.failed:
                continue
            if not choices.method.is_text_prompted and not len(proposals):
                console.warn(f"{image.shown}: no proposals, so nothing can be selected; try another --proposals")
            for answer in answers:
                record = folder.write(
                    answer.prediction,
                    image=image.shown,
                    name=image.stem,
                    file_name=image.file_name,
                    model=predictor.describe(),
                )
                record |= {"noun_phrase": answer.noun_phrase, "proposal": answer.chosen, "proposals": len(proposals)}
                if explain and isinstance(predictor, ZeroShotPredictor):
                    sheet = Path(record["mask"].removesuffix(".mask.png") + ".sheet.jpg")
                    drawn = proposal_contact_sheet(pixels, proposals, answer, predictor.explain(answer))
                    write_contact_sheet(drawn, sheet, outputs=outputs, quality=90)
                    record["sheet"] = str(sheet)
                records.append(record)
                remark_on_mask(record, image=image.shown)
                if not as_json:
                    console.result(result_line(record), data=record, as_json=False)
        if as_json:
            console.result("", data=records, as_json=True)
        skipped.raise_if_any()
