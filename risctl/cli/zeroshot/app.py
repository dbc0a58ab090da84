"""`risctl zeroshot`: find what a text means without any training, by CLIP and mask proposals."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from risctl.cli import console
from risctl.cli.options import Device, DeviceOption, JsonOption, QuietOption
from risctl.cli.report_option import PicturesOption, ReportOption, check_reports, write_reports
from risctl.cli.visualize.contact_sheets import write_contact_sheet
from risctl.cli.zeroshot.answerer import answerer_of
from risctl.cli.zeroshot.options import Choices, with_choices

if TYPE_CHECKING:
    from risctl.data.store.reader import TextField

app = typer.Typer(help="Segment phrases without training: Global-Local CLIP over mask proposals.", no_args_is_help=True)

PREDICT_EXAMPLE = 'Example: risctl zeroshot predict photo.jpg "the red cup" --proposals sam --explain'
EVAL_EXAMPLE = "Example: risctl zeroshot eval --data refcoco.h5 --split val --proposals gt --fast"


@app.command("predict", epilog=PREDICT_EXAMPLE)
@with_choices
def predict(
    *,
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A picture.", show_default=False)],
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", help="What to look for.", show_default=False)],
    choices: Choices,
    explain: Annotated[
        bool, typer.Option("--explain", help="Write a sheet of the best proposals with their scores for each text.")
    ] = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write to; made if absent.")] = Path(
        "predictions"
    ),
    device: DeviceOption = Device.auto,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Find what texts mean in a picture, without training.

    Files and lines are those of `risctl predict`; with --explain there is
    PICTURE.TEXT.sheet.jpg beside them.
    """
    with console.quiet_if(quiet):
        from risctl.errors import UsageError
        from risctl.inference.output_files import PredictionFolder, slug
        from risctl.vision.images import read_image
        from risctl.visualization.explain.proposals import proposal_contact_sheet
        from risctl.zeroshot.predictor import ZeroShotPredictor
        from risctl.zeroshot.proposals.base import InputImage

        if explain and choices.method.is_text_prompted:
            raise UsageError(f"leave --explain out: it shows proposals, and {choices.method} has none")
        pixels = read_image(image)
        answerer = answerer_of(choices, device=device, store=None)
        console.say(answerer.describe())
        proposals = answerer.set_image(InputImage(pixels=pixels, name=image.name))
        if not choices.method.is_text_prompted and not len(proposals):
            console.warn(f"{image}: no proposal, so nothing can be chosen; try another --proposals")
        folder = PredictionFolder(out, model=answerer.describe())
        records: list[dict[str, Any]] = []
        asked = list(dict.fromkeys(texts))
        for text in asked:
            if answerer.is_truncated(text):
                console.warn(f"{text[:40]!r}… is longer than the model reads and was cut")
        for answer in answerer.predict(asked):
            record = folder.write(answer.prediction, image=str(image), name=image.stem)
            record |= {"noun_phrase": answer.noun_phrase, "proposal": answer.chosen, "proposals": len(proposals)}
            if explain and isinstance(answerer, ZeroShotPredictor):
                sheet = out / f"{image.stem}.{slug(answer.prediction.text)}.sheet.jpg"
                drawn = proposal_contact_sheet(pixels, proposals, answer, answerer.explain(answer))
                write_contact_sheet(drawn, sheet, quality=90)
                record["sheet"] = str(sheet)
            records.append(record)
            if not as_json:
                where = "nothing found" if record["box"] is None else ",".join(f"{side:g}" for side in record["box"])
                line = (" ".join(record["text"].split()), f"{record['score']:.3f}", where, record["mask"])
                console.result("\t".join(line), data=record, as_json=False)
        if as_json:
            console.result("", data=records, as_json=True)


@app.command("eval", epilog=EVAL_EXAMPLE)
@with_choices
def evaluate(
    *,
    data: Annotated[Path, typer.Option("--data", "-d", help="A store made by `risctl prepare`.", show_default=False)],
    split: Annotated[
        str, typer.Option("--split", "-s", help="A split of the store: val, test, testA, …, or all.")
    ] = "val",
    protocol: Annotated[
        str, typer.Option("--protocol", "-p", metavar="NAME[,NAME…]", help="The conventions of the figures.")
    ] = "original",
    choices: Choices,
    compare: Annotated[
        int, typer.Option("--compare", min=0, help="With --fast: on how many images the exact choice is made too.")
    ] = 20,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Evaluate only the first so many images.")] = None,
    rows: Annotated[
        Path | None, typer.Option("--rows", help="Write each sample as a JSON line to this file.", show_default=False)
    ] = None,
    report: ReportOption = None,
    pictures: PicturesOption = 12,
    text_field: Annotated[str, typer.Option("--text-field", help="sent, raw or raw_lower.")] = "sent",
    device: DeviceOption = Device.auto,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure zero-shot answers: oIoU, mIoU, MC-Acc, CC-oIoU, the proposals' upper bound, seconds by part."""
    from risctl.data.store.reader import TEXT_FIELDS, Store
    from risctl.devices import pick_device
    from risctl.errors import UsageError, unknown_name
    from risctl.evaluation.zeroshot_evaluator import answered_masks, evaluate_zero_shot
    from risctl.metrics.protocols import get_protocols

    if text_field not in TEXT_FIELDS:
        raise UsageError(unknown_name("text field", text_field, TEXT_FIELDS))
    check_reports(report)
    field = cast("TextField", text_field)
    with console.quiet_if(quiet), Store(data) as store:
        protocols = get_protocols(protocol)
        store.sentences(split)  # An unknown split is told before a model is loaded.
        answerer = answerer_of(choices, device=device, store=store)
        console.say(answerer.describe())
        with console.counting("evaluate") as progress:
            evaluation = evaluate_zero_shot(
                answerer,
                store,
                split=split,
                protocols=protocols,
                text_field=field,
                limit=limit,
                compare=compare if choices.fast else 0,
                device=str(pick_device(device.value)),
                progress=progress,
            )
        written: dict[str, Any] = {}
        if rows is not None:
            evaluation.report.write_rows(rows)
            console.say(f"rows: {rows}")
            written["rows"] = str(rows)
        written |= write_reports(
            report,
            evaluation.report,
            about={**evaluation.extra_to_dict(), "model": evaluation.answerer, "data": str(data)},
            store=store,
            find=partial(answered_masks, answerer, store, text_field=field),
            pictures=pictures,
        )
        console.result(evaluation.to_text(), data=evaluation.to_dict() | written, as_json=as_json)
