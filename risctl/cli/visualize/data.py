"""`risctl visualize data` and `predictions`: sheets of a store's pictures, and of what a model finds in them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from risctl.cli import console
from risctl.cli.options import AnyModelOption, Device, DeviceOption, JsonOption, QuietOption
from risctl.cli.visualize.contact_sheets import OutOption, ThresholdOption, contact_sheet_path, write_contact_sheet

if TYPE_CHECKING:
    from risctl.checkpoints.checkpoint import Loaded
    from risctl.data.store.reader import Store, TextField
    from risctl.metrics.protocols import Protocol

DATA_EXAMPLE = "Example: risctl visualize data scenes.h5 --split val -n 24"
PREDICTIONS_EXAMPLE = "Example: risctl visualize predictions scenes.h5 --model runs/vlt-scenes --show worst -n 12"


class Show(StrEnum):
    """Which samples are shown."""

    worst = "worst"
    best = "best"
    random = "random"


StoreArgument = Annotated[
    Path, typer.Argument(metavar="STORE", help="A store made by `risctl prepare`.", show_default=False)
]
SplitOption = Annotated[str, typer.Option("--split", "-s", help="A split of the store: val, test, testA, …, or all.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Of what is chosen at random.")]


def data(
    store: StoreArgument,
    split: SplitOption = "val",
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=400, help="How many pictures.")] = 24,
    seed: SeedOption = 0,
    columns: Annotated[int, typer.Option("--columns", min=1, max=12, help="Pictures beside each other.")] = 4,
    text_field: Annotated[str, typer.Option("--text-field", help="sent, raw or raw_lower.")] = "sent",
    out: OutOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Draw pictures of a store with what their expressions mean, on one contact sheet.

    Each thing meant has a colour: its mask in the picture, its expressions below. It prints the sheet's path.
    """
    from risctl.data.store.reader import Store
    from risctl.visualization.dataset_contact_sheet import dataset_contact_sheet

    with console.quiet_if(quiet), Store(store) as opened:
        path = contact_sheet_path(out, f"{store.stem}.{split}.png")
        drawn = dataset_contact_sheet(
            opened, split=split, count=count, seed=seed, text_field=_field(text_field), columns=columns
        )
        write_contact_sheet(drawn.pixels, path)
        told = {"data": str(store), "split": split, "sheet": str(path), "pictures": drawn.entries}
        console.result(str(path), data=told, as_json=as_json)


def predictions(
    store: StoreArgument,
    model: AnyModelOption = None,
    split: SplitOption = "val",
    show: Annotated[Show, typer.Option("--show", help="The samples of lowest or highest IoU, or any.")] = Show.random,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=200, help="How many samples.")] = 12,
    rows: Annotated[
        Path | None,
        typer.Option(
            "--rows", help="Rows of `risctl eval --rows`, to rank by without asking again.", show_default=False
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Rank only the first so many sentences.", show_default=False)
    ] = None,
    seed: SeedOption = 0,
    columns: Annotated[int, typer.Option("--columns", min=1, max=8, help="Samples beside each other.")] = 2,
    threshold: ThresholdOption = None,
    text_field: Annotated[
        str | None, typer.Option("--text-field", help="sent, raw or raw_lower. Default: the checkpoint's.")
    ] = None,
    out: OutOption = None,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Draw what a model finds beside what was to be found, for samples of a store, on one contact sheet.

    For the worst and the best all sentences of the split are evaluated first; --rows takes them from an earlier
    evaluation, --limit from fewer sentences. It prints the sheet's path.
    """
    from risctl.checkpoints.checkpoint import load_checkpoint
    from risctl.data.store.clips import is_video_store
    from risctl.data.store.reader import Store
    from risctl.devices import pick_device
    from risctl.errors import UsageError
    from risctl.inference.batched_inference import predicted_masks
    from risctl.metrics.protocols import get_protocol
    from risctl.visualization.prediction_contact_sheet import prediction_contact_sheet

    with console.quiet_if(quiet), Store(store) as opened:
        path = contact_sheet_path(out, f"{store.stem}.{split}.{show}.png")
        if is_video_store(opened):
            raise UsageError(f"{store} holds videos; `risctl predict VIDEO TEXT` draws what a model finds in one")
        opened.sentences(split)  # An unknown split is told before a model is loaded.
        place = pick_device(device.value)
        loaded = load_checkpoint(model, place)
        settings = loaded.recipe.eval
        chosen = settings.threshold if threshold is None else threshold
        protocol = get_protocol(settings.protocol).with_threshold(chosen)
        field = _field(text_field or loaded.recipe.data.text_field)
        keys = _chosen(
            loaded, opened, split=split, show=show, count=count, rows=rows, limit=limit, seed=seed,
            protocol=protocol, field=field, device=place,
        )  # fmt: skip
        masks = predicted_masks(loaded.system, opened, keys, text_field=field, threshold=protocol.threshold)
        drawn = prediction_contact_sheet(
            opened,
            keys,
            dict(masks),
            protocol=protocol,
            text_field=field,
            title=f"{loaded.path} on {opened.name}, split {split}: {len(keys)} samples, {show}",
            columns=columns,
        )
        write_contact_sheet(drawn.pixels, path)
        told = {"model": str(loaded.path), "data": str(store), "split": split, "show": show.value, "sheet": str(path)}
        console.result(str(path), data={**told, "samples": drawn.entries}, as_json=as_json)


def _chosen(
    loaded: Loaded,
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
    """Return the rows of the sentences to show."""
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
                loaded.system, store, split=split, protocols=protocol, text_field=field, device=device, limit=limit,
                text_batch=loaded.recipe.eval.text_batch, progress=progress, resamples=0,
            )  # fmt: skip
        result = report.results[protocol.name]
    worst, best = worst_and_best(result, each=count)
    return worst if show is Show.worst else best


def _field(name: str) -> TextField:
    from risctl.data.store.rows import TEXT_FIELDS
    from risctl.errors import UsageError, unknown_name

    if name not in TEXT_FIELDS:
        raise UsageError(unknown_name("text field", name, TEXT_FIELDS))
    return cast("TextField", name)
