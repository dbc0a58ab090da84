"""`risctl visualize predictions`: draws predicted beside annotated masks for samples of a store."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from risctl.cli import console
from risctl.cli.calibrated import put_calibration
from risctl.cli.options import (
    AnyModelOption,
    Device,
    DeviceOption,
    JsonOption,
    OverwriteOption,
    QuietOption,
    SeedOption,
    SplitOption,
    StoreArgument,
    SurestOption,
    TextFieldOption,
    ThresholdOption,
    text_field_of,
)
from risctl.cli.visualize.contact_sheets import ContactSheetFile, OutOption

if TYPE_CHECKING:
    from risctl.data.store.reader import Store, TextField
    from risctl.evaluation.evaluated_model import EvaluatedModel
    from risctl.metrics.protocols import Protocol

EXAMPLE = "Example: risctl visualize predictions scenes.h5 --model runs/vlt-scenes --show worst -n 12"


class Show(StrEnum):
    """Which samples are drawn."""

    worst = "worst"
    best = "best"
    random = "random"


def predictions(
    store: StoreArgument,
    model: AnyModelOption = None,
    split: SplitOption = "val",
    show: Annotated[
        Show, typer.Option("--show", help="The samples of lowest or of highest IoU, or random ones.")
    ] = Show.random,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=200, help="How many samples are drawn.")] = 12,
    rows: Annotated[
        Path | None,
        typer.Option(
            "--rows", help="Rank by these rows of `risctl eval --rows` instead of evaluating.", show_default=False
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Rank only the first so many sentences.", show_default=False)
    ] = None,
    seed: SeedOption = 0,
    columns: Annotated[int, typer.Option("--columns", min=1, max=8, help="Samples in a row.")] = 2,
    threshold: ThresholdOption = None,
    surest: SurestOption = False,
    text_field: TextFieldOption = None,
    out: OutOption = None,
    overwrite: OverwriteOption = False,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Draw predicted beside annotated masks for samples of a store, on one contact sheet.

    For the worst and the best, all sentences of the split are evaluated first; --rows takes an earlier evaluation,
    --limit fewer sentences. Prints the path of the sheet.
    """
    from risctl.data.store.clips import is_video_store
    from risctl.data.store.reader import Store
    from risctl.devices import pick_device
    from risctl.errors import UsageError
    from risctl.evaluation.evaluated_model import open_evaluated
    from risctl.inference.store_predictor import predicted_masks
    from risctl.visualization.prediction_contact_sheet import prediction_contact_sheet

    with console.quiet_if(quiet), Store(store) as opened:
        sheet = ContactSheetFile.claim(
            out, f"{store.stem}.{split}.{show}.png", overwrite=overwrite, inputs=[store, model, rows]
        )
        if is_video_store(opened):
            raise UsageError(f"{store} holds videos; `risctl predict VIDEO PHRASE` draws predictions in one")
        opened.sentences(split)  # An unknown split is an error before a model is loaded.
        torch_device = pick_device(device.value)
        evaluated = open_evaluated(model, torch_device, surest=surest)
        put_calibration(evaluated.answering, model=model, option=None)
        [protocol] = evaluated.protocols(names=None, threshold=threshold)
        field = text_field_of(text_field or evaluated.text_field)
        keys = _samples(
            evaluated, opened, split=split, show=show, count=count, rows=rows, limit=limit, seed=seed,
            protocol=protocol, field=field, device=torch_device,
        )  # fmt: skip
        masks = predicted_masks(evaluated.model, opened, keys, text_field=field, threshold=protocol.threshold)
        drawn = prediction_contact_sheet(
            opened,
            keys,
            dict(masks),
            protocol=protocol,
            text_field=field,
            title=f"{evaluated.name} on {opened.name}, split {split}: {len(keys)} samples, {show}",
            columns=columns,
        )
        sheet.write(drawn.pixels)
        record: dict[str, Any] = {"model": evaluated.name, "data": str(store), "split": split, "show": show.value}
        record |= {"threshold": protocol.threshold, "threshold_source": protocol.threshold_source}
        record |= {"sheet": str(sheet.path)}
        console.result(str(sheet.path), data={**record, "samples": drawn.entries}, as_json=as_json)


def _samples(
    evaluated: EvaluatedModel,
    store: Store,
    *,
    split: str,
    show: Show,
    count: int,
    rows: Path | None,
    limit: int | None,
    seed: int,
    protocol: Protocol,
    field: TextField,
    device: Any,
) -> list[int]:
    """Returns the rows of the sentences to draw."""
    from risctl.evaluation.image_evaluator import evaluate
    from risctl.evaluation.report import Result
    from risctl.evaluation.saved_rows import read_run
    from risctl.visualization.contact_sheet import random_samples
    from risctl.visualization.prediction_contact_sheet import check_rows
    from risctl.visualization.report.sample_images import worst_and_best

    if show is Show.random:
        return random_samples(store.sentences(split).tolist()[:limit], count=count, seed=seed)
    if rows is not None:
        run = read_run(rows)
        check_rows(run, store, split=split, text_field=field)
        name = protocol.name if protocol.name in run.rows else next(iter(run.rows))
        result = Result.of(run.rows[name], run.protocols[name], resamples=0)
    else:
        with console.counting("evaluate") as progress:
            report = evaluate(
                evaluated.model, store, split=split, protocols=protocol, text_field=field, device=device, limit=limit,
                text_batch=evaluated.text_batch, progress=progress, resamples=0,
            )  # fmt: skip
        result = report.results[protocol.name]
    worst, best = worst_and_best(result, each=count)
    return worst if show is Show.worst else best
