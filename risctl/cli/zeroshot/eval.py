"""`risctl zeroshot eval`: evaluates zero-shot predictions on a split of a store."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import typer

from risctl.cli import console
from risctl.cli.options import (
    Beside,
    BesideOption,
    Device,
    DeviceOption,
    JsonOption,
    OverwriteOption,
    QuietOption,
    RowsOption,
    SplitOption,
    StoreOption,
    text_field_of,
)
from risctl.cli.report_option import PicturesOption, ReportOption, claim_outputs, write_reports
from risctl.cli.zeroshot.open_predictor import open_predictor
from risctl.cli.zeroshot.options import BoxRule, Choices, with_choices

EXAMPLE = "Example: risctl zeroshot eval --data refcoco.h5 --split val --proposals gt --fast"


@with_choices
def evaluate(
    *,
    data: StoreOption,
    split: SplitOption = "val",
    protocol: Annotated[
        str, typer.Option("--protocol", "-p", metavar="NAME[,NAME…]", help="The protocols of the figures.")
    ] = "original",
    choices: Choices,
    compare: Annotated[
        int, typer.Option("--compare", min=0, help="With --fast: compare with the exact selection on so many images.")
    ] = 20,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Evaluate only the first so many images.")] = None,
    rows: RowsOption = None,
    report: ReportOption = None,
    pictures: PicturesOption = 12,
    beside: BesideOption = None,
    overwrite: OverwriteOption = False,
    text_field: Annotated[
        str | None, typer.Option("--text-field", help="Which form of the text: sent (default), raw or raw_lower.")
    ] = None,
    as_published: Annotated[
        bool,
        typer.Option(
            "--as-published",
            help="As the published code does: raw texts, estimated boxes (--box reference), and samples of pictures "
            "without a proposal are skipped instead of counted as IoU 0.",
        ),
    ] = False,
    device: DeviceOption = Device.auto,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Evaluate zero-shot predictions: oIoU, mIoU, MC-Acc, CC-oIoU, the proposals' upper bound, time by part."""
    from risctl.data.store.reader import Store
    from risctl.devices import pick_device
    from risctl.evaluation.published.beside import Trained
    from risctl.evaluation.zeroshot_evaluator import answered_masks, evaluate_zero_shot
    from risctl.metrics.protocols import get_protocols

    field = text_field_of(text_field or ("raw" if as_published else "sent"))
    if as_published:
        choices = replace(choices, box=BoxRule.reference)
    outputs = claim_outputs(inputs=[data], overwrite=overwrite, reports=report, others=[rows])
    with console.quiet_if(quiet), Store(data) as store:
        protocols = get_protocols(protocol)
        store.sentences(split)  # An unknown split is an error before a model is loaded.
        predictor = open_predictor(choices, device=device, store=store)
        console.say(predictor.describe())
        with console.counting("evaluate") as progress:
            evaluation = evaluate_zero_shot(
                predictor,
                store,
                split=split,
                protocols=protocols,
                text_field=field,
                limit=limit,
                skip_without_proposals=as_published,
                compare=compare if choices.fast else 0,
                device=str(pick_device(device.value)),
                progress=progress,
            )
        trained = Trained(system="global_local_clip", weights=evaluation.answerer, data="no training here")
        if beside is Beside.published:
            own = {
                f"{field} texts, not raw ones": field != "raw",
                "tight boxes, not the published estimate": choices.box is not BoxRule.reference,
                "samples of images without a proposal count as IoU 0": not as_published,
            }
            departures = tuple(text for text, holds in own.items() if holds)
            evaluation = replace(evaluation, report=evaluation.report.beside_published(trained, departures=departures))
        written: dict[str, Any] = {}
        if rows is not None:
            evaluation.report.write_rows(rows, outputs=outputs)
            console.say(f"rows: {rows}")
            written["rows"] = str(rows)
        written |= write_reports(
            report,
            evaluation.report,
            trained=trained,
            about={**evaluation.extra_to_dict(), "model": evaluation.answerer, "data": str(data)},
            store=store,
            masks_of=partial(answered_masks, predictor, store, text_field=field),
            pictures=pictures,
            outputs=outputs,
        )
        console.result(evaluation.to_text(), data=evaluation.to_dict() | written, as_json=as_json)
