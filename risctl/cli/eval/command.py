"""`risctl eval`: figures of a trained model on a split of a store, under stated protocols."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from risctl.cli import console
from risctl.cli.options import AnyModelOption, Device, DeviceOption, JsonOption, QuietOption
from risctl.cli.report_option import PicturesOption, ReportOption, check_reports, write_reports

if TYPE_CHECKING:
    import torch

    from risctl.data.store.reader import TextField
    from risctl.metrics.protocols import Protocol
    from risctl.recipe.schema import Recipe

EXAMPLE = "Example: risctl eval --model runs/vlt-scenes --data scenes.h5 --split val --protocol original,lavt"

app = typer.Typer()


def complete_protocol(incomplete: str) -> list[str]:
    """Return the names of protocols that a shell offers, after those already named."""
    from risctl.metrics.protocols import PROTOCOLS

    named, comma, begun = incomplete.rpartition(",")
    return [f"{named}{comma}{name}" for name in PROTOCOLS if name.startswith(begun)]


@app.command("eval", epilog=EXAMPLE)
def evaluate_model(
    data: Annotated[Path, typer.Option("--data", "-d", help="A store made by `risctl prepare`.", show_default=False)],
    model: AnyModelOption = None,
    split: Annotated[
        str, typer.Option("--split", "-s", help="A split of the store: val, test, testA, …, or all.")
    ] = "val",
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            "-p",
            metavar="NAME[,NAME…]",
            help="The convention of the figures, several in one pass: original, lavt, cris, mcn, rela, mmdet, a2d, "
            "davis, zsris, phrasecut. Default: the checkpoint's. Things found by class: zsi or gzsi, alone.",
            autocompletion=complete_protocol,
            show_default=False,
        ),
    ] = None,
    rows: Annotated[
        Path | None, typer.Option("--rows", help="Write each sample as a JSON line to this file.", show_default=False)
    ] = None,
    report: ReportOption = None,
    pictures: PicturesOption = 12,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Evaluate only the first so many sentences.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", help="Probability above which a pixel is in the mask. Default: the protocol's."),
    ] = None,
    text_field: Annotated[
        str | None, typer.Option("--text-field", help="sent, raw or raw_lower. Default: the checkpoint's.")
    ] = None,
    text_batch: Annotated[
        int | None, typer.Option("--text-batch", min=1, help="Sentences decoded together. Default: the checkpoint's.")
    ] = None,
    submission: Annotated[
        Path | None,
        typer.Option(
            "--submission",
            help="Videos: write a Ref-YouTube-VOS submission (.zip) of the split instead of figures.",
            show_default=False,
        ),
    ] = None,
    clip_len: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1000,
            help="Videos: frames that the model sees at once, by default 36 on Ref-DAVIS17, else 8; as long as a "
            "video, it is the published pass, whose memory grows with it.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes that decode pictures.")] = 0,
    device: DeviceOption = Device.auto,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Evaluate a trained model: oIoU, mIoU and Pr@X with their protocol, counts and confidence intervals.

    On a store of videos: J, F and J&F of the expressions; for ref-davis17 also DAVIS's own figures by both rules of
    matching, averaged over the four annotators.
    """
    from risctl.checkpoints.checkpoint import load_checkpoint
    from risctl.data.download.mirrors import sha256_of
    from risctl.data.store.clips import is_video_store
    from risctl.data.store.reader import TEXT_FIELDS, Store
    from risctl.errors import UsageError, unknown_name
    from risctl.evaluation.image_evaluator import evaluate
    from risctl.inference.batched_inference import predicted_masks

    if text_field is not None and text_field not in TEXT_FIELDS:
        raise UsageError(unknown_name("text field", text_field, TEXT_FIELDS))
    check_reports(report)
    with console.quiet_if(quiet), Store(data) as store:
        store.sentences(split)  # An unknown split is told before a model is loaded.
        place, is_first = _place(device)
        loaded = load_checkpoint(model, place)
        chosen_field = cast("TextField", text_field) if text_field else loaded.recipe.data.text_field
        if is_video_store(store):
            from risctl.cli.eval.videos import evaluate_video_model

            if protocol is not None or text_batch is not None:
                raise UsageError("a store of videos has its own figures, J and F; leave --protocol, --text-batch out")
            if submission is not None and (limit is not None or rows is not None or report):
                raise UsageError(
                    "a submission is of the whole split, without figures; leave --limit, --rows and --report out"
                )
            evaluate_video_model(
                loaded,
                store,
                split=split,
                text_field=chosen_field,
                place=place,
                threshold=threshold,
                limit=limit,
                rows=rows,
                reports=report,
                pictures=pictures,
                checkpoint=sha256_of(loaded.path) if report else None,
                submission=submission,
                clip_length=clip_len,
                is_first=is_first,
                as_json=as_json,
            )
            return
        if submission is not None or clip_len is not None:
            raise UsageError(f"--submission and --clip-len are for videos; {data} holds pictures")
        if protocol in ("zsi", "gzsi"):
            from risctl.cli.eval.classes import evaluate_found_classes

            if report:
                raise UsageError(f"--report is for phrases; of protocol {protocol}, --json tells all")
            evaluate_found_classes(
                loaded,
                store,
                split=split,
                generalised=protocol == "gzsi",
                place=place,
                limit=limit,
                is_first=is_first,
                as_json=as_json,
            )
            return
        protocols = _protocols(protocol, threshold, loaded.recipe)
        if is_first:
            console.say(f"{loaded.path} on {data}, split {split}, {place}")
        with console.counting("evaluate") as progress:
            evaluation = evaluate(
                loaded.system,
                store,
                split=split,
                protocols=protocols,
                text_field=chosen_field,
                device=place,
                text_batch=text_batch or loaded.recipe.eval.text_batch,
                limit=limit,
                workers=workers,
                progress=progress,
                checkpoint=sha256_of(loaded.path),
            )
        if not is_first:
            return
        written: dict[str, Any] = {}
        if rows is not None:
            evaluation.write_rows(rows)
            console.say(f"rows: {rows}")
            written["rows"] = str(rows)
        about = {"model": str(loaded.path), "data": str(data)}
        written |= write_reports(
            report,
            evaluation,
            about=about,
            store=store,
            find=partial(
                predicted_masks,
                loaded.system,
                store,
                text_field=chosen_field,
                threshold=protocols[0].threshold,
            ),
            pictures=pictures,
        )
        console.result(evaluation.to_text(), data={**about, **evaluation.to_dict(), **written}, as_json=as_json)


def _protocols(named: str | None, threshold: float | None, recipe: Recipe) -> list[Protocol]:
    """Return the protocols named, else the checkpoint's.

    The recipe's own threshold belongs to the recipe's protocol and to those that leave it to the model; one given on
    the command line holds for all.
    """
    from risctl.metrics.protocols import get_protocols

    chosen = get_protocols(recipe.eval.protocol if named is None else named)
    if threshold is not None:
        return [one.with_threshold(threshold) for one in chosen]
    own = recipe.eval.threshold
    return [one.with_threshold(own) if named is None or one.threshold_rule == "own" else one for one in chosen]


def _place(device: Device) -> tuple[torch.device, bool]:
    """Return where this process computes, and whether it is the one that reports.

    Under `accelerate launch` there are several, and each has its own device.
    """
    from risctl.devices import pick_device

    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return pick_device(device.value), True
    from accelerate import PartialState

    state = PartialState(cpu=device is Device.cpu)
    return state.device, bool(state.is_main_process)
